"""Which files of a policies folder are policies is one rule, and every command says why another file is none."""

from pathlib import Path

import pytest

from safeguard_spark.policy.layout import policy_refs, stray_files
from tests.unit.commands import Safeguard
from tests.unit.samples import CASES, POLICY, edited, write_policy

pytestmark = pytest.mark.unit


def test_versions_are_sorted_by_number_not_as_text(tmp_path: Path) -> None:
    for version in ("1.10.0", "1.9.0", "draft", "2.0.0"):
        (tmp_path / "a" / version).mkdir(parents=True)
        (tmp_path / "a" / version / "policy.md").touch()
    assert policy_refs(tmp_path) == ["a@1.9.0", "a@1.10.0", "a@2.0.0"]


STRAYS = [
    ("gifts/v2.1.0/policy.md", "rename the folder, for example 2.1.0"),
    ("gifts/3.4/policy.md", "rename the folder, for example 3.4.0"),
    ("gifts/final/policy.md", "rename the folder, for example 1.0.0"),
    ("gifts/policy.md", "move it to policies/gifts/1.0.0/policy.md"),
    ("emea/shop/gifts/1.0.0/policy.md", "--policies policies/emea/shop"),
    ("gifts/1.0.0/policy.txt", "rename it policy.md"),
    ("gifts/1.0.0/Policy.MD", "rename it policy.md"),
    ("gifts/1.0.0/policy", "rename it policy.md"),
]


@pytest.mark.parametrize(("place", "hint"), STRAYS)
def test_check_list_publish_and_label_agree_that_a_file_is_in_no_versions_place(
    safeguard: Safeguard, place: str, hint: str
) -> None:
    write_policy(Path("policies"))
    stray = Path("policies", place)
    stray.parent.mkdir(parents=True)
    stray.write_text(edited(POLICY, ("name: market", "name: gifts")))
    checked = safeguard("check")
    assert checked.code == 3 and f"policies/{place}:1:1: error[wrong-folder]: this file is not read" in checked.out
    assert hint in checked.out
    listed = safeguard("list")
    assert listed.code == 0 and "gifts@" not in listed.out
    assert f"policies/{place} is not read: " in listed.err and hint in listed.err
    published = safeguard("publish", "--lock-only")
    assert published.code == 3 and hint in published.err and not Path("policies/lock").exists()
    Path("conf.yaml").write_text("source: {location: x, text_column: t}\noutput: ./t\nengine: {kind: scripted}\n")
    for ran in (
        safeguard("label", "--config", "conf.yaml", "--policy", "gifts@1.0.0"),
        safeguard("show-prompt", "gifts", "hi"),
        safeguard("check", "gifts"),
    ):
        assert ran.code == 3 and hint in ran.err + ran.out


@pytest.mark.parametrize("name", ["cases.yml", "Cases.yaml", "case.yaml", "cases.json"])
def test_cases_under_another_name_are_said_not_to_be_read(safeguard: Safeguard, name: str) -> None:
    write_policy(Path("policies"), cases=None)
    Path("policies/market/1.0.0", name).write_text(CASES)
    assert [stray.path.name for stray in stray_files(Path("policies"))] == [name]
    assert "rename it cases.yaml" in safeguard("check").out
    Path("policies/market/1.0.0/cases.yaml").write_text(CASES)
    assert safeguard("check").out == "1 policy checked: no problems.\n"


def test_a_policy_outside_the_policies_folder_may_be_anywhere(safeguard: Safeguard) -> None:
    for place in ("elsewhere/policy.md", "elsewhere/v3/a/b/c/policy.md"):
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        Path(place).write_text(POLICY)
        Path(place).with_name("cases.yaml").write_text(CASES)
        assert safeguard("check", place).code == 0
    assert safeguard("check", "elsewhere").out == "2 policies checked: no problems.\n"
