"""A reference gives one policy, as it was published; the error for an unknown one suggests a similar name."""

from pathlib import Path

import pytest

from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import PolicyError
from safeguard_spark.policy.document import parse_policy
from safeguard_spark.policy.lock import Lock, lock_path, save_lock
from safeguard_spark.policy.ref import Ref, all_policy_files, locate_policy, policy_names, read_ref, versions_of
from safeguard_spark.tracking.registry import resolve
from tests.build import run_config
from tests.unit.samples import POLICY, edited, write_policy

pytestmark = pytest.mark.unit
HASH = parse_policy(POLICY).policy_hash


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    """market@1.0.0, 1.9.0 and 1.10.0 as files, no registry."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    for version in ("1.0.0", "1.9.0", "1.10.0"):
        write_policy(Path("policies"), edited(POLICY, ("1.0.0", version)), version=version)
    return run_config()


def test_files_folders_and_names_are_distinguished(run: RunConfig) -> None:
    assert read_ref("market@1.0.0") == Ref("market", "1.0.0")
    assert read_ref("market@active") == Ref("market", "active")
    assert read_ref("policies/market/1.0.0") == Path("policies/market/1.0.0/policy.md")
    for text, why in (("policies/market", "holds no policy.md"), ("draft.md", "does not exist"), ("a/b", "not exist")):
        with pytest.raises(PolicyError, match=why):
            read_ref(text)


def test_a_name_alone_is_the_newest_version_for_an_author_and_an_error_for_a_job(run: RunConfig) -> None:
    assert locate_policy("market", run.policies) == Path("policies/market/1.10.0/policy.md")
    with pytest.raises(PolicyError, match=r"needs a version: market@1\.10\.0 \(the newest\), market@1\.9\.0, market@1"):
        resolve("market", run)
    with pytest.raises(PolicyError, match=r"There is no policy markets in policies\. Did you mean market"):
        resolve("markets", run)


def test_a_version_and_a_file_resolve_without_a_registry(run: RunConfig) -> None:
    assert resolve("market@1.0.0", run).policy_hash == HASH
    assert resolve("policies/market/1.0.0/policy.md", run).policy_hash == HASH
    assert not Path("mlflow.db").exists()


def test_a_copy_of_a_published_version_must_be_identical_wherever_it_is(run: RunConfig, tmp_path: Path) -> None:
    save_lock(Lock({}).with_policies([parse_policy(POLICY)]), lock_path(run.policies))
    copy = tmp_path / "copy.md"
    copy.write_text(POLICY)
    assert resolve(str(copy), run).policy_hash == HASH
    copy.write_text(edited(POLICY, ("are safe.", "are safe!")))
    with pytest.raises(PolicyError, match="bump the version"):
        resolve(str(copy), run)


def test_a_file_in_another_policies_folder_is_checked_against_the_lock_there(run: RunConfig, tmp_path: Path) -> None:
    other = tmp_path / "other"
    file = write_policy(other, edited(POLICY, ("are safe.", "are safe!")))
    assert resolve(str(file), run).policy_hash != HASH
    save_lock(Lock({}).with_policies([parse_policy(POLICY)]), lock_path(other))
    with pytest.raises(PolicyError, match="bump the version"):
        resolve(str(file), run)


def test_a_file_whose_name_or_version_differs_from_its_folders_is_refused(run: RunConfig) -> None:
    write_policy(run.policies, POLICY, version="2.0.0")
    with pytest.raises(PolicyError, match=r"calls itself market@1\.0\.0; its folders say market@2\.0\.0"):
        resolve("market@2.0.0", run)


def test_an_alias_without_a_registry_says_how_to_set_one(run: RunConfig) -> None:
    with pytest.raises(
        PolicyError, match=r"version: 1\.0\.0, 1\.9\.0, 1\.10\.0; or set .*publish market@1\.10\.0 --alias shadow`"
    ):
        resolve("market@shadow", run)
    with pytest.raises(PolicyError, match=r"no version 3\.0\.0 in policies\. Versions: 1\.0\.0, 1\.9\.0, 1\.10\.0\."):
        resolve("market@3.0.0", run)


def test_names_and_versions_are_listed_in_order(run: RunConfig) -> None:
    write_policy(run.policies, name="gifts")
    assert policy_names(run.policies) == ["gifts", "market"]
    assert versions_of(run.policies, "market") == ["1.0.0", "1.9.0", "1.10.0"]
    assert len(all_policy_files(run.policies)) == 4
    with pytest.raises(PolicyError, match="The policies folder nowhere does not exist"):
        all_policy_files(Path("nowhere"))
