"""Any completion has exactly one outcome, and only an answer that follows the contract is read as a verdict."""

import json
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from safeguard_spark.labelling.contract import CONFIDENCES, Contract
from safeguard_spark.labelling.prompt import harmony_encoding
from safeguard_spark.labelling.verdict import Completion, Outcome, Verdict, read
from safeguard_spark.policy.document import Answers, Output

pytestmark = pytest.mark.unit
CATEGORY_OF = {"M1": "counterfeit", "M2": "stolen", "M3": "stolen"}
WORDS = Answers(violation=("Violating",), safe=("Non-violating", "OK"))
CONTRACTS = [
    Contract(output, rules, allowed, answers)
    for output in Output
    for rules, allowed, answers in ((CATEGORY_OF, (), None), ({}, (), None), (CATEGORY_OF, ("M0",), WORDS))
]
CONTRACTS += [Contract(output, CATEGORY_OF, ("M0",), WORDS, ("M0.1", "Escalate")) for output in Output]
READ = {Outcome.labelled, Outcome.review, Outcome.refused, Outcome.unparseable, Outcome.truncated}
FINISHES = st.sampled_from(["stop", "length", "repetition", "content_filter", "refusal", None, "", "abort", "odd"])

# Values and keys of an answer, right and wrong ones.
VALUES = st.recursive(
    st.sampled_from([0, 1, 2, -1, True, False, None, "0", "1", "true", " FALSE ", "none", "counterfeit", "stolen", "M1",
                     "M9", "", "low", "HIGH", "certain", 1.0, 0.5, float("nan"), float("inf"), 10**400, "\ud800", "\0",
                     "M0.a", "Stolen", "safe", "M0.1", "Review"])
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
KEYS = st.sampled_from(
    ["violation", "policy_category", "category", "rule_ids", "confidence", "rationale", "Violation", "Rule IDs", "x"]
)
ANSWERS = st.dictionaries(KEYS, VALUES, max_size=7).map(lambda value: json.dumps(value))
PIECES = st.sampled_from(
    ["{", "}", "[", "]", '"', "\\", ":", ",", "```json\n", "```", "0", "1", "1.0", "-1", "1e999", "NaN", "Infinity",
     '"violation"', '"violation": 1', '{"violation": 0}', "null", "I'm sorry, but", "I can’t", "\ufeff", "\u2028", "\0",
     "\ud83d", "<|end|>", "<|channel|>final<|message|>", "{{", "}}", "//", "'violation': 1", "<|start|>assistant",
     "<|channel|>analysis<|message|>", "analysis", "assistantfinal", "<think>", "</think>", "Answer: ", "Violating"]
)  # fmt: skip
TEXTS = st.one_of(
    st.text(max_size=60),
    ANSWERS,
    st.lists(PIECES | ANSWERS, max_size=8).map("".join),
    st.tuples(st.text(max_size=10), ANSWERS, st.text(max_size=10)).map("".join),
    st.integers(0, 3000).map(lambda n: '{"violation":' * n),
    st.integers(0, 3000).map(lambda n: "[" * n + "1" + "]" * n),
)
SPECIALS = [199998, 199999, 200002, 200003, 200005, 200006, 200007, 200008, 200012, 200013, 200018, 201087]
IDS = st.lists(
    st.sampled_from(SPECIALS) | st.integers(0, 201_100) | st.sampled_from([-1, 2**31, 2**32 - 1, 2**32, 2**63, 2**70]),
    max_size=30,
)


def harmony_ids(reasoning: str, final: str) -> list[int]:
    text = f"<|channel|>analysis<|message|>{reasoning}<|end|><|start|>assistant<|channel|>final<|message|>{final}"
    return list(harmony_encoding().encode(f"{text}<|return|>", allowed_special="all"))


def assert_total(verdict: Verdict, contract: Contract) -> None:
    assert verdict.outcome in READ
    assert isinstance(verdict.violation, bool) == (verdict.outcome is Outcome.labelled)
    if verdict.outcome is Outcome.review:
        assert contract.review and (verdict.category, verdict.error) == ("review", None)
        assert set(verdict.rule_ids) <= set(contract.category_of)
    elif verdict.outcome is not Outcome.labelled:
        assert (verdict.category, verdict.rule_ids, verdict.confidence, verdict.rationale) == (None, (), None, None)
        assert verdict.error and len(verdict.error) < 80
    else:
        assert verdict.error is None
        assert verdict.category in (None, *contract.categories)
        assert set(verdict.rule_ids) <= set(contract.category_of)
        assert verdict.confidence in (None, *CONFIDENCES)
        assert verdict.violation or verdict.category is None
    for text in (verdict.rationale, verdict.reasoning, verdict.raw_output, verdict.error):
        (text or "").encode("utf-8")  # Parquet can hold it


@settings(max_examples=300)
@given(text=st.none() | TEXTS, reasoning=st.none() | TEXTS, finish=FINISHES)
@example(text='{"violation":' * 100_000, reasoning=None, finish="stop")
@example(text='{"violation": 1' + "0" * 10_000 + "}", reasoning="\ud800", finish="length")
def test_any_text_has_one_outcome_under_every_contract(text: str | None, reasoning: str | None, finish: str) -> None:
    for contract in CONTRACTS:
        assert_total(read(Completion(finish, text=text, reasoning=reasoning), contract), contract)


@pytest.mark.parametrize(
    "text",
    [
        '{"violation": 1, "category": "M1' + ".a" * 30_000 + '"}', '{"violation": "' + "-" * 99_999 + '"}',
        "<|channel|>" + "<|start|>" * 3_000, "analysis" + "assistantfinal" * 9_999, "<think>" * 9_999, "```" * 30_000,
        " " * 99_999, "Answer: " * 9_999, "{" * 99_999,
    ],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_reading_a_degenerate_answer_ends(text: str) -> None:
    """Work that grew with the square of the length would take minutes, also on the fastest machine."""
    started = time.process_time()
    for contract in CONTRACTS:
        assert_total(read(Completion("stop", text=text), contract), contract)
    assert time.process_time() - started < 60


@settings(max_examples=300)
@given(ids=IDS, finish=FINISHES)
def test_any_token_ids_have_one_outcome_under_every_contract(ids: list[int], finish: str) -> None:
    for contract in CONTRACTS:
        assert_total(read(Completion(finish, token_ids=ids), contract), contract)


@settings(max_examples=200)
@given(reasoning=st.text(max_size=20), final=TEXTS, cut=st.integers(0, 40), finish=FINISHES)
def test_a_harmony_answer_cut_off_anywhere_has_one_outcome(reasoning: str, final: str, cut: int, finish: str) -> None:
    ids = harmony_ids(reasoning.encode("utf-8", "replace").decode(), final.encode("utf-8", "replace").decode())
    for contract in CONTRACTS:
        assert_total(read(Completion(finish, token_ids=ids[: len(ids) - cut]), contract), contract)


@settings(max_examples=100)
@given(raw=st.binary(max_size=60), finish=FINISHES)
def test_any_bytes_read_as_text_have_one_outcome(raw: bytes, finish: str) -> None:
    for errors in ("replace", "surrogateescape", "ignore"):
        for contract in CONTRACTS:
            completion = Completion(finish, text=raw.decode("utf-8", errors))
            assert_total(read(completion, contract), contract)


@pytest.mark.parametrize("contract", [c for c in CONTRACTS if c.category_of], ids=lambda c: c.output.value)
def test_the_answer_the_contract_requires_is_read_in_both_dialects(contract: Contract) -> None:
    answer = {
        Output.binary: "1",
        Output.category: '{"violation": 1, "policy_category": "stolen"}',
        Output.full: '{"violation": 1, "category": "stolen", "rule_ids": ["M2"], "confidence": "low"}',
    }[contract.output]
    for completion in (
        Completion("stop", text=answer, reasoning="hm"), Completion("stop", token_ids=harmony_ids("hm", answer)),
    ):  # fmt: skip
        verdict = read(completion, contract)
        assert (verdict.outcome, verdict.violation, verdict.reasoning) == (Outcome.labelled, True, "hm")
        assert verdict.category == (None if contract.output is Output.binary else "stolen")


REFUSALS = [
    "I'm sorry, but I can't help with that.", "I’m sorry, I cannot comply.", "I can’t assist with that request.",
    "Sorry, I cannot judge this.", "I apologize, but no.", "I am unable to help.", "I won’t do that.",
    "I must decline to answer.", "  \n**I'm very sorry**, no.",
]  # fmt: skip
GARBAGE = ["", " ", "}{", "It is about sorry people.", "maybe", '{"violation": 2}', "<html>", "No, sorry?", "\0"]


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda c: f"{c.output.value}-{len(c.category_of)}")
def test_refusals_are_distinguished_from_garbage(contract: Contract) -> None:
    refused = {text: read(Completion("stop", text=text), contract).outcome for text in REFUSALS}
    assert set(refused.values()) == {Outcome.refused}, refused
    garbage = {text: read(Completion("stop", text=text), contract).outcome for text in GARBAGE}
    assert set(garbage.values()) == {Outcome.unparseable}, garbage


PROSE = st.lists(st.sampled_from(["it", "breaks", "rule", "safe", ":", ",", "-", "\n", "0", "1", "(", "%"]), max_size=5)


@settings(max_examples=300)
@given(before=PROSE, digit=st.sampled_from("01"), after=PROSE)
def test_a_digit_inside_prose_is_no_binary_answer(before: list[str], digit: str, after: list[str]) -> None:
    words = " ".join([*before, digit, *after])
    outcome = read(Completion("stop", text=words), CONTRACTS[0]).outcome
    assert outcome is (Outcome.labelled if words.strip() == digit else Outcome.unparseable)


@settings(max_examples=200)
@given(answer=ANSWERS, quote=st.sampled_from(["</think>", "assistantfinal", "<|channel|>final<|message|>", "<think>"]))
def test_an_answer_that_quotes_channel_words_is_read_as_without_them(answer: str, quote: str) -> None:
    value = json.loads(answer)
    for contract in CONTRACTS:
        plain, quoting = (
            read(Completion("stop", text=json.dumps({**value, "rationale": text})), contract)
            for text in ("It says so.", f'It says {quote}0 and {quote}{{"violation": 0}}')
        )
        assert (quoting.outcome, quoting.violation) == (plain.outcome, plain.violation)


@settings(max_examples=200)
@given(before=st.text(max_size=20), after=st.text(max_size=20))
def test_a_refusal_before_or_after_anything_never_reads_as_safe(before: str, after: str) -> None:
    for contract in CONTRACTS:
        refusal = f"I'm sorry, but I can't help with that. {before}"
        assert read(Completion("stop", text=refusal), contract).outcome in (Outcome.refused, Outcome.labelled)
        if not any(mark in before for mark in "{01"):
            assert read(Completion("stop", text=refusal), contract).outcome is Outcome.refused
        cut = read(Completion("length", text=before + '{"violation": 0, "category"' + after[:5]), contract)
        assert cut.outcome is not Outcome.labelled
