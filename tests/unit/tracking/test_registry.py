"""MLflow's Prompt Registry on sqlite: every version is published once, and its text always equals the file."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from safeguard_spark.authoring.cases import cases_path
from safeguard_spark.authoring.publish import (
    Publication,
    publication_json,
    publication_text,
    publish_all,
    publish_candidates,
)
from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import ConfigError, PolicyError
from safeguard_spark.policy.document import parse_policy
from safeguard_spark.policy.lock import Lock, load_lock, lock_path, save_lock
from safeguard_spark.policy.ref import Ref, all_policy_files
from safeguard_spark.tracking.registry import Registry, published_entry, resolve, user_name
from tests.build import run_config
from tests.unit.samples import CASES, POLICY, edited, write_policy

pytestmark = pytest.mark.unit
NEXT = edited(POLICY, ("version: 1.0.0", "version: 1.1.0"), ("are safe.", "are safe; so are gifts."))
HASH = parse_policy(POLICY).policy_hash


@pytest.fixture
def run(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    """A configuration whose policies folder has market@1.0.0 and 1.1.0, next to an empty registry."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "mlflow.db").write_bytes(empty_store.read_bytes())
    write_policy(tmp_path / "policies")
    write_policy(tmp_path / "policies", NEXT, version="1.1.0")
    return run_config(policies=tmp_path / "policies")


def pinned_files(done: Publication) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in done.lock.iterdir()}


def published(run: RunConfig, *versions: str, alias: str | None = None) -> Publication:
    files = [f for f in all_policy_files(run.policies) if not versions or f.parent.name in versions]
    return publish_all(publish_candidates(files, run.policies)[0], run, alias=alias)


def write_version(run: RunConfig, text: str, version: str = "1.0.0") -> None:
    write_policy(run.policies, text, version=version)


def test_publishing_twice_gives_one_version_and_changes_nothing(run: RunConfig) -> None:
    first = published(run)
    assert [(p.ref, p.number, p.is_new) for p in first.published] == [
        ("market@1.0.0", 1, True),
        ("market@1.1.0", 2, True),
    ]
    lock = pinned_files(first)
    again = published(run)
    assert [(p.number, p.is_new) for p in again.published] == [(1, False), (2, False)]
    assert (again.pinned, again.aliases, pinned_files(first)) == ((), (), lock)
    assert [entry.version for entry in Registry.of(run).entries("market")] == ["1.1.0", "1.0.0"]
    assert publication_text(again).endswith("0 published, 2 already there.\n")


def test_a_published_version_has_the_whole_document_and_its_tags(run: RunConfig) -> None:
    published(run, "1.0.0")
    (entry,) = Registry.of(run).entries("market")
    assert entry.document == POLICY
    assert entry.tags == {
        "version": "1.0.0",
        "policy_hash": HASH,
        "document_hash": parse_policy(POLICY).document_hash,
        "owner": "trust@example.org",
        "published_by": user_name(),
        "check": "no problems",
        "lock_hash": load_lock(lock_path(run.policies)).lock_hash,
    }
    assert entry.published_at and abs(datetime.now(UTC) - entry.published_at) < timedelta(minutes=5)


def test_the_entry_of_a_document_is_that_of_exactly_this_text_owner_and_titles(run: RunConfig) -> None:
    policy = parse_policy(POLICY)
    assert published_entry(policy, run) is None
    published(run, "1.0.0")
    entry = published_entry(policy, run)
    assert entry is not None and entry.number == 1
    assert published_entry(policy.model_copy(update={"owner": "others@example.org"}), run) is None


def test_the_check_tag_is_updated_to_the_current_result(run: RunConfig) -> None:
    published(run, "1.0.0")
    cases_path(run.policies / "market" / "1.0.0" / "policy.md").unlink()
    assert not published(run, "1.0.0").published[0].is_new
    assert Registry.of(run).entries("market")[0].tags["check"] == "1 warning"


