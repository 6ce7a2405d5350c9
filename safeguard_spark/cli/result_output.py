"""Result output: the result of a run, for people."""

import sys
from typing import TYPE_CHECKING

from safeguard_spark.terminal import counted, in_own_lines

if TYPE_CHECKING:
    from safeguard_spark.result import RunResult


def print_result(result: "RunResult") -> None:
    """Print the result of a run on stderr."""
    from safeguard_spark.result import AGAIN, Status

    if result.status is Status.planned:
        spared = f", {result.spared:,} spared by screen {result.screen_id}" if result.screen_id else ""
        counts = f"{counted(result.rows, 'row', 'rows')}, {result.pending:,} without a final label"
        print_message(f"{counts}: {counted(result.calls, 'model call', 'model calls')}{spared}.")
        seconds = result.seconds.get("label")
        rate = f"about {seconds:,.0f} s at the rate of past runs" if seconds is not None else "no past run to go by"
        tokens = result.tokens["prompt"]
        # Messages are not tokenized here; only the server knows how.
        size = f"{tokens:,} prompt tokens" if tokens or not result.calls else "prompt tokens unknown"
        print_message(f"{size}, {rate}. Nothing was changed.")
        print_message(result.candidates)
        print_message(result.message or "")
        return
    nothing = "none" if result.pending else "nothing to do"
    outcomes = ", ".join(f"{name} {count:,}" for name, count in sorted(result.outcomes.items())) or nothing
    spared = f" ({result.spared:,} spared by screen {result.screen_id})" if result.screen_id else ""
    print_message(
        f"{result.status.value}: {counted(result.rows, 'row', 'rows')}, {result.pending:,} pending, "
        f"{counted(result.calls, 'call', 'calls')}{spared}, {counted(result.written, 'label', 'labels')} written "
        f"({outcomes}), {counted(result.engine_starts, 'engine start', 'engine starts')}, "
        f"{result.seconds.get('total', 0):.0f} s."
    )
    print_message(result.candidates)
    if result.shadow is not None:
        shadow, refs = result.shadow, ", ".join(result.shadow.by_policy)
        rows, calls = counted(shadow.rows, "row", "rows"), counted(shadow.calls, "call", "calls")
        print_message(f"shadow {refs}: {rows}, {calls}, {counted(shadow.written, 'label', 'labels')}.")
    print_message(result.message or "")
    if result.status is Status.partial:
        print_message(f"Some work is left: {AGAIN}.")


def print_message(text: str) -> None:
    """Print a message for people on stderr, unless it is empty: stdout is for results."""
    if text:
        print(in_own_lines(text), file=sys.stderr)
