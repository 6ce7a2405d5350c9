"""The package as others install it: built by the standard tool, installed from a registry into a fresh environment."""

import json
import re
from pathlib import Path

import pytest

from safeguard_spark import __version__
from tests.deploy.environments import environment, run
from tests.unit.test_wheel import PROJECT
from tools import rooms

pytestmark = pytest.mark.deploy
SBOM_TOOL = "cyclonedx-bom>=7"
CASES = """\
cases:
  - {id: door, text: We smash your door tonight, violation: true, rules: [TH1]}
  - {id: lock, text: We mend your lock tonight, violation: false}
"""


def test_the_wheel_alone_takes_an_author_from_nothing_to_a_verified_policy(
    wheel: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    binaries = environment(tmp_path_factory.mktemp("fresh"), str(wheel))

    def safeguard(*argv: str) -> str:
        return run(str(binaries / "safeguard"), *argv, folder=tmp_path, env={"PATH": str(binaries)})

    assert safeguard("--version") == f"safeguard {__version__}\n"
    assert "Wrote policies/ours/1.0.0/policy.md" in safeguard("new", "ours", "--from", "threats")
    assert "no problems" in safeguard("check", "ours")
    (tmp_path / "policies/ours/1.0.0/cases.yaml").write_text(CASES, encoding="utf-8")
    engine = ("--set", "engine.kind=scripted", "--set", "engine.args.words={smash: TH1}")
    assert "2 of 2 cases as expected" in safeguard("verify", "ours", *engine)
    (tmp_path / "policy.md").write_text("# Bets\n\nAnswer 1 if the text offers a bet, else 0.\n", encoding="utf-8")
    assert "policies/bets/1.0.0/policy.md" in safeguard("import", "policy.md")


@pytest.mark.parametrize("lock", ["dev", "gpu"])
def test_a_lock_has_a_bill_of_materials_that_lists_each_of_its_packages(cache: Path, tmp_path: Path, lock: str) -> None:
    file = rooms.ROOT / "requirements" / f"{lock}.lock"
    tool = environment(cache, SBOM_TOOL) / "cyclonedx-py"
    run(str(tool), "requirements", str(file), "--validate", "-o", str(tmp_path / "sbom.json"))
    listed = json.loads((tmp_path / "sbom.json").read_text())["components"]
    pins = dict(re.findall(r"^(\S+)==([^\s;]+)", file.read_text(encoding="utf-8"), re.MULTILINE))
    assert {part["name"]: part["version"] for part in listed} == pins
    assert {"pydantic", "typer"} <= pins.keys() and PROJECT["version"] == __version__
