"""What many tests begin with: a small policy, a configuration, a labeler, a run's result, contents, and waiting."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import yaml

from safeguard_spark.config.engine import Dialect
from safeguard_spark.config.load import build_config
from safeguard_spark.config.model import RunConfig
from safeguard_spark.labelling.contract import Contract
from safeguard_spark.labelling.engine import CallSpec
from safeguard_spark.labelling.labeler import Labeler
from safeguard_spark.labelling.rows import LabelSpec
from safeguard_spark.policy.document import Effort, Output, Policy, parse_policy
from safeguard_spark.result import RunResult

RULES = {"M1": "counterfeit", "M2": "weapons"}
# `args` of a scripted engine: a rule of RULES by a word, and every way in which a call may end without a verdict.
SCRIPT: dict[str, Any] = {
    "words": {"replica": "M1", "rifle": "M2"},
    "misbehave": {"zzrefuse": "refuse", "zzgarbage": "garbage", "zzcut": "truncate", "zzfail": "fail"},
}


def policy_text(
    name: str = "market",
    version: str = "1.0.0",
    text: str = "No replicas, no rifles.",
    rules: Mapping[str, str] = RULES,
    **front_matter: Any,
) -> str:
    """A policy document; `rules` are categories by rule id, `front_matter` its other keys."""
    listed = [{"id": id, "category": category} for id, category in rules.items()]
    front = {"name": name, "version": version, "rules": listed, **front_matter}
    return f"---\n{yaml.safe_dump(front, sort_keys=False)}---\n{text}\n"


def policy(*args: Any, **settings: Any) -> Policy:
    """The policy of `policy_text`."""
    return parse_policy(policy_text(*args, **settings))


def run_config(**sections: Any) -> RunConfig:
    """A configuration with the scripted engine, if `engine` is no other."""
    return build_config({"engine": {"kind": "scripted"}, **sections})


def labeler(**settings: Any) -> Labeler:
    """A labeler; what is not in `settings` has a value that is no default."""
    defaults = {
        "model": "m", "revision": None, "dialect": Dialect.harmony, "engine_class": "", "effort": Effort.low,
        "temperature": 0.5, "top_p": 0.9, "max_tokens": 77, "max_prompt_tokens": 4096, "structured": True,
    }  # fmt: skip
    return Labeler.model_validate({**defaults, **settings})


def call_spec(
    dialect: Dialect = Dialect.harmony, output: Output = Output.full, rules: Mapping[str, str] = RULES, **settings: Any
) -> CallSpec:
    """A labeler, with these of its fields, and the contract for these rules."""
    return CallSpec(labeler(dialect=dialect, **settings), Contract(output, dict(rules)))


def label_spec(policy: Policy, **sections: Any) -> LabelSpec:
    """A policy under the labeler of `run_config`."""
    return LabelSpec(policy, Labeler.of(run_config(**sections), policy))


def run_result(**changes: Any) -> RunResult:
    """The result of a complete run over ten contents."""
    values: dict[str, Any] = {
        "run_id": "r", "status": "complete", "rows": 10, "pending": 8, "calls": 6, "written": 8,
        "outcomes": {"labelled": 6, "empty": 2}, "engine_starts": 1,
        "tokens": {"prompt": 100, "cached": 25, "completion": 30}, "seconds": {"label": 2.0, "total": 3.0},
        "tables": {"labels": "t/labels"}, "by_policy": {"market@1.0.0": {"labelled": 6, "empty": 2, "violations": 3}},
    }  # fmt: skip
    return RunResult.model_validate({**values, **changes})


def posts(count: int, *texts: str, start: int = 0) -> list[tuple[str, str]]:
    """Ids and texts of contents `start` to `count`, by turns from `texts`, in which {n} is the content's number."""
    texts = texts or ("a table {n}",)
    return [(f"p{n}", texts[n % len(texts)].format(n=n)) for n in range(start, count)]


def until(holds: Callable[[], Any], timeout_s: float = 20.0) -> None:
    """Wait until a condition holds. AssertionError if it takes too long."""
    ends = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < ends, f"the condition did not hold within {timeout_s:g} s"
        time.sleep(0.02)


class SkewedClock(datetime):
    """A clock that is wrong by `by`."""

    by = timedelta()

    @classmethod
    def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
        return datetime.now(UTC) + cls.by
