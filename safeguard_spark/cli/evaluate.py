"""The commands on golden sets: evaluate, sets."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option, Typer

from safeguard_spark.cli.options import (
    Config,
    OptionalConfig,
    Output,
    Policies,
    Result,
    command,
    load_options,
    require_folder,
)
from safeguard_spark.cli.result_output import print_message
from safeguard_spark.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from safeguard_spark.config.model import RunConfig

evaluation = Typer()


def _output_config(config: Config, output: Output = None, policies: Policies = None) -> "RunConfig":
    return load_options(config, None, {"output": output, "policies": policies})


def _sets_config(
    sets: Annotated[Path | None, Option("--sets", help="The folder of golden sets; default: sets.")] = None,
    config: OptionalConfig = None,
) -> "RunConfig":
    return load_options(config, None, {"sets": sets})


@command(evaluation, _output_config)
def evaluate(
    run: "RunConfig",
    sets: Annotated[
        list[str],
        Option("--set", help="A golden set: NAME, NAME@VERSION or a manifest; repeatable. With `=`, a setting."),
    ],
    policy: Annotated[list[str] | None, Option(help="A file, name@version or name@alias; repeatable.")] = None,
    versus: Annotated[
        list[str] | None,
        Option(help="Compare with another version, a setting (labeler.effort=high) or an evaluation's id; repeatable."),
    ] = None,
    slice_: Annotated[list[str] | None, Option("--slice", help="Also measure each value of this column.")] = None,
    repeat: Annotated[int, Option(help="Label each content this often, to see how often the answer changes.")] = 1,
    replay: Annotated[str | None, Option(help="Recorded answers in place of a model: a Parquet file.")] = None,
    check: Annotated[
        list[str] | None, Option(help="steerability, off-topic, rule-order or label-blindness; repeatable.")
    ] = None,
    html: Annotated[Path | None, Option(help="Write a self-contained HTML page with figures to this file.")] = None,
) -> Result:
    """Measure how right a policy's labels are on golden sets. Exit code 7 if a line of the gate is not met."""
    from safeguard_spark import api
    from safeguard_spark.config.load import with_settings

    require_folder(html)
    settings = [text for text in sets if "=" in text and not Path(text).exists()]
    result = api.evaluate(
        with_settings(run, settings),
        *(policy or ()),
        sets=[text for text in sets if text not in settings],
        versus=versus or (),
        slices=slice_ or (),
        repeat=repeat,
        replay=replay,
        checks=check or (),
    )
    from safeguard_spark.evaluation.page import evaluation_page
    from safeguard_spark.evaluation.text import evaluation_text
    from safeguard_spark.result import AGAIN

    if result.message:
        text = f"{result.message} The evaluation has no figures yet: {AGAIN}.\n"
    else:
        text = evaluation_text(result)
    pages = {"--html": (html, evaluation_page(result))} if html is not None and not result.message else {}
    return Result(result.to_json(), text, result.exit_code, pages=pages)


@command(evaluation, _sets_config, name="sets")
def list_sets(
    run: "RunConfig",
    name: Annotated[list[str] | None, Argument(help="Sets, as NAME or NAME@VERSION; by default all.")] = None,
) -> Result:
    """List golden sets: what they answer, whether their data is here and is the right file, or what to download.

    Exit code 2 if a manifest cannot be read; the others are listed.
    """
    from safeguard_spark.evaluation.set_listing import listing_text, status_of
    from safeguard_spark.evaluation.sets import find_set, set_refs

    statuses, code = [], ExitCode.complete
    for ref in name or set_refs(run.sets):
        try:
            statuses.append(status_of(find_set(ref, run.sets)))
        except ConfigError as error:
            if name:
                raise
            print_message(f"Error: {error}\n")  # and list the others
            code = error.exit_code
    return Result([status._asdict() for status in statuses], listing_text(statuses, in_full=bool(name)), code)
