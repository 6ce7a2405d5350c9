"""The command for a period's report: report."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option, Typer

from safeguard_spark.cli.options import Result, command, output_config, require_folder
from safeguard_spark.errors import ConfigError

if TYPE_CHECKING:
    from safeguard_spark.config.model import RunConfig

reporting = Typer()


@command(reporting, output_config)
def report(
    run: "RunConfig",
    start: Annotated[str, Option("--from", help="The first day (UTC), as 2026-11-01.", metavar="DATE")],
    end: Annotated[str, Option("--to", help="The last day.", metavar="DATE")],
    known: Annotated[
        str, Option(help="Labels and decisions as they are now, or as they were at the end of the period: now or then.")
    ] = "now",
    policy: Annotated[str | None, Option(help="Of this policy alone.")] = None,
    html: Annotated[Path | None, Option(help="Write a self-contained HTML page with pictures to this file.")] = None,
    csv: Annotated[Path | None, Option(help="Write the figures as CSV to this file.")] = None,
) -> Result:
    """Report a period: rates by the model and corrected, quality of the labels, reviews, appeals, versions, cost."""
    from safeguard_spark.report.indicators import Known, Period

    if known not in list(Known):
        raise ConfigError(f"--known {known}: write now or then.")
    period = Period(_day(start, "--from"), _day(end, "--to"), Known(known))
    if period.end < period.start:
        raise ConfigError(f"--to {end} is before --from {start}.")
    if period.start > (today := datetime.now(UTC).date()):
        raise ConfigError(f"--from {start} is in the future: in UTC today is {today}. Name a day that has begun.")
    require_folder(html)
    require_folder(csv, "--csv")
    from safeguard_spark.report.page import report_page
    from safeguard_spark.report.text import report_csv, report_text
    from safeguard_spark.spark.review.report import period_report
    from safeguard_spark.spark.session import session

    done = period_report(session(run), run, period, policy)
    wanted = (("--html", html, report_page), ("--csv", csv, report_csv))
    pages = {option: (file, write(done)) for option, file, write in wanted if file is not None}
    return Result(done.to_json(), report_text(done), pages=pages)


def _day(text: str, option: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option} {text} is no day. Write it as 2026-11-01.") from None
