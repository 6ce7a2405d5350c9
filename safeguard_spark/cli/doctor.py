"""The command that says what a deployment lacks: doctor."""

from typing import TYPE_CHECKING

import typer

from safeguard_spark.cli.options import Result, command, table_config
from safeguard_spark.errors import ExitCode
from safeguard_spark.extras import require
from safeguard_spark.terminal import aligned, as_lines

if TYPE_CHECKING:
    from safeguard_spark.config.model import RunConfig

diagnosis = typer.Typer()


@command(diagnosis, table_config)
def doctor(run: "RunConfig") -> Result:
    """Check what a run with this configuration needs, on the driver and on every executor. Labels nothing.

    Java, Spark and Delta, MLflow and the policy registry, output and source, and for the engine: vLLM, its GPUs, driver
    and compiler, or the endpoint. One line each, with the remedy. Exit code 2 if something is missing.
    """
    require("pyspark", "delta")
    from safeguard_spark.spark.maintain.doctor import examine

    findings = list(examine(run))
    lacking = sum(not finding.check.is_ok for finding in findings)
    rows = [("ok" if c.is_ok else "MISSING", where, c.name, c.text) for where, c in findings]
    value = [{"where": where, "check": c.name, "ok": c.is_ok, "text": c.text} for where, c in findings]
    text = as_lines([*aligned(rows, range(4)), "", f"{len(rows)} checks, {lacking or 'nothing'} missing.", ""])
    return Result(value, text, ExitCode.usage if lacking else ExitCode.complete)
