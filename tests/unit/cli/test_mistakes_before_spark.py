"""Mistakes in `label`, `evaluate` and `relabel` that are found before Spark starts, and before any table."""

from pathlib import Path

import pytest

from tests.unit.commands import Safeguard
from tests.unit.samples import write_policy

pytestmark = pytest.mark.unit

# Spark would find that the source does not exist, with exit code 4.
LABEL = ["label", "--config", "conf.yaml", "--policy", "market@1.0.0", "--source", "nowhere", "--text-column", "body"]
SET = Path(__file__).parents[3] / "sets/demo-posts/1/set.yaml"
EVALUATE = ["evaluate", "--config", "conf.yaml", "--policy", "market@1.0.0", "--set", str(SET)]
RECORDED = [*EVALUATE, "--replay", "answers.parquet"]
TRAIN = ["screen", "train", *LABEL[1:], "--output", "tables"]
RELABEL = ["--config", "conf.yaml", "--output", "tables", "--source", "nowhere", "--text-column", "body"]


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        ([*LABEL, "--policy", "marketplce@1.0.0"], 3, "no policy marketplce"),
        ([*LABEL, "--policy", "missing.md"], 3, "missing.md"),
        ([*LABEL, "--set", "engine.windw=3"], 2, "did you mean engine.window"),
        ([*LABEL, "--set", "engine"], 2, "key=value"),
        ([*LABEL, "--set", "engine.args.wrds={}"], 2, "did you mean engine.args.words"),
        ([*LABEL, "--set", "engine.restarts=1"], 2, "engine.kind=scripted has no key engine.restarts"),
        (["label", "--config", "nowhere.yaml"], 2, "nowhere.yaml"),
        ([*LABEL, "--limit", "0"], 2, "limit"),
        ([*LABEL, "--no-such-option"], 2, "No such option"),
        ([*LABEL, "--follow", "--limit", "5"], 2, "delete source.version and source.limit"),
        ([*LABEL, "--follow", "--dry-run"], 2, "--follow goes with neither --dry-run nor --full"),
        ([*LABEL, "--set", "run.full_every=0"], 2, "run.full_every"),
        (LABEL[:3], 2, "No policy"),
        (["relabel", "plan", "--policy", "market@1.0.0", "--scope", "some", *RELABEL], 2, "since 2026-05-01"),
        (["relabel", "plan", "--policy", "market@9.9.9", *RELABEL], 3, "9.9.9"),
        (["relabel", "apply", "p000", "--budget", "soon", *RELABEL], 2, "90m"),
        (["relabel", "compare", "market@1.0.0", "market@9.9.9", *RELABEL], 3, "9.9.9"),
        (["relabel", "compare", "A", "B", "--noise-share", "2", *RELABEL], 2, "not a share"),
        (["relabel", "promote", "market@1.0.0", "--force", *RELABEL], 2, "--reason"),
        *[
            ([*TRAIN, "--target", target], 2, f"--target {target} is not a share")
            for target in ("95%", "0", "1", "nan")
        ],
        ([*TRAIN, "--kind", "deep"], 2, "Kinds: linear, glance"),
        (TRAIN, 2, "set tracking.enabled=true"),
        ([*RECORDED, "--versus", "labeler.effort=high"], 2, "compare a recording with itself"),
        ([*RECORDED, "--versus", "labeler.temperature=0.7"], 2, "compare a recording with itself"),
        ([*EVALUATE, "--versus", "market@1.0.0"], 2, "is what is evaluated"),
        ([*RECORDED, "--check", "off-topic"], 2, "needs a model"),
        ([*EVALUATE, "--check", "label-blindness", "--check", "rule-order"], 2, "no two rules with headings"),
    ],
    ids=str,
)
def test_a_mistake_is_one_message_and_touches_nothing(
    safeguard: Safeguard, argv: list[str], code: int, message: str
) -> None:
    write_policy(Path("policies"))
    Path("conf.yaml").write_text("output: tables\nengine: {kind: scripted}\ntracking: {enabled: false}\n")
    ran = safeguard(*argv)
    assert (ran.code, ran.out) == (code, "")
    assert message in ran.err and "Traceback" not in ran.err
    assert len([line for line in ran.err.splitlines() if line.startswith("Error")]) == 1
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["conf.yaml", "policies"]
