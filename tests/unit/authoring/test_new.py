"""`safeguard new` begins a policy that says what is left to decide, and a next version that changes nothing else."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.authoring.check import check_file
from safeguard_spark.authoring.new import answer_form, create_policy, document_text, new_policy, rule_prefix
from safeguard_spark.errors import PolicyError
from safeguard_spark.policy.document import Output, Rule, load_policy, parse_policy
from tests.unit.samples import CASES, POLICY, edited, lay

pytestmark = pytest.mark.unit


def test_a_new_policy_has_nothing_wrong_but_the_places_to_fill_in(tmp_path: Path) -> None:
    file = create_policy("fake-reviews", tmp_path)
    assert file == tmp_path / "fake-reviews" / "1.0.0" / "policy.md"
    found = check_file(file)
    assert {d.code for d in found} == {"todo"}
    assert len([d for d in found if d.file.endswith("cases.yaml")]) == 4
    assert load_policy(file).rule_ids == ("FR1",)


@pytest.mark.parametrize("name", ["a", "7", "A.B_c-d", "x" * 60, "Spam"])
def test_any_name_a_policy_may_have_begins_one_that_can_be_read(tmp_path: Path, name: str) -> None:
    file = create_policy(f"{name}@2.1.0", tmp_path)
    assert load_policy(file).ref == f"{name}@2.1.0"
    assert {d.code for d in check_file(file)} == {"todo"}


def test_a_next_version_differs_in_its_version_alone(tmp_path: Path) -> None:
    before = lay(tmp_path).read_text()
    file = create_policy("market@1.1.0", tmp_path)
    assert file.read_text() == edited(before, ("version: 1.0.0", "version: 1.1.0"))
    assert file.with_name("cases.yaml").read_text() == CASES


def test_a_next_version_comes_from_the_newest_one_below_it(tmp_path: Path) -> None:
    for version in ("1.0.0", "1.9.0", "1.10.0", "2.0.0"):
        lay(tmp_path, edited(POLICY, ("1.0.0", version), ("What may be offered.", version)), version=version)
    assert load_policy(create_policy("market@1.10.1", tmp_path)).description == "1.10.0"
    assert load_policy(create_policy("market@2.0.1", tmp_path)).description == "2.0.0"


@pytest.mark.parametrize(
    ("ref", "said"),
    [
        ("market", r"exists: 1\.0\.0\. Its next version: safeguard new market@VERSION"),
        ("market@1.0.0", r"exists\. Give a version that is not one of 1\.0\.0"),
        ("market@0.9.0", r"no version below 0\.9\.0 to begin from: 1\.0\.0"),
        ("market@1.1", r"'1\.1' is no version: three numbers"),
        ("market@", "'' is no version"),
        ("a b", "'a b' is no policy's name"),
        ("../market", "'../market' is no policy's name"),
        ("", "'' is no policy's name"),
        ("Größe", "'Größe' is no policy's name"),
    ],
)
def test_what_cannot_be_begun_is_said_and_nothing_is_written(tmp_path: Path, ref: str, said: str) -> None:
    lay(tmp_path / "policies")
    with pytest.raises(PolicyError, match=said):
        create_policy(ref, tmp_path / "policies")
    assert [p.name for p in tmp_path.rglob("policy.md")] == ["policy.md"]


def test_a_version_that_cannot_be_copied_is_named(tmp_path: Path) -> None:
    file = lay(tmp_path, edited(POLICY, ("version: 1.0.0\n", "")))
    with pytest.raises(PolicyError, match="has no `version:` line to raise"):
        create_policy("market@1.1.0", tmp_path)
    file.write_bytes(b"\xff")
    with pytest.raises(PolicyError, match=r"is not UTF-8 text \(byte 0\)"):
        create_policy("market@1.1.0", tmp_path)


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "policies").write_text("a file")
    with pytest.raises(PolicyError, match=r"policies/gifts/1\.0\.0/policy\.md cannot be written: Not a directory"):
        create_policy("gifts", tmp_path / "policies")


def test_the_ids_of_a_new_policys_rules_come_from_its_name() -> None:
    assert [rule_prefix(name) for name in ("fake-reviews", "spam", "a.b_c", "7")] == ["FR", "S", "ABC", "R"]


# What YAML can hold, and what it takes for something else where it stands alone.
front_text = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")
    | st.sampled_from("=: -#'\"[]{}|>&*!%@`\n\t\\\x85\u2028\ufeff"),
    max_size=40,
)


@given(front_text)
def test_any_front_matter_comes_back_as_it_was_written(text: str) -> None:
    rule = {"id": "A1", "category": "a", "title": text}
    written = document_text({"name": "a", "version": "1.0.0", "description": text, "rules": [rule]}, "Text.")
    found = parse_policy(written)
    assert (found.description, found.rules[0].title, found.body) == (text, text, "Text.\n")


@pytest.mark.parametrize("output", list(Output))
def test_each_output_form_is_asked_for_literally(output: Output) -> None:
    said = answer_form(output, [Rule(id="M1", category="fakes"), Rule(id="M2", category="fakes")])
    named = {"binary": "1 if the content violates", "category": '"policy_category"', "full": '"rule_ids"'}
    assert named[output] in said
    assert said.count("`fakes`") == (0 if output is Output.binary else 1)


def test_the_template_has_the_answers_form_twice() -> None:
    assert new_policy("gifts", "1.0.0").count('{"violation": 0 or 1, "category": "..."') == 2
