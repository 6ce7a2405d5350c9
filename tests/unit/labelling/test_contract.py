"""The output contract: what the schema lets through is what is read as a verdict, and the tag binds just that."""

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
from safeguard_spark.policy.document import Output, Policy, parse_policy

pytestmark = pytest.mark.unit

RULES = {"M1": "counterfeit", "M2": "counterfeit", "Ü-3": 'odd "quoted" \\ category'}
CONTRACTS = [Contract(output, rules) for output in Output for rules in (RULES, {"M1": "counterfeit"}, {})]
each_contract = pytest.mark.parametrize("contract", CONTRACTS, ids=lambda c: f"{c.output.value}-{len(c.category_of)}")


def read(text: str, contract: Contract) -> verdict.Verdict:
    return verdict.read(Completion("stop", text=text), contract)


def policy(text: str = "Text.", output: str = "full", rules: str = "{id: M1, category: a}") -> Policy:
    return parse_policy(f"---\nname: p\nversion: 1.0.0\noutput: {output}\nrules: [{rules}]\n---\n{text}\n")


def is_valid(value: Any, contract: Contract) -> bool:
    return bool(jsonschema.Draft202012Validator(contract.json_schema()).is_valid(value))


# The schema


@each_contract
def test_the_schema_is_one_and_takes_the_scripted_answers(contract: Contract) -> None:
    jsonschema.Draft202012Validator.check_schema(contract.json_schema())
    for rule in (*contract.category_of, None):
        assert is_valid(json.loads(answer(contract, rule)), contract)


@each_contract
def test_the_scripted_answers_are_read_as_they_are_meant(contract: Contract) -> None:
    for rule in (*contract.category_of, None):
        found = read(answer(contract, rule), contract)
        assert (found.outcome, found.violation) == (Outcome.labelled, rule is not None)
        if contract.output is not Output.binary:
            assert found.category == (contract.category_of[rule] if rule else None)
        if contract.output is Output.full:
            assert found.rule_ids == ((rule,) if rule else ()) and found.confidence == "high"


@each_contract
@given(st.data())
def test_whatever_the_schema_takes_is_read_without_losing_a_field_or_contradicts_itself(
    contract: Contract, data: st.DataObject
) -> None:
    value = data.draw(_conforming(contract))
    assert is_valid(value, contract)
    found = read(json.dumps(value), contract)
    if contract.output is Output.binary:
        assert found.violation == bool(value)
        return
    category = value.get("category", value.get("policy_category"))
    # A schema cannot say that a category belongs to a violation and none to the rest; reading does.
    if bool(value["violation"]) == (category != "none") or not contract.category_of:
        assert (found.outcome, found.violation) == (Outcome.labelled, bool(value["violation"]))
        assert set(found.rule_ids) == set(value.get("rule_ids", ()))
        assert found.confidence == value.get("confidence") and found.rationale == value.get("rationale")
    else:
        assert found.outcome in (Outcome.labelled, Outcome.unparseable)


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
def test_the_schema_refuses_what_a_verdict_cannot_be(change: dict[str, Any]) -> None:
    contract = CONTRACTS[6]
    assert contract.output is Output.full
    good = json.loads(answer(contract, "M1"))
    assert not is_valid({**good, **change}, contract)


@pytest.mark.parametrize("missing", ["violation", "category", "rule_ids", "confidence", "rationale"])
def test_the_schema_wants_every_field(missing: str) -> None:
    good = json.loads(answer(CONTRACTS[6], "M1"))
    del good[missing]
    assert not is_valid(good, CONTRACTS[6])


@each_contract
def test_no_length_is_bound_in_the_schema(contract: Contract) -> None:
    assert "maxLength" not in json.dumps(contract.json_schema())


# The structural tag


@each_contract
def test_the_tag_is_json_with_the_schema_after_each_header_of_a_final_message(contract: Contract) -> None:
    tag = json.loads(contract.structural_tag)
    assert tag["type"] == "structural_tag"
    thought, either = tag["format"]["elements"]
    assert thought["type"] == "optional"
    assert [final["begin"] for final in either["elements"]] == list(FINAL_HEADERS)
    assert all(
        f["content"] == {"type": "json_schema", "json_schema": contract.json_schema()} for f in either["elements"]
    )


def test_the_tag_is_the_same_bytes_for_the_same_rules_and_output_whatever_else_differs() -> None:
    one = Contract.of(policy()).structural_tag
    assert one == Contract.of(policy("Other text.")).structural_tag
    assert one == Contract.of(policy(rules="{id: M1, category: a, title: Other, severity: low}")).structural_tag
    others = [policy(output="category"), policy(rules="{id: M2, category: a}"), policy(rules="{id: M1, category: b}")]
    assert len({one, *(Contract.of(other).structural_tag for other in others)}) == 4


def test_the_tag_keeps_the_order_of_rules_and_of_fields() -> None:
    rules = "{id: M2, category: b}, {id: M1, category: a}"
    tag = Contract.of(policy(rules=rules)).structural_tag
    assert tag.index('"M2"') < tag.index('"M1"')
    places = [tag.index(f'"{name}":') for name in ("violation", "category", "rule_ids", "confidence", "rationale")]
    assert places == sorted(places)


def test_the_tags_bytes_are_those_engines_have_compiled(golden: Any) -> None:
    golden("structural_tag.json", CONTRACTS[6].structural_tag + "\n")


@each_contract
@pytest.mark.parametrize("header", FINAL_HEADERS)
@pytest.mark.parametrize("thought", [None, "", "It {may} be <|odd|>."])
def test_the_tag_takes_a_completion_with_and_without_a_thought(
    contract: Contract, header: str, thought: str | None
) -> None:
    said = "" if thought is None else f"<|channel|>analysis<|message|>{thought}<|end|><|start|>assistant"
    for rule in (*contract.category_of, None):
        assert takes(contract, f"{said}{header}{answer(contract, rule)}")


@each_contract
def test_the_tag_leaves_no_way_around_the_schema(contract: Contract) -> None:
    said = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant"
    for text in (
        "", answer(contract, None), said, f"{said}{FINAL_HEADERS[0]}I cannot help.", f"{FINAL_HEADERS[2]}{{}}",
        f"<|channel|>commentary<|message|>{answer(contract, None)}",
        f"{said}{said}{FINAL_HEADERS[0]}{answer(contract, None)}",
    ):  # fmt: skip
        assert not takes(contract, text), text


def takes(contract: Contract, text: str) -> bool:
    """Whether a completion is in the tag's language. Only what our tag is made of."""
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
    said = next((value for value in match.groupdict().values() if value is not None), None) if match else None
    try:
        return said is not None and jsonschema.Draft202012Validator(schemas[0]).is_valid(json.loads(said))
    except ValueError:
        return False
