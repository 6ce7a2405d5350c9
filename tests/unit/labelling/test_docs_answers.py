"""docs/tables.md, "How an answer is read": each deviation that the page lists is accepted, and has an example here."""

import re
from pathlib import Path

import pytest

from safeguard_spark.labelling.contract import Contract
from safeguard_spark.labelling.prompt import harmony_encoding
from safeguard_spark.labelling.verdict import Completion, Outcome, Verdict, read
from safeguard_spark.policy.document import Output

pytestmark = pytest.mark.unit
PAGE = Path(__file__).parents[3] / "docs" / "tables.md"
FULL, BINARY = (Contract(output, {"M1": "counterfeit", "M2": "stolen"}) for output in (Output.full, Output.binary))
FINAL = "<|channel|>final<|message|>{}<|end|>"


def text(answer: str, contract: Contract = FULL, finish: str = "stop") -> Verdict:
    return read(Completion(finish, text=answer), contract)


def finals(*answers: str) -> Verdict:
    completion = "<|start|>assistant".join(FINAL.format(answer) for answer in answers)
    return read(Completion("stop", token_ids=harmony_encoding().encode(completion, allowed_special="all")), FULL)


EXAMPLES: dict[str, list[Verdict]] = {
    "around the JSON object": [text('Here: ```json\n{"violation": 1, "category": "stolen"}\n``` That is all.')],
    "several JSON objects": [text('{"violation": 1, "category": "stolen"} {"violation": 1, "category": "stolen"}')],
    "several final messages": [finals("I am done.", '{"violation": 1, "category": "stolen"}')],
    "`violation`": [
        text(f'{{"violation": {value}, "category": "stolen"}}') for value in ("1", "true", '"1"', '"True"')
    ],
    "`category`": [
        text('{"violation": 1, "policy_category": "stolen"}'),
        text('{"violation": 1, "category": "M2"}'),
        *(text(f'{{"violation": 1, "category": {none}, "rule_ids": ["M2"]}}') for none in ('"None"', '""', "null")),
    ],
    "no category, but rules": [text('{"violation": 1, "rule_ids": ["M2", "M1"]}')],
    "`rule_ids`": [
        text('{"violation": 1, "category": "stolen", "rule_ids": "M2"}'),
        text('{"violation": 1, "category": "stolen", "rule_ids": null}'),
    ],
    "`confidence`": [
        text('{"violation": 1, "category": "stolen", "confidence": "HIGH"}'),
        text('{"violation": 1, "category": "stolen", "confidence": null}'),
    ],
    "binary output": [text("The answer is: 1.", BINARY)],
    "an answer that was cut short": [text('{"violation": 1, "category": "stolen"}', finish="length")],
}


def test_every_deviation_that_the_page_accepts_is_read() -> None:
    section = PAGE.read_text(encoding="utf-8").partition("### How an answer is read")[2].partition("\n## ")[0]
    parts = re.findall(r"^\| (.+?) \| .+ \|$", section, re.MULTILINE)
    assert parts[1:] == list(EXAMPLES)


@pytest.mark.parametrize("part", EXAMPLES)
def test_an_accepted_deviation_is_read_as_the_violation_it_states(part: str) -> None:
    for verdict in EXAMPLES[part]:
        assert (verdict.outcome, verdict.violation) == (Outcome.labelled, True), verdict
        assert verdict.category == (None if part == "binary output" else "stolen")


@pytest.mark.parametrize(
    "answer",
    [
        '{"violation": 1, "category": "stolen"} {"violation": 0}',
        '{"violation": 1}',
        '{"violation": 1, "category": "M9"}',
        '{"violation": 1, "category": "stolen", "rule_ids": ["M9"]}',
        '{"violation": 0, "confidence": "sure"}',
        "1",
    ],
)
def test_other_deviations_are_not(answer: str) -> None:
    assert text(answer).outcome is Outcome.unparseable
