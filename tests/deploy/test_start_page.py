"""The start page's commands, run by a shell in an empty folder, with an empty HOME and the installed wheel alone."""

import json
import re
import signal
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.environments import environment
from tests.faulty_server import Call, FaultyServer
from tools.rooms import ROOT

pytestmark = pytest.mark.deploy
PAGE = (ROOT / "docs/index.md").read_text(encoding="utf-8")
NOT_RUN = "<!-- not run by a test -->\n"
URL = "http://localhost:8000"  # what the page calls the server
COMMAND = re.compile(r"cat .*?^(?:YAML|CSV)\n|.+?\n", re.MULTILINE | re.DOTALL)
LABELLED = ("followers", "Seguidores")
CATEGORIES = {
    rule["id"]: rule["category"]
    for rule in yaml.safe_load((ROOT / "policies/spam/1.1.0/policy.md").read_text(encoding="utf-8").split("---\n")[1])[
        "rules"
    ]
}


def rules_by_text() -> dict[str, list[str]]:
    """The rules that the cases expect, by the text that is judged."""
    cases: list[dict[str, Any]] = yaml.safe_load((ROOT / "policies/spam/1.1.0/cases.yaml").read_text("utf-8"))["cases"]
    return {case["text"] if "text" in case else case["conversation"][-1]["text"]: case["rules"] for case in cases}


def answer(call: Call) -> str:
    """What a model would say that is always right."""
    cases = rules_by_text()
    rules = next((cases[text] for text in cases if text in call.text), None)
    if rules is None:
        rules = ["SP4"] if any(word in call.text for word in LABELLED) else []
    category = CATEGORIES[rules[0]] if rules else "none"
    verdict = {"violation": int(bool(rules)), "category": category, "rule_ids": rules}
    return json.dumps({**verdict, "confidence": "high", "rationale": "A script said so."})


def commands() -> list[str]:
    """The page's commands in order, but for the blocks that are not run."""
    blocks = re.findall(rf"({NOT_RUN})?```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return [command for mark, text in blocks if not mark for command in COMMAND.findall(text)]


def test_from_an_empty_folder_and_the_wheel_alone(wheel: Path, tmp_path: Path) -> None:
    folder, home = tmp_path / "trust", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    binaries = environment(tmp_path, f"{wheel}[spark,tracking,review]")
    env = {"PATH": f"{binaries}:/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8"}
    printed = dict[str, str]()
    with FaultyServer(text_of=answer) as server:
        for command in commands():
            line = command.strip().replace(URL, server.url)
            if line.startswith("safeguard review serve"):
                looked_at(line.partition(" #")[0], folder, env)
                continue
            done = subprocess.run(["bash", "-c", line], cwd=folder, env=env, capture_output=True, text=True)
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
            printed[line.split()[1]] = done.stdout + done.stderr
    assert "21 of 21 cases as expected" in printed["verify"]
    assert "nothing missing" in printed["doctor"] and "labelled 5" in printed["label"]
    assert "tp 2 fp 0 fn 0 tn 3" in printed["evaluate"]
    assert "sample items" in printed["report"] and (folder / "report.html").is_file()
    assert not (folder / "spark-warehouse").exists()


def looked_at(line: str, folder: Path, env: dict[str, str]) -> None:
    """Start the console on a free port, open its first page, and end it as Ctrl-C does."""
    console = subprocess.Popen(
        ["bash", "-c", f"exec {line.strip()} --port 0"], cwd=folder, env=env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        assert console.stdout is not None
        addresses = (re.search(r"http://127\.0\.0\.1:\d+/\S*", text) for text in console.stdout)
        address = next(found[0] for found in addresses if found)
        with urllib.request.urlopen(address) as page:
            assert page.status == 200 and "offers" in page.read().decode()
    finally:
        console.send_signal(signal.SIGINT)
        console.wait(30)
