"""The functions behind `import safeguard_spark as sg`. What is not named there is internal and may move.

Each does what the command line does under the same configuration. Spark and MLflow are imported by the functions that
need them.
"""

import copy
import os
import secrets
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safeguard_spark import views
from safeguard_spark.config import load
from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import ConfigError
from safeguard_spark.evaluation.result import Evaluation
from safeguard_spark.labelling.inputs import ContentInput, content_of
from safeguard_spark.labelling.rows import LabelSpec, Row, label_rows
from safeguard_spark.labelling.verdict import Verdict
from safeguard_spark.policy.document import Policy
from safeguard_spark.result import RunResult

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from safeguard_spark.spark.reader import LabelTables


def load_config(path: str | Path, settings: Mapping[str, Any] | Iterable[str] = ()) -> RunConfig:
    """The configuration in a file, then `SAFEGUARD_A__B` variables of the environment, then `settings`.

    `settings` are `key=value` texts as for `--set`, or a mapping from key to value: `{"engine.window": 256}`. Raises
    ConfigError with one sentence that names every problem.
    """
    return load.load_config(Path(path), os.environ, _assignments(settings))


def build_config(values: Mapping[str, Any], settings: Mapping[str, Any] | Iterable[str] = ()) -> RunConfig:
    """A configuration of values instead of a file: nested as in the file, or with dotted keys.

    The environment plays no part. `settings` as for `load_config`. Raises ConfigError.
    """
    nested: dict[str, Any] = {}
    for level in (list(values.items()), _assignments(settings)):
        load.set_values(nested, copy.deepcopy(level))
    return load.build_config(nested)


def load_policy(ref: str | Path, config: RunConfig | None = None) -> Policy:
    """The policy of a reference: a file, `name@version` or `name@alias`.

    `config` says where the policies folder and the registry are; by default `policies` below the current folder. What
    the lock pins must be what it was when it was published. Raises PolicyError, ConfigError.
    """
    from safeguard_spark.tracking.registry import resolve

    return resolve(str(ref), config or load.load_config(None, os.environ, ()))


def judge(policy: Policy | str | Path, contents: Iterable[ContentInput], config: RunConfig) -> list[Verdict]:
    """One verdict per content, in the order of the contents. No Spark; nothing is written.

    A content is a text, or a list of turns of which the last is judged: `(role, text)` pairs, or mappings with `role`
    and `text` or `content`. Problems of a content, or of a call that failed, are outcomes. Every content is a call of
    its own. Blocks until all are judged; may be called in several threads at once.

    Raises EngineError if the engine cannot be reached or started, PolicyError, ConfigError.
    """
    if isinstance(contents, str | bytes | Mapping):
        raise TypeError("judge takes a list of contents: write [text] for one text")
    from safeguard_spark.engines.factory import open_engine

    spec = LabelSpec.of(config, _resolved(policy, config))
    rows = (Row(number, content_of(value)) for number, value in enumerate(contents))
    run_id, window = f"judge-{secrets.token_hex(4)}", config.engine.requests_in_flight
    with open_engine(config.engine, run_id=run_id, window=window, devices=[]) as engine:
        verdicts = {done.key: done.verdict for done in label_rows(spec, engine, rows)}
    return [verdicts[number] for number in range(len(verdicts))]


def session(config: RunConfig | None = None) -> "SparkSession":
    """The active Spark session, or one with Delta as `config.spark` says. Raises ConfigError if it cannot be used."""
    from safeguard_spark.spark import session as sessions

    return sessions.session(config or load.load_config(None, os.environ, ()))


