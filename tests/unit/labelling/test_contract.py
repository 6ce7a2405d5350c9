"""The output contract: what the schema accepts is read as a verdict, and the tag accepts nothing else."""

import json
import re
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.engines.scripted import answer
from safeguard_spark.labelling import verdict
from safeguard_spark.labelling.contract import CONFIDENCES, FINAL_HEADERS, Contract
from safeguard_spark.labelling.verdict import Completion, Outcome
from safeguard_spark.policy.document import Answers, Output, Policy, parse_policy

pytestmark = pytest.mark.unit

RULES = {"M1": "counterfeit", "M2": "counterfeit", "Ü-3": 'odd "quoted" \\ category'}
CONTRACTS = [Contract(output, rules) for output in Output for rules in (RULES, {"M1": "counterfeit"}, {})]
every_contract = pytest.mark.parametrize("contract", CONTRACTS, ids=lambda c: f"{c.output.value}-{len(c.category_of)}")


def read(text: str, contract: Contract) -> verdict.Verdict:
    return verdict.read(Completion("stop", text=text), contract)


def policy(text: str = "Text.", output: str = "full", rules: str = "{id: M1, category: a}") -> Policy:
    return parse_policy(f"---\nname: p\nversion: 1.0.0\noutput: {output}\nrules: [{rules}]\n---\n{text}\n")


def is_valid(value: Any, contract: Contract) -> bool:
    return bool(jsonschema.Draft202012Validator(contract.json_schema()).is_valid(value))


# The schema


@every_contract
def test_the_schema_is_valid_and_accepts_the_scripted_answers(contract: Contract) -> None:
    jsonschema.Draft202012Validator.check_schema(contract.json_schema())
    for rule in (*contract.category_of, None):
        assert is_valid(json.loads(answer(contract, rule)), contract)


@every_contract
def test_the_scripted_answers_are_read_correctly(contract: Contract) -> None:
    for rule in (*contract.category_of, None):
        result = read(answer(contract, rule), contract)
        assert (result.outcome, result.violation) == (Outcome.labelled, rule is not None)
        if contract.output is not Output.binary:
            assert result.category == (contract.category_of[rule] if rule else None)
        if contract.output is Output.full:
            assert result.rule_ids == ((rule,) if rule else ()) and result.confidence == "high"


@every_contract
@given(st.data())
def test_an_answer_the_schema_accepts_is_read_without_losing_a_field_unless_it_contradicts_itself(
    contract: Contract, data: st.DataObject
) -> None:
    value = data.draw(_conforming(contract))
    assert is_valid(value, contract)
    result = read(json.dumps(value), contract)
    if contract.output is Output.binary:
        assert result.violation == bool(value)
        return
    category = value.get("category", value.get("policy_category"))
    # A schema cannot express that a violation needs a category and the rest has none and no rules; reading checks it.
    is_consistent = bool(value["violation"]) == (category != "none") or not contract.category_of
    rules = value.get("rule_ids")
    is_consistent &= not rules or category == "none" or category in {contract.category_of[rule] for rule in rules}
    if is_consistent and (value["violation"] or not value.get("rule_ids")):
        assert (result.outcome, result.violation) == (Outcome.labelled, bool(value["violation"]))
        assert set(result.rule_ids) == set(value.get("rule_ids", ()))
        assert result.confidence == value.get("confidence") and result.rationale == value.get("rationale")
    else:
        assert result.outcome in (Outcome.labelled, Outcome.unparseable)


def _conforming(contract: Contract) -> st.SearchStrategy[Any]:
    violation = st.sampled_from([0, 1])
    if contract.output is Output.binary:
        return violation
    category = st.sampled_from([*contract.categories, "none"])
    if contract.output is Output.category:
        return st.fixed_dictionaries({"violation": violation, "policy_category": category})
    ids = st.lists(st.sampled_from([*contract.category_of]), max_size=8) if contract.category_of else st.just([])
    return st.fixed_dictionaries({
        "violation": violation, "category": category, "rule_ids": ids, "confidence": st.sampled_from(CONFIDENCES),
        "rationale": st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    })  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"violation": 2}, {"violation": "1"}, {"category": "weapons"}, {"rule_ids": ["M9"]}, {"rule_ids": "M1"},
        {"confidence": "sure"}, {"rationale": None}, {"extra": 1}, {"rule_ids": ["M1"] * 9},
    ],
)  # fmt: skip
def test_the_schema_rejects_an_impossible_verdict(change: dict[str, Any]) -> None:
    contract = CONTRACTS[6]
    assert contract.output is Output.full
    good = json.loads(answer(contract, "M1"))
    assert not is_valid({**good, **change}, contract)


@pytest.mark.parametrize("missing", ["violation", "category", "rule_ids", "confidence", "rationale"])
def test_the_schema_requires_every_field(missing: str) -> None:
    good = json.loads(answer(CONTRACTS[6], "M1"))
    del good[missing]
    assert not is_valid(good, CONTRACTS[6])


@pytest.mark.parametrize("output", Output)
@pytest.mark.parametrize(
    ("answers", "values"),
    [
        (Answers(violation=("Violating", "bad"), safe=("Non-violating",)), ["Non-violating", "Violating"]),
        (Answers(violation=("1", "INVALID"), safe=("0", "VALID")), [0, 1]),
    ],
)
def test_the_schema_requires_the_first_word_of_each_answer(output: Output, answers: Answers, values: list[Any]) -> None:
    contract = Contract(output, RULES, answers=answers)
    for value, violation in zip(values, (False, True), strict=True):
        if output is Output.binary:
            written: Any = value
        else:
            written = {**json.loads(answer(contract, "M1" if violation else None)), "violation": value}
        assert is_valid(written, contract)
        result = read(json.dumps(written), contract)
        assert (result.outcome, result.violation) == (Outcome.labelled, violation)
    other = 0 if values[0] != 0 else "0"
    assert not is_valid(other if output is Output.binary else {**written, "violation": other}, contract)


