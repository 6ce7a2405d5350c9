"""The lock pins what was published, and is written atomically."""

import json
from pathlib import Path

import pytest

from safeguard_spark.errors import PolicyError
from safeguard_spark.policy.document import Policy, parse_policy
from safeguard_spark.policy.lock import Lock, load_lock, lock_path, save_lock
from tests.unit.samples import POLICY, edited

pytestmark = pytest.mark.unit


def version(number: str) -> Policy:
    return parse_policy(edited(POLICY, ("1.0.0", number)))


def test_a_lock_is_read_as_it_was_written_and_sorted_by_version(tmp_path: Path) -> None:
    path = lock_path(tmp_path)
    lock = Lock({}).with_policies([version("1.10.0"), version("1.2.0")])
    save_lock(lock, path)
    assert load_lock(path) == lock
    assert list(json.loads(path.read_text())["policies"]) == ["market@1.2.0", "market@1.10.0"]
    assert [p.name for p in tmp_path.iterdir()] == ["lock.json"]


def test_without_a_lock_file_nothing_is_pinned(tmp_path: Path) -> None:
    assert load_lock(tmp_path / "lock.json") == Lock({})


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"lock": 2, "policies": {}}', '{"lock": 1, "policies": {"a": 1}}'])
def test_a_damaged_lock_is_an_error_and_never_an_empty_lock(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lock.json"
    path.write_text(text)
    with pytest.raises(PolicyError, match=r"damaged|format"):
        load_lock(path)


def test_a_lock_that_cannot_be_written_says_why(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="cannot be written: No such file"):
        save_lock(Lock({}), tmp_path / "nowhere" / "lock.json")


def test_the_lock_hash_changes_with_every_pin() -> None:
    one = Lock({}).with_policies([version("1.0.0")])
    assert len({Lock({}).lock_hash, one.lock_hash, one.with_policies([version("1.1.0")]).lock_hash}) == 3


def test_two_texts_of_one_version_cannot_both_be_pinned() -> None:
    other = parse_policy(edited(POLICY, ("are safe.", "are safe!")))
    with pytest.raises(PolicyError, match=r"market@1\.0\.0 was published with policy hash"):
        Lock({}).with_policies([version("1.0.0"), other])
