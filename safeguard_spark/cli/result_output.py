"""What a run came to, for a person."""

from rich.console import Console

from safeguard_spark.result import RunResult, Status


def print_result(result: RunResult) -> None:
    """Tell a person on stderr what a run came to."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if result.status is Status.planned:
        console.print(f"{result.rows:,} rows, {result.pending:,} without a final label: {result.calls:,} model calls.")
        seconds = result.seconds.get("label")
        rate = f"about {seconds:,.0f} s at the rate of past runs" if seconds is not None else "no past run to go by"
        console.print(f"{result.tokens['prompt']:,} prompt tokens, {rate}. Nothing was changed.")
        return
    outcomes = ", ".join(f"{name} {count:,}" for name, count in sorted(result.outcomes.items())) or "nothing to do"
    console.print(
        f"{result.status.value}: {result.rows:,} rows, {result.pending:,} pending, {result.calls:,} calls, "
        f"{result.written:,} labels written ({outcomes}), {result.engine_starts} engine starts, "
        f"{result.seconds.get('total', 0):.0f} s."
    )
    if result.shadow is not None:
        said, refs = result.shadow, ", ".join(result.shadow["by_policy"])
        console.print(f"shadow {refs}: {said['rows']:,} rows, {said['calls']:,} calls, {said['written']:,} labels.")
    if result.message:
        console.print(result.message)
    if result.status is Status.partial:
        console.print("Some work is left: issue the same command again.")