def test_an_alias_resolves_to_its_version_and_moves(run: RunConfig) -> None:
    assert published(run, "1.0.0", alias="active").aliases == (("active", "market@1.0.0"),)
    assert resolve("market@active", run).policy_hash == HASH
    assert published(run, alias="active").aliases == (("active", "market@1.1.0"),)
    assert resolve("market@active", run).version == "1.1.0"
    assert published(run, alias="active").aliases == ()
    published(run, "1.0.0", alias="shadow")
    assert Registry.of(run).aliases("market") == {"shadow": "1.0.0", "active": "1.1.0"}


def test_a_new_owner_is_published_again_and_aliases_of_the_version_follow(run: RunConfig) -> None:
    published(run, "1.0.0", alias="active")
    write_version(run, edited(POLICY, ("trust@", "safety@")))
    (again,) = published(run, "1.0.0").published
    assert (again.number, again.is_new) == (2, True)
    assert resolve("market@active", run).owner == "safety@example.org"
    assert resolve("market@active", run).policy_hash == HASH


def test_a_changed_text_of_a_published_version_is_refused_with_and_without_the_lock(run: RunConfig) -> None:
    published(run, "1.0.0")
    write_version(run, edited(POLICY, ("are safe.", "are safe!")))
    _, problems = publish_candidates(all_policy_files(run.policies), run.policies)
    assert [d.code for d in problems.diagnostics] == ["published-changed"]
    shutil.rmtree(lock_path(run.policies))
    with pytest.raises(PolicyError, match=rf"market@1\.0\.0 is in MLflow .* with policy hash {HASH[:12]}"):
        published(run, "1.0.0")


def test_a_version_without_a_file_is_resolved_from_the_registry(run: RunConfig) -> None:
    published(run)
    (run.policies / "market" / "1.0.0" / "policy.md").unlink()
    assert resolve("market@1.0.0", run).policy_hash == HASH


@pytest.mark.parametrize("ref", ["market@active", "market@1.0.0"])
def test_an_error_names_the_hash_in_the_registry_and_in_the_file_if_they_differ(run: RunConfig, ref: str) -> None:
    published(run, "1.0.0", alias="active")
    shutil.rmtree(lock_path(run.policies))
    changed = edited(POLICY, ("are safe.", "are safe!"))
    write_version(run, changed)
    with pytest.raises(PolicyError) as raised:
        resolve(ref, run)
    file_hash = parse_policy(changed).policy_hash[:12]
    assert f"(prompt version 1) has policy hash {HASH[:12]}" in str(raised.value)
    assert f"market/1.0.0/policy.md has {file_hash}" in str(raised.value)


def test_an_error_names_the_hash_in_the_lock_if_it_differs_from_the_registry(run: RunConfig) -> None:
    published(run, "1.0.0", alias="active")
    other = parse_policy(edited(POLICY, ("are safe.", "are safe!")))
    save_lock(Lock({}).with_policies([other]), lock_path(run.policies))
    with pytest.raises(PolicyError, match=rf"policies/lock pins {other.policy_hash[:12]}"):
        resolve("market@active", run)


def test_a_prompt_whose_text_is_not_what_its_tags_say_is_not_used(run: RunConfig) -> None:
    registry = Registry.of(run)
    tags = {"version": "1.0.0", "policy_hash": HASH}
    registry._client.register_prompt("market", edited(POLICY, ("are safe.", "are safe!")), tags=tags)
    with pytest.raises(PolicyError, match="with another hash"):
        registry.policy("market", registry.entries("market")[0])
    registry._client.register_prompt("essay", "no policy", tags=tags)
    with pytest.raises(PolicyError, match="is not a policy"):
        registry.policy("essay", registry.entries("essay")[0])


