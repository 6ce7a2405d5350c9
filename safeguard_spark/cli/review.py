"""Commands for people in the loop: review serve."""

from typing import TYPE_CHECKING

from safeguard_spark.cli.options import Result, command, console_config, group

if TYPE_CHECKING:
    from safeguard_spark.config.model import RunConfig

review = group("Let people judge contents: a console with a queue.")


@command(review, console_config, "serve")
def serve_console(run: "RunConfig") -> Result:
    """Serve the review console over the tables of an output folder, without Spark. Ctrl-C ends it."""
    from safeguard_spark.review.serve import serve

    return Result({"url": serve(run)})


@review.callback()
def _group() -> None:
    """Keep `serve` a word of the command line though the group has no other yet."""
