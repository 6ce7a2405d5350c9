"""check of published versions: what changed since the lock pinned them."""

import json
from pathlib import Path

import pytest

from safeguard_spark.authoring.check import check_file
from safeguard_spark.policy.document import parse_policy
from safeguard_spark.policy.lock import Lock, lock_path, save_lock
from tests.unit.samples import POLICY, edited, write_policy

pytestmark = pytest.mark.unit


def test_a_changed_published_version_is_an_error_with_the_hint_to_bump_it(tmp_path: Path) -> None:
    save_lock(Lock({}).with_policies([parse_policy(POLICY)]), lock_path(tmp_path))
    assert check_file(write_policy(tmp_path)) == ()
    (changed,) = check_file(write_policy(tmp_path, edited(POLICY, ("Second-hand goods", "Second hand goods"))))
    assert changed.code == "published-changed"
    assert "bump the version" in changed.hint
    assert changed.excerpt == "version: 1.0.0"


def test_a_changed_owner_of_a_published_version_is_a_warning_that_no_label_changes(tmp_path: Path) -> None:
    save_lock(Lock({}).with_policies([parse_policy(POLICY)]), lock_path(tmp_path))
    (warning,) = check_file(write_policy(tmp_path, edited(POLICY, ("trust@", "safety@"))))
    assert warning.code == "lock-behind"
    assert "no label" in warning.message


def test_a_damaged_lock_is_reported_for_the_policies_it_pins(tmp_path: Path) -> None:
    (tmp_path / "lock.json").write_text("{")
    (damaged,) = check_file(write_policy(tmp_path))
    assert (damaged.code, "damaged" in damaged.message) == ("unreadable", True)


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ("labeler: {effort: low}", "labeler: {effort: medium}", "labeler.effort low -> medium"),
        ("labeler: {effort: low}", "labeler: {effort: low, max_tokens: 900}", "labeler.max_tokens unset -> 900"),
        ("labeler: {effort: low}\n", "", "labeler.effort low -> unset"),
    ],
)
def test_another_labeler_in_a_published_version_is_said_to_change_labels(
    tmp_path: Path, before: str, after: str, changes: str
) -> None:
    save_lock(Lock({}).with_policies([parse_policy(POLICY)]), lock_path(tmp_path))
    (warning,) = check_file(write_policy(tmp_path, edited(POLICY, (before, after), ("trust@", "safety@"))))
    assert warning.code == "labeler-changed"
    assert f"but {changes} since: every content is judged again" in warning.message


def test_a_lock_of_an_older_release_does_not_say_that_no_label_changes(tmp_path: Path) -> None:
    pinned = parse_policy(POLICY)
    pin = {"policy_hash": pinned.policy_hash, "document_hash": pinned.document_hash}
    (tmp_path / "lock.json").write_text(json.dumps({"lock": 1, "policies": {pinned.ref: pin}}))
    (warning,) = check_file(write_policy(tmp_path, edited(POLICY, ("effort: low", "effort: high"))))
    assert warning.message.endswith("(this changes no label, unless `labeler` is what changed)")
