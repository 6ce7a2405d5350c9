"""`safeguard diff` shows changes rule by rule, and whether they can change labels."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.authoring.diff import diff_json, diff_policies, diff_text
from safeguard_spark.policy import document
from safeguard_spark.policy.document import Policy, parse_policy, split_document
from safeguard_spark.relabel.rules import rule_changes, rule_lines
from tests.unit.commands import Safeguard
from tests.unit.samples import CASES, POLICY, edited, write_policy

pytestmark = pytest.mark.unit
BEFORE = parse_policy(POLICY)
M3 = "  - {id: M3, category: gifts, title: Gifts}\n"
AFTER_TEXT = edited(
    POLICY,
    ("version: 1.0.0", "version: 1.1.0"),
    ("trust@", "safety@"),
    ("severity: high", "severity: critical"),
    ("category: stolen, title: Stolen goods}\n", f"category: theft, title: Stolen goods}}\n{M3}"),
    ("(stolen): offers goods", "(theft): offers or asks for goods"),
    ("Second-hand goods are safe.", "M3 (gifts): offers gifts.\nSecond-hand goods are safe, used ones too."),
    ('- "My old watch', '- "Win a free phone" -> 1 M3\n- "My old watch'),
)
AFTER_CASES = edited(
    CASES,
    ("text: My old watch, with its box\n    violation: false", "text: My old watch, with its box\n    violation: true"),
    ("Ten phones that fell off a truck", "Nine phones that fell off a truck"),
    ("category: stolen", "category: theft"),
    ("id: found-on-a-truck", "id: nine-phones"),
)


def parsed(text: str) -> Policy:
    return parse_policy(text)


def test_a_revision_is_shown_rule_by_rule_with_behavior_first(
    safeguard: Safeguard, golden: Callable[[str, str], None]
) -> None:
    write_policy(Path("policies"))
    write_policy(Path("policies"), AFTER_TEXT, AFTER_CASES, version="1.1.0")
    ran = safeguard("diff", "market", "1.0.0", "1.1.0")
    assert (ran.code, ran.err) == (0, "")
    golden("diff/revision.txt", ran.out)
    printed = json.loads(safeguard("diff", "market", "1.0.0", "1.1.0", "--json").out)
    assert printed["labels_may_change"] is True
    assert printed["behaviour"] == {"M2": ["category stolen -> theft"], "M3": ["new rule, category gifts"]}
    assert printed["cases"] == [{"case": "old-watch", "before": "safe", "after": "violation"}]
    assert (printed["cases_added"], printed["cases_removed"]) == (["nine-phones"], ["found-on-a-truck"])


@pytest.mark.parametrize("line", ["answers: {violation: [bad], safe: [ok]}", "allowed: [M0]"])
def test_what_decides_how_an_answer_is_read_is_behavior(line: str) -> None:
    diff = diff_policies(BEFORE, parsed(edited(POLICY, ("labeler:", f"{line}\nlabeler:"))))
    assert (diff.labels_may_change, list(diff.behavior), diff.fields) == (True, ["policy"], ())


def test_what_cannot_change_a_label_is_shown_separately(safeguard: Safeguard) -> None:
    write_policy(Path("policies"))
    write_policy(Path("policies"), edited(POLICY, ("1.0.0", "1.0.1"), ("trust@", "safety@")), version="1.0.1")
    ran = safeguard("diff", "market", "1.0.0", "1.0.1")
    assert ran.out == (
        "market@1.0.0 -> market@1.0.1 (same policy hash: no label can change)\n\n"
        "Front matter\n  owner: 'trust@example.org' -> 'safety@example.org'\n"
    )


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (("effort: low", "effort: none"), "labeler.effort low -> none"),
        (("{effort: low}", "{effort: low, max_tokens: 77}"), "labeler.max_tokens unset -> 77"),
    ],
)
def test_another_labeler_may_change_labels_although_the_policy_hash_is_the_same(
    change: tuple[str, str], what: str
) -> None:
    diff = diff_policies(BEFORE, parsed(edited(POLICY, change)))
    assert (diff.labels_may_change, diff.same_policy_hash, diff.labeler) == (True, True, (what,))
    assert "same policy hash, another labeler: every content is judged again, unless" in diff_text(diff)
    changes = rule_changes(BEFORE, parsed(edited(POLICY, change)))
    assert changes.any and what in rule_lines(changes)[0]


def test_a_version_compared_with_itself_has_no_differences() -> None:
    diff = diff_policies(BEFORE, BEFORE)
    assert not diff.labels_may_change
    assert diff.owners == ()
    assert diff_text(diff).count("\n") == 1


def test_a_reversed_diff_removes_what_the_diff_adds() -> None:
    forward, reverse = diff_policies(BEFORE, parsed(AFTER_TEXT)), diff_policies(parsed(AFTER_TEXT), BEFORE)
    assert reverse.behavior["M3"] == ("rule removed, category gifts",)
    assert sorted(c.added for c in forward.text) == sorted(c.removed for c in reverse.text)


@pytest.mark.parametrize(
    ("change", "behavior"),
    [
        (("output: full", "output: binary"), {"policy": ("answer format full -> binary",)}),
        (
            (
                "  - {id: M1, category: counterfeit, title: Counterfeit goods, severity: high}\n"
                "  - {id: M2, category: stolen, title: Stolen goods}\n",
                "  - {id: M2, category: stolen, title: Stolen goods}\n"
                "  - {id: M1, category: counterfeit, title: Counterfeit goods, severity: high}\n",
            ),
            {"policy": ("the order of the rules, which the answer format follows",)},
        ),
    ],
)
def test_a_change_to_all_rules_belongs_to_the_policy(
    change: tuple[str, str], behavior: dict[str, tuple[str, ...]]
) -> None:
    diff = diff_policies(BEFORE, parsed(edited(POLICY, change)))
    assert (diff.labels_may_change, diff.behavior) == (True, behavior)


def test_a_line_belongs_to_the_rule_it_names_or_the_rule_of_its_heading() -> None:
    before = edited(POLICY, ("M1 (counterfeit): offers", "### M1 counterfeit\n\nOffers\n  or shows"))
    after = edited(before, ("  or shows", "  or lends"), ("trust@", "other@"))
    assert [c.owner for c in diff_policies(parsed(before), parsed(after)).text] == ["M1"]
    both = edited(POLICY, ("Second-hand", "M1 and M2: second-hand"))
    assert [c.owner for c in diff_policies(BEFORE, parsed(both)).text] == ["Criteria"]


@given(st.integers(0, len(split_document(POLICY).body) - 1), st.text("aM1 \n#|-", max_size=3))
def test_every_change_to_the_text_changes_the_hash_and_is_shown_unless_it_is_only_whitespace(
    position: int, replacement: str
) -> None:
    body = BEFORE.body[:position] + replacement + BEFORE.body[position + 1 :]
    after = document.Policy.model_construct(**{**dict(BEFORE), "body": body})
    diff = diff_policies(BEFORE, after)
    assert diff.labels_may_change == (body != BEFORE.body)
    words = [line for line in BEFORE.body.split("\n") if line.strip()]
    if [line for line in body.split("\n") if line.strip()] != words:
        assert diff.text
    json.dumps(diff_json(diff))
    diff_text(diff)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("## Definitions", "\n## Definitions"), "only blank lines differ"),
        (("are safe.", "are  safe. "), "only spaces differ: Second-hand goods are  safe."),
        (("labeler:", "gate: {max_unreadable_rate: 0.02}\nlabeler:"), "gate.max_unreadable_rate: unset -> 0.02"),
        (("labeler:", "links: {Wiki: 'https://wiki.example'}\nlabeler:"), "links.Wiki: unset -> https://wiki.example"),
    ],
)
def test_a_change_that_is_hard_to_see_is_in_words(change: tuple[str, str], words: str) -> None:
    assert f"  {words}\n" in diff_text(diff_policies(BEFORE, parsed(edited(POLICY, change))))
