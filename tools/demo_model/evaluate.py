"""Measure the demo model through the real server: `python -m tools.demo_model.evaluate [--show 20]`.

The same engine and the same labelling as in a job, structured output on and off. Prints a table for people on stderr
and one JSON object on stdout.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from safeguard_spark.config.engine import VllmConfig
from safeguard_spark.config.load import load_config
from safeguard_spark.config.model import RunConfig
from safeguard_spark.demo import model, weights
from safeguard_spark.demo.content import rows as demo_rows
from safeguard_spark.engines.paths import executor_process
from safeguard_spark.engines.vllm_host import VllmEngine
from safeguard_spark.labelling.content import Content, Turn
from safeguard_spark.labelling.rows import LabelSpec, Row, label_rows
from safeguard_spark.labelling.verdict import Outcome, Verdict
from safeguard_spark.policy.document import load_policy
from safeguard_spark.screen.glance import GlanceScreen
from tools.demo_model import exam
from tools.demo_model.exam import Exam, Question

TASKS = 4  # as an executor's tasks, each with its share of the window
MARKETPLACE = Path("policies/marketplace/1.0.0/policy.md")
Verdicts = dict[Question, Verdict]


def settings(folder: Path, structured: bool, base: Path = Path("conf/local.yaml")) -> RunConfig:
    """The configuration of a laptop, with a model's folder."""
    return load_config(base, {}, [("engine.model", str(folder)), ("labeler.structured", structured)])


