"""Answers as models and servers wrote them, and what each is read as.

`replays/answers.jsonl` has a line for each: the tolerance of docs/tables.md ("How an answer is read") that it shows and
whether that tolerance accepts it, the policy (below), the completion (`text` and `reasoning`, `harmony` as text with
special tokens, or `ids`), and the outcome and fields. To add a case, add a line.

The recorded answers of a real model are not shipped: `RECORDED_ANSWERS` is their Parquet file, by default one
beside the repository.
"""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from safeguard_spark.labelling.contract import Contract
from safeguard_spark.labelling.prompt import harmony_encoding
from safeguard_spark.labelling.verdict import Completion, Outcome, read
from safeguard_spark.policy.document import Output, parse_policy

pytestmark = pytest.mark.unit
REPOSITORY = Path(__file__).parents[3]
CASES = [
    json.loads(line)
    for line in (Path(__file__).parent / "replays" / "answers.jsonl").read_text(encoding="utf-8").splitlines()
]
RECORDED = Path(
    os.environ.get("RECORDED_ANSWERS") or REPOSITORY.parent / "shared" / "data" / "recorded-safeguard-20b-n300.parquet"
)
MARKET = "rules: [{id: M1, category: counterfeit}, {id: M2, category: stolen}, {id: M3, category: stolen}]"
SPAM = "rules: [{id: SP2, category: likely-spam}, {id: SP3, category: scam}]\nallowed: [SP0, not-spam]"
POLICIES = {
    "binary": f"output: binary\n{MARKET}",
    "category": f"output: category\n{MARKET}",
    "full": f"output: full\n{MARKET}",
    "spam": f"output: full\n{SPAM}",
    "words": "output: binary\nanswers: {violation: [Violating], safe: [Non-violating]}",
    "quoted-words": 'output: binary\nanswers: {violation: ["Won\'t do"], safe: [Fine]}',
    "words-full": f"output: category\n{SPAM}\nanswers: {{violation: [INVALID], safe: [VALID, OK to post]}}",
    "clash": "output: category\nrules: [{id: H1, category: Hate-Speech}, {id: H2, category: hate speech}]",
    "review": "output: binary\nanswers: {violation: [Remove], safe: [Keep]}\nreview: [Human review]",
    "review-full": f"output: full\n{MARKET}\nreview: [M0.1]",
    "review-category": f"output: category\n{MARKET}\nreview: [Escalate]",
    "numbers": "output: full\nrules: [{id: '1', category: one}, {id: '2', category: two}]",
}
CONTRACTS = {
    name: Contract.of(parse_policy(f"---\nname: p\nversion: 1.0.0\n{front}\n---\nText.\n"))
    for name, front in POLICIES.items()
}


def harmony_ids(text: str) -> list[int]:
    return list(harmony_encoding().encode(text, allowed_special="all"))


def completion(case: dict[str, Any]) -> Completion:
    ids = harmony_ids(case["harmony"]) if "harmony" in case else case.get("ids")
    return Completion(case.get("finish", "stop"), ids, case.get("text"), case.get("reasoning"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["tolerance"])
def test_an_answer_is_read_as_recorded(case: dict[str, Any]) -> None:
    verdict = read(completion(case), CONTRACTS[case["policy"]])
    expected = {key: case[key] for key in ("violation", "category", "confidence", "rationale") if key in case}
    assert verdict.outcome == case["outcome"], verdict
    assert {key: getattr(verdict, key) for key in expected} == expected
    assert verdict.rule_ids == tuple(case.get("rule_ids", ()))
    if verdict.outcome is not Outcome.labelled:
        assert (verdict.violation, verdict.category) == (None, "review" if verdict.outcome is Outcome.review else None)


def test_every_tolerance_of_the_page_has_answers_that_it_accepts_and_others_that_it_does_not() -> None:
    page = (REPOSITORY / "docs" / "tables.md").read_text(encoding="utf-8")
    section = page.partition("### How an answer is read")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    tolerances = [row[1] for row in rows[1:]]
    assert tolerances == list(dict.fromkeys(case["tolerance"] for case in CASES))
    sides = {(case["tolerance"], case["accepted"]) for case in CASES}
    assert sides == {(tolerance, side) for tolerance in tolerances for side in (True, False)}


# Recorded answers of gpt-oss-safeguard-20b: a digit each, and the reasoning before it.


def recorded() -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    if not RECORDED.is_file():
        pytest.skip("No recorded answers: set RECORDED_ANSWERS to their Parquet file.")
    columns = ["raw_model_response", "model_reasoning", "predicted_toxic"]
    rows: list[dict[str, Any]] = pq.read_table(RECORDED, columns=columns).to_pylist()
    return rows


def channels(reasoning: str, answer: str) -> dict[str, Completion]:
    """The same answer as different servers pass it on."""
    analysis, final = "<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"
    tokens = f"{analysis}{reasoning}{final}{answer}<|return|>"
    return {
        "chat": Completion("stop", text=answer, reasoning=reasoning),
        "harmony": Completion("stop", token_ids=harmony_ids(tokens)),
        "tokens as text": Completion("stop", text=tokens),
        "words": Completion("stop", text=f"analysis{reasoning}assistantfinal{answer}"),
        "tags": Completion("stop", text=f"<think>{reasoning}</think>\n{answer}"),
        "an answer as reasoning": Completion("stop", reasoning=answer),
        "JSON": Completion("stop", text=f'```json\n{{"violation": {answer}}}\n```', reasoning=reasoning),
    }


def test_recorded_answers_are_read_as_recorded_wherever_the_server_left_the_reasoning() -> None:
    right: Counter[str] = Counter()
    rows = recorded()
    for row in rows:
        for name, answer in channels(row["model_reasoning"], row["raw_model_response"]).items():
            verdict = read(answer, CONTRACTS["binary"])
            right[name] += (verdict.outcome, verdict.violation) == (Outcome.labelled, row["predicted_toxic"])
            if name not in ("chat", "JSON", "an answer as reasoning"):
                assert (verdict.reasoning or "").split() == row["model_reasoning"].split(), "reasoning differs"
    assert len(rows) > 0
    assert right == dict.fromkeys(channels("", ""), len(rows))


def test_recorded_reasoning_without_an_answer_is_never_a_verdict() -> None:
    labelled: Counter[str] = Counter()
    for row in recorded():
        reasoning = row["model_reasoning"]
        unfinished = {
            "as reasoning": Completion("stop", reasoning=reasoning),
            "as text": Completion("stop", text=reasoning),
            "open tag": Completion("stop", text=f"<think>{reasoning}"),
            "words": Completion("stop", text=f"analysis{reasoning}"),
            "harmony": Completion("stop", token_ids=harmony_ids(f"<|channel|>analysis<|message|>{reasoning}<|end|>")),
            "cut": Completion("length", token_ids=harmony_ids(f"<|channel|>analysis<|message|>{reasoning}")),
        }
        for contract in (CONTRACTS["binary"], Contract(Output.full, {})):
            for name, answer in unfinished.items():
                labelled[name] += read(answer, contract).outcome is Outcome.labelled
    assert labelled.total() == 0, labelled