@pytest.mark.parametrize("output", Output)
@pytest.mark.parametrize("answers", [None, Answers(violation=("Take down",), safe=("Leave up",))])
def test_the_schema_has_review_where_the_policy_has_it(output: Output, answers: Answers | None) -> None:
    contract = Contract(output, RULES, answers=answers, review=("Ask a colleague", "M0.1"))
    written = answer(contract, "Ask a colleague")
    value = written if output is Output.binary else json.loads(written)
    if output is Output.full:
        value["rule_ids"] = ["M2"]
    if output is not Output.binary:
        value["violation"] = contract.json_schema()["properties"]["violation"]["enum"][0]
        value["category" if output is Output.full else "policy_category"] = "Ask a colleague"
    jsonschema.Draft202012Validator.check_schema(contract.json_schema())
    assert is_valid(value, contract)
    assert not is_valid(value, Contract(output, RULES, answers=answers))
    result = read(json.dumps(value), contract)
    assert (result.outcome, result.violation, result.category) == (Outcome.review, None, "review")
    assert result.rule_ids == (("M2",) if output is Output.full else ())


@every_contract
def test_the_schema_limits_no_length(contract: Contract) -> None:
    assert "maxLength" not in json.dumps(contract.json_schema())


# The structural tag


@every_contract
def test_the_tag_has_the_schema_after_each_header_of_a_final_message(contract: Contract) -> None:
    tag = json.loads(contract.structural_tag)
    assert tag["type"] == "structural_tag"
    reasoning, final = tag["format"]["elements"]
    assert reasoning["type"] == "optional"
    assert [channel["begin"] for channel in final["elements"]] == list(FINAL_HEADERS)
    assert all(
        f["content"] == {"type": "json_schema", "json_schema": contract.json_schema()} for f in final["elements"]
    )


def test_the_tag_depends_only_on_rules_and_output() -> None:
    one = Contract.of(policy()).structural_tag
    assert one == Contract.of(policy("Other text.")).structural_tag
    assert one == Contract.of(policy(rules="{id: M1, category: a, title: Other, severity: low}")).structural_tag
    others = [policy(output="category"), policy(rules="{id: M2, category: a}"), policy(rules="{id: M1, category: b}")]
    assert len({one, *(Contract.of(other).structural_tag for other in others)}) == 4


def test_the_tag_keeps_the_order_of_rules_and_of_fields() -> None:
    rules = "{id: M2, category: b}, {id: M1, category: a}"
    tag = Contract.of(policy(rules=rules)).structural_tag
    assert tag.index('"M2"') < tag.index('"M1"')
    positions = [tag.index(f'"{name}":') for name in ("violation", "category", "rule_ids", "confidence", "rationale")]
    assert positions == sorted(positions)


def test_the_tag_is_byte_identical_to_the_one_engines_have_cached(golden: Any) -> None:
    golden("structural_tag.json", CONTRACTS[6].structural_tag + "\n")


@every_contract
@pytest.mark.parametrize("header", FINAL_HEADERS)
@pytest.mark.parametrize("reasoning", [None, "", "It {may} be <|odd|>."])
def test_the_tag_accepts_a_completion_with_and_without_reasoning(
    contract: Contract, header: str, reasoning: str | None
) -> None:
    analysis = "" if reasoning is None else f"<|channel|>analysis<|message|>{reasoning}<|end|><|start|>assistant"
    for rule in (*contract.category_of, None):
        assert accepts(contract, f"{analysis}{header}{answer(contract, rule)}")


@every_contract
def test_the_tag_accepts_no_completion_outside_the_schema(contract: Contract) -> None:
    analysis = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant"
    for text in (
        "", answer(contract, None), analysis, f"{analysis}{FINAL_HEADERS[0]}I cannot help.", f"{FINAL_HEADERS[2]}{{}}",
        f"<|channel|>commentary<|message|>{answer(contract, None)}",
        f"{analysis}{analysis}{FINAL_HEADERS[0]}{answer(contract, None)}",
    ):  # fmt: skip
        assert not accepts(contract, text), text


def accepts(contract: Contract, text: str) -> bool:
    """Whether the tag accepts a completion. It knows only the parts that our tag uses."""
    schemas: list[dict[str, Any]] = []

    def pattern(part: dict[str, Any]) -> str:
        kind = part["type"]
        if kind == "sequence":
            return "".join(pattern(element) for element in part["elements"])
        if kind == "optional":
            return f"(?:{pattern(part['content'])})?"
        if kind == "or":
            return f"(?:{'|'.join(pattern(element) for element in part['elements'])})"
        if kind == "const_string":
            return re.escape(part["value"])
        if kind == "any_text":
            return r"(?:(?!<\|end\|>).)*"
        if kind == "json_schema":
            schemas.append(part["json_schema"])
            return f"(?P<answer{len(schemas)}>.*)"
        assert kind == "tag"
        ends = part["end"] if isinstance(part["end"], list) else [part["end"]]
        return f"{re.escape(part['begin'])}{pattern(part['content'])}(?:{'|'.join(map(re.escape, ends))})"

    match = re.fullmatch(pattern(json.loads(contract.structural_tag)["format"]), text, re.DOTALL)
    final = next((value for value in match.groupdict().values() if value is not None), None) if match else None
    try:
        return final is not None and jsonschema.Draft202012Validator(schemas[0]).is_valid(json.loads(final))
    except ValueError:
        return False