def label_table(
    config: RunConfig,
    *policies: Policy | str | Path,
    spark: "SparkSession | None" = None,
    progress: bool = True,
    full: bool = False,
) -> RunResult:
    """Give every content of the configured source one label per policy; by default the configuration's policies.

    Call it again to go on where a run stopped: `result.exit_code` is 6 while work is left, and 0 if none is. Labels
    the share `run.shadow_share` under shadow versions as well. `full` reads all rows of the source, also those that
    have not changed since they were labelled. Progress goes to stderr. Raises SafeguardError if nothing could be done.
    """
    resolved = _all_resolved(policies, config)
    from safeguard_spark.spark.label.shadow import label_with_shadows
    from safeguard_spark.spark.unreadable import readable

    with readable("A table"):
        return label_with_shadows(_usable(spark, config), config, resolved, show=progress, full=full)


def follow_table(
    config: RunConfig,
    *policies: Policy | str | Path,
    spark: "SparkSession | None" = None,
    progress: bool = True,
    on_result: Callable[[RunResult], None],
) -> RunResult:
    """Label a table, and again each time it has changed, until an interrupt; returns the last result.

    `on_result` gets the result of every run. Looks for changes every `run.follow_every` seconds. Raises
    SafeguardError as `label_table` does.
    """
    if config.source.version is not None or config.source.limit is not None:
        raise ConfigError("--follow labels all of what arrives: delete source.version and source.limit.")
    resolved = _all_resolved(policies, config)
    from safeguard_spark.spark.label import follow
    from safeguard_spark.spark.unreadable import readable

    with readable("A table"):
        return follow.follow_table(_usable(spark, config), config, resolved, show=progress, on_result=on_result)


def dry_run(
    config: RunConfig, *policies: Policy | str | Path, spark: "SparkSession | None" = None, full: bool = False
) -> RunResult:
    """What `label_table` would do: rows, pending rows, calls, prompt tokens. Changes nothing. Raises as it does."""
    resolved = _all_resolved(policies, config)
    from safeguard_spark.spark.label import dry_run as planning
    from safeguard_spark.spark.unreadable import readable

    with readable("A table"):
        return planning.dry_run(_usable(spark, config), config, resolved, full=full)


def evaluate(
    config: RunConfig,
    *policies: Policy | str | Path,
    sets: Iterable[str | Path],
    versus: Iterable[str] = (),
    slices: Iterable[str] = (),
    repeat: int = 1,
    replay: str | Path | None = None,
    checks: Iterable[str] = (),
    spark: "SparkSession | None" = None,
    progress: bool = True,
) -> Evaluation:
    """How right labels are: policies on golden sets, with an interval for every rate.

    `sets`: `name`, `name@version` or a manifest's file. Contents without a label are labelled, those with one are not
    called again. `versus`: a version (`name@version`) or a setting (`labeler.effort=high`) to compare with on the same
    contents, or the id of an earlier evaluation to stand in the same figures. `repeat`: how often each content is
    labelled. `replay`: recorded answers, in place of a model. `checks`: steerability, off-topic, rule-order,
    label-blindness. The result is appended to the table `evaluations`, if there is an output, and logged to MLflow.
    Its `exit_code` is 7 if a line of the gate is not met. Raises SafeguardError if nothing could be done.
    """
    from safeguard_spark.evaluation.checks import Check, checked_policy
    from safeguard_spark.evaluation.sets import find_set
    from safeguard_spark.evaluation.side import EVALUATION_ID, Side

    golden_sets = tuple(find_set(str(text), config.sets) for text in ([sets] if isinstance(sets, str | Path) else sets))
    if not golden_sets:
        raise ConfigError("No golden set: name one (--set NAME); safeguard sets lists them.")
    if repeat < 1 or (repeat > 1 and replay is not None):
        raise ConfigError(f"repeat is {repeat}, and must be 1 or more; with recorded answers (replay) it must be 1.")
    requested = [checks] if isinstance(checks, str) else list(checks)
    if unknown := [check for check in requested if check not in list(Check)]:
        raise ConfigError(f"There is no check {unknown[0]}. Checks: {', '.join(Check)}.")
    if replay is not None and [check for check in requested if check != Check.label_blindness]:
        raise ConfigError("A check labels contents by another text, so it needs a model and not recorded answers.")
    first = Side(config, tuple(_all_resolved(policies, config)))
    texts = [versus] if isinstance(versus, str) else list(versus)
    past = tuple(text for text in texts if EVALUATION_ID.fullmatch(text))
    others = {text: first.versus(text) for text in texts if text not in past}
    for text, side in others.items():
        if replay is not None and side.policies == first.policies:
            raise ConfigError(
                f"--versus {text} with --replay would compare a recording with itself: name another version of a "
                "policy, or an earlier evaluation."
            )
    for check in requested:
        for policy in first.policies if check != Check.label_blindness else ():
            checked_policy(policy, Check(check))  # raises if the policy has none, before anything is labelled
    from safeguard_spark.spark.evaluation import evaluate as evaluation
    from safeguard_spark.spark.unreadable import readable

    request = evaluation.Request(
        golden_sets,
        (first, *others.values()),
        slices=tuple(slices),
        repeat=repeat,
        replay=None if replay is None else str(replay),
        past=past,
        checks=tuple(Check(check) for check in requested),
    )
    spark = _usable(spark, config)
    with readable("A table"):
        return evaluation.evaluate_and_record(spark, config, request, show=progress)