def open_engine(run: RunConfig, share: int = 1) -> VllmEngine:
    """An engine of this process. Engines with the same settings share one server, and `share` of them its window."""
    assert isinstance(run.engine, VllmConfig)
    return VllmEngine(run.engine, executor_process(), [], max(1, run.engine.requests_in_flight // share), "evaluation")


def ask(run: RunConfig, questions: Iterable[Question], tasks: int = TASKS) -> Verdicts:
    """Label the questions, policy by policy, some policies at a time."""
    groups: dict[str, list[Question]] = {}
    for question in questions:
        groups.setdefault(question.book.body, []).append(question)

    def one(group: list[Question]) -> Verdicts:
        spec = LabelSpec.of(run, group[0].book.policy)
        rows = (Row(key, question.content) for key, question in enumerate(group))
        with open_engine(run, tasks) as engine:
            return {group[done.key]: done.verdict for done in label_rows(spec, engine, rows)}

    with ThreadPoolExecutor(tasks) as pool:
        return dict(pair for verdicts in pool.map(one, groups.values()) for pair in verdicts.items())


def figures(questions: Exam, verdicts: Verdicts) -> dict[str, float]:
    """Shares, 0 to 1, of everything the model card states."""
    plain = [exam.right(question, verdicts[question]) for question in questions.plain]
    shares = {
        "labelled": exam.labelled(verdicts.values()) / len(verdicts),
        "violation": _share(violation for violation, _, _ in plain),
        "rule_id": _share(rules for _, rules, _ in plain),
        "category": _share(category for _, _, category in plain),
        "empty_policy_violations": _share(verdicts[question].violation is True for question in questions.empty),
    }
    for name, pairs in (("allowed", questions.allowed), ("removed", questions.removed)):
        own = [(verdicts[p.before].violation, verdicts[p.after].violation) for p in pairs if p.own]
        others = [(verdicts[p.before].violation, verdicts[p.after].violation) for p in pairs if not p.own]
        shares[f"{name}_flips"] = _share(pair == (True, False) for pair in own)
        shares[f"{name}_others_change"] = _share(before != after for before, after in others)
    return shares


def throughput(run: RunConfig, rows: int) -> dict[str, float]:
    """Rows per second on the demo's own table under its policy, and the share of right answers."""
    table, spec = demo_rows(rows), LabelSpec.of(run, load_policy(MARKETPLACE))
    contents = list(map(_content, table))
    start = time.monotonic()
    with open_engine(run) as engine:
        done = list(label_rows(spec, engine, (Row(key, content) for key, content in enumerate(contents))))
    seconds = time.monotonic() - start
    read = [d for d in done if d.verdict.outcome is Outcome.labelled]
    gold = [d.verdict.violation == table[d.key]["gold_violation"] for d in read]
    return {"rows_per_s": len(read) / seconds, "demo_violation": _share(gold), "demo_labelled_rows": len(read)}


def glance(run: RunConfig, rows: int) -> dict[str, float]:
    """How well a glance tells violations of the demo's table: the area under its ROC curve, and the share scored."""
    table, spec = [row for row in demo_rows(rows) if row["turns"]], LabelSpec.of(run, load_policy(MARKETPLACE))
    with open_engine(run) as engine:
        scores = GlanceScreen(spec, engine).scores(list(map(_content, table)))
    gold, has_score = np.array([row["gold_violation"] for row in table]), np.isfinite(scores)
    return {
        "glance_scored": float(has_score.mean()),
        "glance_auc": float(roc_auc_score(gold[has_score], scores[has_score])),
    }


def _content(row: dict[str, Any]) -> Content:
    turns = row["turns"]
    return Content(turns=tuple(Turn(turn["role"], turn["text"]) for turn in turns)) if turns else Content()


def wrong(questions: Exam, verdicts: Verdicts) -> Iterator[str]:
    """Lines about the questions whose violation or rule id is wrong. The contents are made up."""
    for question in questions.plain:
        verdict = verdicts[question]
        if not all(exam.right(question, verdict)):
            reason = (verdict.reasoning or verdict.error or "").replace("topic: ", "")
            yield f"{question.topic} -> {verdict.outcome} {reason!r}: {question.content.text or question.content.turns}"


def measure(folder: Path, questions: Exam, structured: bool, rows: int, show: int) -> dict[str, float]:
    """All figures with structured output on or off."""
    run = settings(folder, structured)
    verdicts = ask(run, questions.questions())
    for line in list(wrong(questions, verdicts))[:show]:
        print(line, file=sys.stderr)
    return {**figures(questions, verdicts), **throughput(run, rows), **glance(run, rows)}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a model's folder (default: the shipped one)")
    parser.add_argument("--weights", type=Path, help="compact weights, for example a training's, in place of --model")
    parser.add_argument("--policies", type=int, default=40)
    parser.add_argument("--contents", type=int, default=25, help="per policy")
    parser.add_argument("--changed", type=int, default=20, help="policies of which a rule is reversed, and removed")
    parser.add_argument("--rows", type=int, default=1000, help="of the demo's table, for throughput")
    parser.add_argument("--show", type=int, default=0, help="print this many wrong answers")
    parser.add_argument("--structured", choices=("on", "off", "both"), default="both", help="structured output")
    options = parser.parse_args()
    shipped = options.weights or weights.SHIPPED
    folder = options.model or model.assemble(shipped, model.default_cache())
    questions = exam.exam(options.policies, options.contents, options.changed)
    start = time.monotonic()
    ask(settings(folder, structured=True), questions.plain[:1], tasks=1)
    loaded = time.monotonic() - start  # the server's start and one answer
    measured = {
        f"structured {'on' if on else 'off'}": measure(folder, questions, on, options.rows, options.show)
        for on in (True, False)
        if options.structured in ("both", "on" if on else "off")
    }  # fmt: skip
    _table(measured)
    print(f"{len(questions.questions())} questions; first answer after {loaded:.0f} s", file=sys.stderr)
    print(json.dumps({"questions": len(questions.questions()), "load_s": loaded, **measured}))


def _share(flags: Iterable[bool]) -> float:
    values = list(flags)
    return sum(values) / len(values) if values else float("nan")


def _table(measured: dict[str, dict[str, float]]) -> None:
    names = list(next(iter(measured.values())))
    print(f"{'':28}" + "".join(f"{title:>16}" for title in measured), file=sys.stderr)
    for name in names:
        print(f"{name:28}" + "".join(f"{values[name]:16.3f}" for values in measured.values()), file=sys.stderr)


if __name__ == "__main__":
    main()
