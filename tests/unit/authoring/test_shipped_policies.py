"""The shipped policies are short, tested on both sides, revised, and pinned to the character."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.authoring.cases import cases_path, load_cases
from safeguard_spark.authoring.check import check_paths
from safeguard_spark.errors import PolicyError
from safeguard_spark.labelling.prompt import count_tokens
from safeguard_spark.policy.document import Policy, load_policy, parse_policy, split_document
from safeguard_spark.policy.lock import Lock, LockStatus, load_lock, lock_path
from safeguard_spark.policy.ref import all_policy_files

pytestmark = pytest.mark.unit
FOLDER = Path(__file__).parents[3] / "policies"
FILES = all_policy_files(FOLDER)
LOCK = Lock({}).with_policies(map(load_policy, FILES))
every_file = pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.parent.name}@{file.parent.name}")
# A character of UTF-8 text; line ends of other systems are excluded because reading a file normalizes them.
characters = st.characters(exclude_categories=["Cs"], exclude_characters="\r")


def test_no_shipped_policy_has_a_problem() -> None:
    assert check_paths([FOLDER]).diagnostics == ()


def test_there_are_ten_policies_each_revised_at_least_once() -> None:
    names = [file.parent.parent.name for file in FILES]
    assert len(set(names)) == 10
    assert all(names.count(name) >= 2 for name in names)


@every_file
def test_a_shipped_policy_has_400_to_900_tokens_and_the_four_sections(file: Path) -> None:
    body = load_policy(file).body
    assert 400 <= count_tokens(body) <= 900
    places = [body.index(f"## {section}") for section in ("Instructions", "Definitions", "Criteria", "Examples")]
    assert places == sorted(places)


@every_file
def test_a_shipped_policy_has_twelve_cases_or_more_with_at_least_a_third_on_each_side(file: Path) -> None:
    cases = load_cases(cases_path(file))
    violating = sum(case.violation for case in cases)
    assert len(cases) >= 12
    assert min(violating, len(cases) - violating) * 3 >= len(cases)


def test_the_lock_pins_exactly_the_shipped_versions() -> None:
    assert load_lock(lock_path(FOLDER)) == LOCK, "run `safeguard list` to see which version differs"


@given(st.sampled_from(FILES), st.data())
def test_any_changed_added_or_removed_character_of_a_published_text_is_detected(
    file: Path, data: st.DataObject
) -> None:
    text = file.read_text(encoding="utf-8")
    body = split_document(text).body
    position = data.draw(st.integers(0, len(body) - 1))
    kept = data.draw(st.integers(0, 1))  # 1 inserts a character, 0 replaces one
    replacement = data.draw(characters | st.just(""))
    changed = body[:position] + replacement + body[position + 1 - kept :]
    if changed == body:  # the same character again, or nothing inserted
        return
    policy = parse_policy(text.removesuffix(body) + changed)
    assert LOCK.status(policy) is LockStatus.changed
    with pytest.raises(PolicyError, match="bump the version"):
        LOCK.verify(policy)


@given(st.sampled_from(FILES), st.data())
def test_a_changed_character_anywhere_in_the_file_never_changes_the_text_of_a_version(
    file: Path, data: st.DataObject
) -> None:
    text = file.read_text(encoding="utf-8")
    original = parse_policy(text)
    position = data.draw(st.integers(0, len(text) - 1))
    changed = text[:position] + data.draw(characters) + text[position + 1 :]
    try:
        policy = parse_policy(changed)
    except PolicyError:
        return
    assert (
        policy.ref != original.ref
        or model_view(policy) == model_view(original)
        or LOCK.status(policy) is LockStatus.changed
    )


def model_view(policy: Policy) -> tuple[object, ...]:
    """What the model reads and may answer."""
    return policy.body, policy.output, [(rule.id, rule.category) for rule in policy.rules]


@every_file
def test_a_changed_owner_of_a_shipped_policy_changes_no_label(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    policy = parse_policy(text.replace("owner: trust@", "owner: safety@", 1))
    assert policy.policy_hash == load_policy(file).policy_hash
    assert LOCK.status(policy) is LockStatus.document_changed
    assert LOCK.verify(policy) is policy