def register_sql(
    config: RunConfig,
    policy: Policy | str | Path,
    *,
    name: str = "safeguard_label",
    spark: "SparkSession | None" = None,
) -> None:
    """Let SQL call `safeguard_label(text)`: a struct with the verdict's fields. Nothing is written.

    Every evaluation calls the model, and Spark may evaluate a query twice: keep to a few rows, and cache the result.
    Raises PolicyError, ConfigError; a query raises EngineError's sentence if the engine cannot be reached.
    """
    resolved = _resolved(policy, config)
    from safeguard_spark.spark.label import udf

    udf.register(_usable(spark, config), config, resolved, name)


def open_tables(location: RunConfig | str | Path, *, spark: "SparkSession | None" = None) -> "LabelTables":
    """The label tables for a reader: those of a configuration's output, of a folder, or of CATALOG.SCHEMA.

    A text without a slash names a schema; write `./tables` or a Path for a folder. Raises TableError.
    """
    config = location if isinstance(location, RunConfig) else None
    output = config.output if config else str(location.absolute() if isinstance(location, Path) else location)
    if not output:
        raise ConfigError("The configuration has no output: name the folder or CATALOG.SCHEMA of the label tables.")
    from safeguard_spark.spark.reader import LabelTables

    return LabelTables.open(spark or session(config), output)  # a reader needs less of a session


def labels_current_sql(labels: str = "labels", activations: str = "policy_activations") -> str:
    """The SELECT behind `labels_current`, for DuckDB and other engines, over the names the two tables have there."""
    return views.labels_current(labels, activations)


def _usable(spark: "SparkSession | None", config: RunConfig | None) -> "SparkSession":
    """A program's own session, if it can be used; without one, `session`. Raises ConfigError."""
    if spark is None:
        return session(config)
    from safeguard_spark.spark.session import check

    check(spark)
    return spark


def _assignments(settings: Mapping[str, Any] | Iterable[str]) -> list[tuple[str, Any]]:
    """Settings as (key, value)."""
    if isinstance(settings, Mapping):
        return list(settings.items())
    return [load.parse_assignment(text) for text in ([settings] if isinstance(settings, str) else settings)]


def _resolved(policy: Policy | str | Path, config: RunConfig) -> Policy:
    return policy if isinstance(policy, Policy) else load_policy(policy, config)


def _all_resolved(policies: Iterable[Policy | str | Path], config: RunConfig) -> list[Policy]:
    """The policies of a job, resolved before Spark starts, which takes seconds."""
    resolved = [_resolved(policy, config) for policy in tuple(policies) or config.policy]
    if not resolved:
        raise ConfigError(
            "No policy: name a file, name@version or name@alias (--policy), or set policy in the configuration."
        )
    return resolved
