"""`safeguard new` creates a policy with placeholders, or a next version that differs only in its version."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.authoring.cases import cases_path
from safeguard_spark.authoring.check import check_file
from safeguard_spark.authoring.new import (
    SHIPPED,
    answer_format,
    copy_shipped,
    create_policy,
    document_text,
    new_policy,
    rule_prefix,
)
from safeguard_spark.errors import PolicyError
from safeguard_spark.policy.document import Output, Rule, load_policy, parse_policy
from tests.unit.commands import Safeguard
from tests.unit.samples import CASES, POLICY, edited, write_policy

pytestmark = pytest.mark.unit


def test_a_new_policy_has_no_problems_except_placeholders(tmp_path: Path) -> None:
    file = create_policy("fake-reviews", tmp_path)
    assert file == tmp_path / "fake-reviews" / "1.0.0" / "policy.md"
    diagnostics = check_file(file)
    assert {d.code for d in diagnostics} == {"todo"}
    assert len([d for d in diagnostics if d.file.endswith("cases.yaml")]) == 4
    assert load_policy(file).rule_ids == ("FR1",)


@pytest.mark.parametrize("name", ["a", "7", "A.B_c-d", "x" * 60, "Spam"])
def test_every_valid_name_gives_a_policy_that_can_be_loaded(tmp_path: Path, name: str) -> None:
    file = create_policy(f"{name}@2.1.0", tmp_path)
    assert load_policy(file).ref == f"{name}@2.1.0"
    assert {d.code for d in check_file(file)} == {"todo"}


def test_a_next_version_differs_only_in_its_version(tmp_path: Path) -> None:
    before = write_policy(tmp_path).read_text()
    file = create_policy("market@1.1.0", tmp_path)
    assert file.read_text() == edited(before, ("version: 1.0.0", "version: 1.1.0"))
    assert file.with_name("cases.yaml").read_text() == CASES


def test_a_next_version_is_copied_from_the_newest_older_version(tmp_path: Path) -> None:
    for version in ("1.0.0", "1.9.0", "1.10.0", "2.0.0"):
        write_policy(tmp_path, edited(POLICY, ("1.0.0", version), ("What may be offered.", version)), version=version)
    assert load_policy(create_policy("market@1.10.1", tmp_path)).description == "1.10.0"
    assert load_policy(create_policy("market@2.0.1", tmp_path)).description == "2.0.0"


@pytest.mark.parametrize(("source", "version"), [("threats", "1.1.0"), ("hate@1.0.0", "1.0.0")])
def test_a_copy_of_a_policy_that_ships_has_its_text_its_cases_and_another_name(
    tmp_path: Path, source: str, version: str
) -> None:
    file = copy_shipped("ours", source, tmp_path)
    original = SHIPPED / "policies" / source.partition("@")[0] / version / "policy.md"
    copy = load_policy(file)
    assert (copy.ref, copy.policy_hash) == ("ours@1.0.0", load_policy(original).policy_hash)
    assert cases_path(file).read_text() == cases_path(original).read_text()
    assert check_file(file) == ()


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        ("ours", "spamm", r"No policy spamm ships\. Choose one: .*hate.*, spam, "),
        ("ours", "spam@9.0.0", r"Policy spam ships in version 1\.0\.0, 1\.1\.0, not 9\.0\.0"),
        ("market", "spam", r"Policy market exists\. Choose another name"),
        ("Market", "spam", "differs from it only in upper and lower case"),
        ("o u r s", "spam", "not a valid policy name"),
    ],
)
def test_a_copy_that_cannot_be_made_is_refused(tmp_path: Path, name: str, source: str, message: str) -> None:
    write_policy(tmp_path)
    with pytest.raises(PolicyError, match=message):
        copy_shipped(name, source, tmp_path)


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        ("market", r"exists: 1\.0\.0\. Next version: safeguard new market@VERSION"),
        ("market@1.0.0", r"exists\. Choose a version other than 1\.0\.0"),
        ("market@0.9.0", r"no version older than 0\.9\.0 to copy\. Versions: 1\.0\.0"),
        ("market@1.1", r"'1\.1' is not a valid version\. Use three numbers"),
        ("market@", "'' is not a valid version"),
        ("a b", "'a b' is not a valid policy name"),
        ("../market", "'../market' is not a valid policy name"),
        ("", "'' is not a valid policy name"),
        ("Größe", "'Größe' is not a valid policy name"),
    ],
)
def test_a_policy_that_cannot_be_created_is_an_error_and_nothing_is_written(
    tmp_path: Path, ref: str, message: str
) -> None:
    write_policy(tmp_path / "policies")
    with pytest.raises(PolicyError, match=message):
        create_policy(ref, tmp_path / "policies")
    assert [p.name for p in tmp_path.rglob("policy.md")] == ["policy.md"]


def test_a_version_that_cannot_be_copied_is_named(tmp_path: Path) -> None:
    file = write_policy(tmp_path, edited(POLICY, ("version: 1.0.0\n", "")))
    with pytest.raises(PolicyError, match=r"has no line `version: …` in its front matter"):
        create_policy("market@1.1.0", tmp_path)
    file.write_bytes(b"\xff")
    with pytest.raises(PolicyError, match=r"is not UTF-8 text \(byte 0\)"):
        create_policy("market@1.1.0", tmp_path)


def test_a_version_in_quotes_is_copied_and_the_text_is_left_alone(tmp_path: Path) -> None:
    text = edited(POLICY, ("version: 1.0.0", '"version": "1.0.0"'), ("are safe.", "are safe.\nversion: of the text"))
    write_policy(tmp_path, text)
    copied = create_policy("market@1.1.0", tmp_path).read_text()
    assert copied == edited(text, ('"version": "1.0.0"', "version: 1.1.0"))


def test_a_version_without_cases_is_copied_without_any(safeguard: Safeguard) -> None:
    cases_path(write_policy(Path("policies"))).unlink()
    ran = safeguard("new", "market@1.1.0", "--policies", "policies")
    assert ran.out.startswith("Wrote policies/market/1.1.0/policy.md. Edit it, then: ")
    assert [file.name for file in Path("policies/market/1.1.0").iterdir()] == ["policy.md"]


def test_the_next_command_is_one_that_a_shell_takes(safeguard: Safeguard) -> None:
    Path("our policies").mkdir()
    assert (
        "then: safeguard check 'our policies/gifts/1.0.0/policy.md'"
        in safeguard("new", "gifts", "--policies", "our policies").out
    )


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "policies").write_text("a file")
    with pytest.raises(PolicyError, match=r"policies/gifts/1\.0\.0/policy\.md cannot be written: Not a directory"):
        create_policy("gifts", tmp_path / "policies")


def test_rule_ids_of_a_new_policy_are_derived_from_its_name() -> None:
    assert [rule_prefix(name) for name in ("fake-reviews", "spam", "a.b_c", "7")] == ["FR", "S", "ABC", "R"]


# What YAML can hold, and characters that have a meaning in YAML.
front_text = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")
    | st.sampled_from("=: -#'\"[]{}|>&*!%@`\n\t\\\x85\u2028\ufeff"),
    max_size=40,
)


@given(front_text)
def test_any_front_matter_survives_a_round_trip(text: str) -> None:
    rule = {"id": "A1", "category": "a", "title": text}
    written = document_text({"name": "a", "version": "1.0.0", "description": text, "rules": [rule]}, "Text.")
    policy = parse_policy(written)
    assert (policy.description, policy.rules[0].title, policy.body) == (text, text, "Text.\n")


@pytest.mark.parametrize("output", list(Output))
def test_each_output_form_is_stated_literally(output: Output) -> None:
    statement = answer_format(output, [Rule(id="M1", category="fakes"), Rule(id="M2", category="fakes")])
    parts = {"binary": "1 if the content violates", "category": '"policy_category"', "full": '"rule_ids"'}
    assert parts[output] in statement
    assert statement.count("`fakes`") == (0 if output is Output.binary else 1)


def test_the_template_states_the_answer_format_twice() -> None:
    assert new_policy("gifts", "1.0.0").count('{"violation": 0 or 1, "category": "..."') == 2