def test_prompts_that_are_not_policies_are_ignored(run: RunConfig) -> None:
    registry = Registry.of(run)
    registry._client.register_prompt("greeting", "Hello {{name}}")
    published(run, "1.0.0")
    assert registry.names() == ["market"]
    assert registry.entries("greeting") == []
    assert registry.entries("unknown") == []
    assert registry.entry(Ref("market", "active")) is None


def test_an_alias_that_is_not_set_names_those_that_are_and_how_to_set_one(run: RunConfig) -> None:
    published(run, "1.0.0", alias="shadow")
    with pytest.raises(PolicyError, match=r"\(aliases: shadow is 1\.0\.0\).*relabel promote market@1\.1\.0`"):
        resolve("market@active", run)
    with pytest.raises(PolicyError, match=r"publish market@1\.1\.0 --alias draft`"):
        resolve("market@draft", run)
    for unknown in ("newest", "Active", "latest"):
        with pytest.raises(PolicyError, match=rf"no alias {unknown} .*; or an alias: ") as refused:
            resolve(f"market@{unknown}", run)
        assert "safeguard" not in str(refused.value)
    with pytest.raises(PolicyError, match=r"no version 2\.0\.0 in .* Versions: 1\.0\.0, 1\.1\.0\."):
        resolve("market@2.0.0", run)
    with pytest.raises(PolicyError, match=r"There is no policy markt in .* Did you mean market"):
        resolve("markt@active", run)


def test_latest_is_not_an_alias_because_the_last_registered_version_may_be_an_old_one(run: RunConfig) -> None:
    published(run)
    with pytest.raises(PolicyError, match="no alias latest"):
        resolve("market@latest", run)


def test_an_alias_for_an_unpublished_version_is_refused(run: RunConfig) -> None:
    with pytest.raises(PolicyError, match="Publish it first"):
        Registry.of(run).set_alias("market", "active", "1.0.0")


def test_a_document_with_template_syntax_is_read_back_unchanged(run: RunConfig) -> None:
    text = edited(POLICY, ("are safe.", "are safe: {{ no }} {% raw %}, “ß” and 🙂."))
    Registry.of(run).publish(text, "unchecked", "")
    assert Registry.of(run).entries("market")[0].document == text


def test_an_unusable_registry_is_an_error_of_one_sentence(run: RunConfig, tmp_path: Path) -> None:
    broken = run.model_copy(update={"tracking": run.tracking.model_copy(update={"uri": f"sqlite:///{tmp_path}"})})
    with pytest.raises(ConfigError, match="cannot be used"):
        publish_all(publish_candidates(all_policy_files(run.policies), run.policies)[0], broken)
    assert not lock_path(run.policies).exists()


def test_the_json_output_of_publishing_is_one_object(run: RunConfig) -> None:
    assert publication_json(published(run, "1.0.0", alias="draft")) == {
        "registry": f"MLflow at sqlite:///{run.policies.parent}/mlflow.db",
        "lock": str(run.policies / "lock"),
        "policies": [{"ref": "market@1.0.0", "number": 1, "is_new": True}],
        "pinned": ["market@1.0.0"],
        "aliases": [{"alias": "draft", "ref": "market@1.0.0"}],
        "relabelled": [],
    }


def test_publishing_another_labeler_says_that_labels_are_made_again(run: RunConfig) -> None:
    published(run, "1.0.0")
    write_version(run, edited(POLICY, ("effort: low", "effort: high"), ("trust@", "safety@")))
    done = published(run, "1.0.0")
    assert "market@1.0.0: labeler.effort low -> high: every content is judged again, unless" in publication_text(done)
    assert publication_json(done)["relabelled"] == [{"ref": "market@1.0.0", "changes": "labeler.effort low -> high"}]
    assert published(run, "1.0.0").relabelled == ()


def test_edited_cases_do_not_publish_a_version_again(run: RunConfig) -> None:
    published(run, "1.0.0")
    write_policy(run.policies, POLICY, edited(CASES, ("old-watch", "grandmothers-watch")))
    assert not published(run, "1.0.0").published[0].is_new
