"""The lock pins what was published, and is written atomically."""

import json
import subprocess
from pathlib import Path

import pytest

from safeguard_spark.errors import PolicyError
from safeguard_spark.policy.document import Policy, parse_policy
from safeguard_spark.policy.lock import Lock, LockStatus, load_lock, lock_path, save_lock
from tests.unit.samples import POLICY, edited

pytestmark = pytest.mark.unit


def version(number: str) -> Policy:
    return parse_policy(edited(POLICY, ("1.0.0", number)))


def test_a_lock_is_read_as_it_was_written_one_file_for_each_version(tmp_path: Path) -> None:
    path = lock_path(tmp_path)
    lock = Lock({}).with_policies([version("1.10.0"), version("1.2.0")])
    save_lock(lock, path)
    assert load_lock(path) == lock
    assert sorted(p.name for p in path.iterdir()) == ["market@1.10.0.json", "market@1.2.0.json"]
    written = [file.stat().st_mtime_ns for file in sorted(path.iterdir())]
    save_lock(lock.with_policies([version("2.0.0")]), path)
    assert [file.stat().st_mtime_ns for file in sorted(path.iterdir())][:2] == written


def test_without_a_lock_nothing_is_pinned(tmp_path: Path) -> None:
    assert load_lock(lock_path(tmp_path)) == Lock({})


def old_lock(*policies: Policy) -> str:
    """A lock file as older releases wrote it."""
    pins = {p.ref: {"policy_hash": p.policy_hash, "document_hash": p.document_hash} for p in policies}
    return json.dumps({"lock": 1, "policies": pins}, indent=2)


def test_a_lock_of_an_older_release_is_read_and_new_versions_are_added_to_it(tmp_path: Path) -> None:
    first, second = version("1.0.0"), version("1.1.0")
    (tmp_path / "lock.json").write_text(old_lock(first))
    lock = load_lock(lock_path(tmp_path))
    assert lock.status(first) is LockStatus.same
    with pytest.raises(PolicyError, match="bump the version"):
        lock.verify(parse_policy(edited(POLICY, ("are safe.", "are safe!"))))
    save_lock(lock.with_policies([first, second]), lock_path(tmp_path))
    assert (tmp_path / "lock.json").read_text() == old_lock(first)
    assert [file.name for file in lock_path(tmp_path).iterdir()] == ["market@1.1.0.json"]
    assert set(load_lock(lock_path(tmp_path)).pins) == {"market@1.0.0", "market@1.1.0"}


def test_two_branches_that_publish_different_versions_merge_without_a_conflict(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    def publish(number: str) -> None:
        save_lock(load_lock(lock_path(tmp_path)).with_policies([version(number)]), lock_path(tmp_path))
        git("add", "-A")
        git("commit", "-m", number)

    git("init", "-b", "main")
    publish("1.0.0")
    git("checkout", "-b", "other")
    publish("1.2.0")
    git("checkout", "main")
    publish("1.1.0")
    git("merge", "other")
    assert set(load_lock(lock_path(tmp_path)).pins) == {"market@1.0.0", "market@1.1.0", "market@1.2.0"}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"lock": 2, "policies": {}}', '{"lock": 1, "policies": {"a": 1}}'])
def test_a_damaged_lock_is_an_error_and_never_an_empty_lock(tmp_path: Path, text: str) -> None:
    (tmp_path / "lock.json").write_text(text)
    with pytest.raises(PolicyError, match=r"damaged|format"):
        load_lock(lock_path(tmp_path))


PINNED = '"policy_hash": "a", "document_hash": "b"'


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"lock": 2}', f'{{"lock": 3, {PINNED}}}', f'{{"lock": 2, {PINNED}, "labeler": {{"effort": 7}}}}'],
)
def test_a_damaged_entry_is_an_error_that_names_its_file(tmp_path: Path, text: str) -> None:
    lock_path(tmp_path).mkdir()
    (lock_path(tmp_path) / "market@1.0.0.json").write_text(text)
    with pytest.raises(PolicyError, match=r"market@1\.0\.0\.json (is damaged|has format)"):
        load_lock(lock_path(tmp_path))


@pytest.mark.parametrize(
    ("file", "advice"),
    [
        ("lock.json", r"lock\.json has the marks of a merge conflict\. Take either side's file .*`safeguard publish`"),
        ("lock/market@1.0.0.json", r"Two branches published market@1\.0\.0 with different texts\. .* a new version"),
    ],
)
def test_a_merge_conflict_in_a_lock_says_how_to_resolve_it(tmp_path: Path, file: str, advice: str) -> None:
    lock_path(tmp_path).mkdir()
    (tmp_path / file).write_text('{\n<<<<<<< HEAD\n"a": 1\n=======\n"b": 2\n>>>>>>> other branch\n}')
    with pytest.raises(PolicyError, match=advice):
        load_lock(lock_path(tmp_path))


def test_a_lock_that_cannot_be_written_says_why(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="cannot be written: No such file"):
        save_lock(Lock({}).with_policies([version("1.0.0")]), lock_path(tmp_path / "nowhere"))


def test_the_lock_hash_changes_with_every_pin() -> None:
    one = Lock({}).with_policies([version("1.0.0")])
    assert len({Lock({}).lock_hash, one.lock_hash, one.with_policies([version("1.1.0")]).lock_hash}) == 3


def test_two_texts_of_one_version_cannot_both_be_pinned() -> None:
    other = parse_policy(edited(POLICY, ("are safe.", "are safe!")))
    with pytest.raises(PolicyError, match=r"market@1\.0\.0 was published with policy hash"):
        Lock({}).with_policies([version("1.0.0"), other])
