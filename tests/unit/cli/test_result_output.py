"""The result of a run in words, on stderr: numbers, what is left, and what to do."""

from typing import Any

import pytest

from safeguard_spark.cli.result_output import print_result
from tests.build import run_result

pytestmark = pytest.mark.unit
DONE = "complete: 10 rows, 8 pending, 6 calls, 8 labels written (empty 2, labelled 6), 1 engine start, 3 s.\n"
PLANNED = {"status": "planned", "rows": 12_000, "pending": 2_000, "calls": 1_500}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, DONE),
        ({"message": "market@1.1.0 is not active."}, f"{DONE}market@1.1.0 is not active.\n"),
        ({"candidates": "2 rows are read.", "message": "Done."}, f"{DONE}2 rows are read.\nDone.\n"),
        (
            {"status": "partial", "message": "Stopped."},
            f"{DONE.replace('complete', 'partial')}Stopped.\nSome work is left: issue the same command again.\n",
        ),
        (
            {"pending": 0, "calls": 0, "written": 0, "outcomes": {}, "engine_starts": 0},
            "complete: 10 rows, 0 pending, 0 calls, 0 labels written (nothing to do), 0 engine starts, 3 s.\n",
        ),
        (
            {"shadow": run_result(by_policy={"market@1.1.0": {}}, rows=1_000, calls=900, written=1_000)},
            f"{DONE}shadow market@1.1.0: 1,000 rows, 900 calls, 1,000 labels.\n",
        ),
        (
            PLANNED,
            "12,000 rows, 2,000 without a final label: 1,500 model calls.\n"
            "100 prompt tokens, about 2 s at the rate of past runs. Nothing was changed.\n",
        ),
        (
            {**PLANNED, "tokens": {"prompt": 0}, "seconds": {}},
            "12,000 rows, 2,000 without a final label: 1,500 model calls.\n"
            "prompt tokens unknown, no past run to go by. Nothing was changed.\n",
        ),
    ],
)
def test_a_result_in_words(changes: dict[str, Any], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_result(run_result(**changes))
    assert capsys.readouterr() == ("", expected)
