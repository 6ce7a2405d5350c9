"""Every policy command reports mistakes in one message, and its exit code says who must act."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from safeguard_spark.policy.lock import lock_path
from tests.unit.commands import Safeguard
from tests.unit.samples import CASES, POLICY, edited, write_policy

pytestmark = pytest.mark.unit
NEXT = edited(POLICY, ("version: 1.0.0", "version: 1.1.0"), ("are safe.", "are safe; so are gifts."))

COMMANDS = ["check", "verify", "show-prompt", "diff", "new", "import", "list", "publish"]
USAGE, POLICY_AUTHOR, UNREACHABLE = 2, 3, 5
SLOW = {"mlflow", "pyspark", "pandas", "vllm", "torch"}  # packages that take seconds to import


def command_line(value: object) -> str:
    """A test's name from a command line."""
    return " ".join(value) if isinstance(value, list) else str(value)[:20]


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["chek"], USAGE, "Did you mean 'check'?"),
        (["check", "--format", "yaml"], USAGE, "--format': 'yaml' is not one of 'text', 'json', 'github'"),
        (["verify"], USAGE, "Missing argument"),
        (["diff", "market", "1.0.0"], USAGE, "diff compares two versions: safeguard diff NAME@OLD NAME@NEW"),
        (["publish", "--alias", "live"], USAGE, "'live' is not one of 'draft', 'shadow', 'active'"),
        (["publish", "--alias", "active"], USAGE, "`safeguard relabel promote NAME@VERSION` makes a version active"),
        (["publish", "--alias", "shadow", "--lock-only"], USAGE, "An alias lives in MLflow"),
        (["list", "--jsn"], USAGE, "No such option: --jsn"),
        (["check", "markt"], POLICY_AUTHOR, "There is no policy markt in policies. Did you mean market (1.0.0)?"),
        (["check", "spam"], POLICY_AUTHOR, "There is no policy spam in policies. Policies: market."),
        (["check", "market@9.0.0"], POLICY_AUTHOR, "has no version 9.0.0 in policies. Versions: 1.0.0."),
        (["check", "nowhere/policy.md"], POLICY_AUTHOR, "nowhere/policy.md does not exist. Name a policy file"),
        (
            ["show-prompt", "market@active", "hi"],
            POLICY_AUTHOR,
            "no alias active (aliases: none is set).",
        ),
        (["show-prompt", "market", "--case", "old-wach"], POLICY_AUTHOR, "no case old-wach; did you mean old-watch?"),
        (["diff", "market", "1.0.0", "2.0.0"], POLICY_AUTHOR, "has no version 2.0.0"),
        (["list", "spam"], POLICY_AUTHOR, "There is no policy spam"),
        (["list", "--policies", "nowhere"], POLICY_AUTHOR, "The policies folder nowhere does not exist in "),
        (["check", "--policies", "nowhere"], POLICY_AUTHOR, "The policies folder nowhere does not exist in "),
        (["publish", "--policies", "nowhere"], POLICY_AUTHOR, "The policies folder nowhere does not exist in "),
        (["verify", "market", "--policies", "nowhere"], USAGE, "No engine is configured."),
        (["show-prompt", "market", "hi", "--policies", "nowhere"], POLICY_AUTHOR, "folder nowhere does not exist"),
        (["new", "market"], POLICY_AUTHOR, "Policy market exists: 1.0.0. Next version: safeguard new market@"),
        (["import", "nowhere"], POLICY_AUTHOR, "nowhere does not exist. Give the folder of a pack"),
        (["show-prompt", "market", "hi", "--set", "engine.kynd=vllm"], USAGE, "did you mean engine.kind?"),
    ],
    ids=command_line,
)
def test_a_mistake_is_one_message_and_the_exit_code_of_the_person_who_must_act(
    safeguard: Safeguard, argv: list[str], code: int, message: str
) -> None:
    write_policy(Path("policies"))
    ran = safeguard(*argv)
    assert (ran.code, ran.out) == (code, "")
    assert message in ran.err
    assert ran.err.splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in ran.err


def test_without_a_command_the_commands_are_listed(safeguard: Safeguard) -> None:
    ran = safeguard()
    assert ran.code == USAGE
    assert all(command in ran.err for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_page(safeguard: Safeguard, command: str) -> None:
    ran = safeguard(command, "--help")
    assert ran.code == 0
    assert f"Usage: safeguard {command}" in ran.out


def test_debug_anywhere_on_the_line_shows_the_traceback(safeguard: Safeguard) -> None:
    for argv in (["--debug", "check", "nowhere"], ["check", "--debug", "nowhere"], ["check", "nowhere", "--debug"]):
        ran = safeguard(*argv)
        assert ran.code == POLICY_AUTHOR
        assert "Traceback" in ran.err


@pytest.mark.parametrize("argv", [[], ["relabel"], ["maintain"]], ids=command_line)
def test_the_help_of_the_program_and_of_each_group_names_debug(safeguard: Safeguard, argv: list[str]) -> None:
    assert "--debug" in safeguard(*argv, "--help").out


def test_check_reads_every_policy_in_the_folder_and_fails_on_errors(safeguard: Safeguard) -> None:
    write_policy(Path("policies"))
    assert safeguard("check") == (0, "1 policy checked: no problems.\n", "")
    write_policy(Path("policies"), edited(NEXT, ("are safe;", "are usually safe;")), version="1.1.0")
    assert safeguard("check").code == 0
    assert safeguard("check", "--strict").code == POLICY_AUTHOR
    assert safeguard("check", "market@1.0.0", "--strict").code == 0
    write_policy(Path("policies"), edited(NEXT, ("owner:", "ownr:")), version="1.1.0")
    ran = safeguard("check", "market")
    assert ran.code == POLICY_AUTHOR
    assert ran.out.startswith("policies/market/1.1.0/policy.md:4:1: error[unknown-key]: there is no key `ownr` here\n")


def test_check_prints_json_and_github_annotations(safeguard: Safeguard) -> None:
    write_policy(Path("policies"), edited(POLICY, ("owner:", "ownr:")))
    report = json.loads(safeguard("check", "--format", "json").out)
    assert (report["errors"], report["diagnostics"][0]["line"]) == (1, 4)
    annotations = safeguard("check", "--format", "github").out
    assert annotations.startswith(
        "::error file=policies/market/1.0.0/policy.md,line=4,col=1,endColumn=5,title=unknown-key::"
    )


@pytest.mark.parametrize("command", ["check", "show-prompt", "diff", "publish", "verify"])
@pytest.mark.parametrize(
    "damaged",
    [b"", b"---\nname: [a\n---\nx", b"---\nname: a\n", b"no front matter", b"\xff\xfe-\x00", POLICY.encode() + b"\xe9"],
    ids=["empty", "yaml", "unfinished", "bare", "utf-16", "latin-1"],
)
def test_a_damaged_file_is_named_by_every_command_that_reads_it(
    safeguard: Safeguard, command: str, damaged: bytes
) -> None:
    Path("draft.md").write_bytes(damaged)
    write_policy(Path("policies"))
    argv = {
        "diff": ["market", "draft.md", "1.0.0"],
        "show-prompt": ["draft.md", "hi"],
        "publish": ["draft.md", "--lock-only"],
        "verify": ["draft.md", "--set", "engine.kind=scripted"],
    }
    ran = safeguard(command, *argv.get(command, ["draft.md"]))
    assert ran.code == POLICY_AUTHOR
    assert "draft.md" in ran.out + ran.err
    assert "Unexpected" not in ran.err


def test_a_file_from_windows_is_the_same_policy(safeguard: Safeguard) -> None:
    write_policy(Path("policies"))
    assert safeguard("publish", "--lock-only").code == 0
    for part in Path("policies/market/1.0.0").iterdir():
        part.write_bytes(b"\xef\xbb\xbf" + part.read_bytes().replace(b"\n", b"\r\n"))
    assert safeguard("check") == (0, "1 policy checked: no problems.\n", "")
    assert "market@1.0.0  published" in safeguard("list").out
    assert safeguard("verify", "market", "--set", "engine.kind=scripted").code == 7
    assert safeguard("new", "market@1.1.0").code == 0
    assert "same policy hash" in safeguard("diff", "market", "1.0.0", "1.1.0").out


def test_check_shows_at_most_so_many_problems_and_says_how_many_more_there_are(safeguard: Safeguard) -> None:
    vague = edited(POLICY, ("are safe.", "are safe.\n" + "This is usually so.\n" * 30))
    write_policy(Path("policies"), vague)
    text = safeguard("check").out
    assert text.count("warning[vague-word]") == 20
    assert "\n10 more problems are not shown; --max-errors 0 shows all.\n" in text
    assert safeguard("check", "--max-errors", "3").out.count("warning[vague-word]") == 3
    assert safeguard("check", "--max-errors", "0").out.count("warning[vague-word]") == 30
    assert safeguard("check", "--max-errors", "1", "--format", "json").out.count("vague-word") == 30


def test_no_error_is_hidden_behind_warnings(safeguard: Safeguard) -> None:
    vague = edited(POLICY, ("are safe.", "are safe.\n" + "This is mostly so.\n" * 25 + "See M9 and M8.\n"))
    write_policy(Path("policies"), vague)
    shown = safeguard("check").out
    assert shown.count("error[undefined-rule]") == 2 and shown.rindex("error[") < shown.index("warning[")
    for number in ("1", "2", "7"):
        text = safeguard("check", "--max-errors", number).out
        assert text.count("error[") == min(int(number), 2) and text.count("warning[") == max(int(number) - 2, 0)
    in_order = safeguard("check", "--max-errors", "0").out  # all of them: in the order of the file
    assert in_order.index("warning[vague-word]") < in_order.index("error[undefined-rule]")


def test_publishing_with_lock_only_needs_no_registry_and_is_idempotent(
    safeguard: Safeguard,
) -> None:
    write_policy(Path("policies"))
    ran = safeguard("publish", "--lock-only")
    assert (ran.code, ran.out) == (0, "market@1.0.0: pinned in policies/lock\n")
    assert safeguard("publish", "--lock-only").out == "Everything is already pinned in policies/lock.\n"
    assert not Path("mlflow.db").exists()


def test_the_policies_folder_may_come_from_a_configuration_or_the_environment(
    safeguard: Safeguard, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_policy(Path("rules"))
    Path("conf.yaml").write_text("policies: rules\nengine: {kind: scripted}\n")
    for argv in (["check"], ["list"], ["show-prompt", "market", "hi"], ["new", "gifts"], ["publish", "--lock-only"]):
        assert safeguard(*argv, "--config", "conf.yaml").code == (3 if argv[0] == "publish" else 0)
    assert safeguard("check", "--config", "nowhere.yaml").code == USAGE
    monkeypatch.setenv("SAFEGUARD_POLICIES", "rules")
    assert safeguard("list").out.count("\n") == 3
    assert safeguard("list", "--policies", "nowhere").code == POLICY_AUTHOR


def test_nothing_is_published_while_any_policy_has_an_error_or_a_todo(safeguard: Safeguard) -> None:
    write_policy(Path("policies"))
    safeguard("new", "gifts")
    ran = safeguard("publish", "--lock-only")
    assert ran.code == POLICY_AUTHOR
    assert "warning[todo]" in ran.err
    assert ran.err.endswith("Error: Nothing was published. Correct the problems above, then publish again.\n")
    assert not Path("policies/lock").exists()


def test_two_files_of_one_version_cannot_both_be_published(safeguard: Safeguard) -> None:
    write_policy(Path("policies"))
    Path("other.md").write_text(edited(POLICY, ("are safe.", "are safe!")))
    for refs in (["market", "other.md"], ["other.md"]):
        ran = safeguard("publish", *refs, "--lock-only")
        assert (ran.code, Path("policies/lock").exists()) == (POLICY_AUTHOR, False)
        assert "other.md is market@1.0.0, which belongs into policies/market/1.0.0/policy.md" in ran.err


def test_a_file_outside_the_folder_is_not_published_and_a_path_into_it_is(safeguard: Safeguard) -> None:
    Path("drafts").mkdir()
    Path("drafts/new.md").write_text(edited(POLICY, ("1.0.0", "3.0.0")))
    write_policy(Path("policies"))
    ran = safeguard("publish", "drafts/new.md", "--lock-only")
    assert (ran.code, ran.out, Path("policies/lock").exists()) == (POLICY_AUTHOR, "", False)
    assert "belongs into policies/market/3.0.0/policy.md" in ran.err
    Path("link").symlink_to("policies")
    assert safeguard("publish", "./link/market/1.0.0/policy.md", "--lock-only").code == 0
    assert "missing" not in safeguard("list").out


def test_two_policies_never_differ_in_upper_and_lower_case_only(safeguard: Safeguard) -> None:
    write_policy(Path("policies"))
    Path("text.txt").write_text("No shouting.")
    for argv in (["new", "MARKET"], ["new", "mArket@2.0.0"], ["import", "text.txt", "--name", "Market"]):
        ran = safeguard(*argv)
        assert (ran.code, "There is a policy market, and" in ran.err) == (POLICY_AUTHOR, True)
    upper = edited(POLICY, ("name: market", "name: Market"))
    write_policy(Path("policies"), upper, name="Market")
    assert safeguard("publish", "--lock-only").code == POLICY_AUTHOR
    assert safeguard("publish", "Market", "--lock-only").code == 0  # alone it is one
    ran = safeguard("publish", "market", "--lock-only")
    assert (ran.code, "There is a policy Market, and market differs" in ran.err) == (POLICY_AUTHOR, True)


@pytest.mark.parametrize("name", ["a" * 71, "x" * 300, "-".join("abcdefghijklmnopqrst" * 2)])
def test_a_name_that_is_too_long_for_the_template_is_refused_with_the_limit(safeguard: Safeguard, name: str) -> None:
    ran = safeguard("new", name)
    assert (ran.code, "at most 70 characters" in ran.err, Path("policies").exists()) == (POLICY_AUTHOR, True, False)
    for longest in (name[:70], "-".join("abcdefghijklmnopqrstuvwxyzabcdefghi")):
        assert safeguard("new", longest).code == 0
        assert "error[" not in safeguard("check", longest).out


@pytest.mark.parametrize("nested", ["[" * 4000 + "]" * 4000, "{a: " * 500 + "1" + "}" * 500, "\n  " + "- " * 150 + "x"])
@pytest.mark.parametrize("number", [1, 60])
def test_values_that_are_nested_too_deeply_are_one_problem(safeguard: Safeguard, nested: str, number: int) -> None:
    nested = nested if number == 1 else nested.replace("[", "[" * number).replace("]", "]" * number)
    write_policy(Path("policies"), edited(POLICY, ("owner: trust@example.org", f"owner: {nested}")))
    for argv in (["check", "market"], ["diff", "market", "1.0.0", "1.0.0"], ["show-prompt", "market@1.0.0", "hi"]):
        ran = safeguard(*argv)
        assert ran.code == POLICY_AUTHOR
        assert "more than 100 lists and mappings are inside each other" in ran.out + ran.err
    write_policy(Path("policies"), cases=f"cases: {nested}")
    assert "more than 100 lists and mappings" in safeguard("check", "market").out
    Path("conf.yaml").write_text(f"engine: {nested}")
    assert safeguard("list", "--config", "conf.yaml").code == USAGE


def test_every_command_that_would_use_a_changed_published_version_refuses_it(safeguard: Safeguard) -> None:
    file = write_policy(Path("policies"))
    safeguard("publish", "--lock-only")
    file.write_text(edited(POLICY, ("are safe.", "are safe!")))
    for argv in (
        ["check"],
        ["publish", "--lock-only"],
        ["show-prompt", "market", "hi"],
        ["verify", "market", "--set", "engine.kind=scripted"],
    ):
        ran = safeguard(*argv)
        assert ran.code == POLICY_AUTHOR
        assert "bump the version" in ran.out + ran.err
    assert "CHANGED SINCE PUBLISHED" in safeguard("list").out


def test_the_list_distinguishes_published_changed_unreadable_and_missing_versions(safeguard: Safeguard) -> None:
    assert safeguard("list").code == POLICY_AUTHOR
    Path("policies").mkdir()
    assert safeguard("list").out == "No policies yet. Create one: safeguard new NAME\n"
    for version in ("1.0.0", "1.1.0", "1.2.0", "1.10.0"):
        write_policy(Path("policies"), edited(POLICY, ("1.0.0", version)), version=version)
    safeguard("publish", "--lock-only")
    write_policy(Path("policies"), edited(POLICY, ("trust@", "safety@")))
    changed = edited(POLICY, ("1.0.0", "1.1.0"), ("are safe.", "are safe!"))
    write_policy(Path("policies"), changed, "cases: [", version="1.1.0")
    Path("policies/market/1.2.0/policy.md").unlink()
    Path("policies/market/1.10.0/policy.md").write_text("---")
    write_policy(Path("policies"), edited(POLICY, ("1.0.0", "2.0.0")), None, version="2.0.0")
    listed = json.loads(safeguard("list", "market", "--json").out)
    assert [(item["ref"], item["standing"], item["cases"]) for item in listed] == [
        ("market@1.0.0", "document_changed", 3),
        ("market@1.1.0", "changed", None),
        ("market@1.2.0", "missing", None),
        ("market@1.10.0", "unreadable", None),
        ("market@2.0.0", "unpublished", None),
    ]
    text = safeguard("list").out.splitlines()
    assert len(text) == 6
    assert text[3].startswith("market@1.2.0   missing")


def test_an_alias_is_set_listed_and_used_instead_of_a_version(safeguard: Safeguard, empty_store: Path) -> None:
    Path("mlflow.db").write_bytes(empty_store.read_bytes())
    write_policy(Path("policies"))
    write_policy(Path("policies"), NEXT, version="1.1.0")
    ran = safeguard("publish", "--alias", "shadow", "--json")
    done = json.loads(ran.out)
    assert (ran.code, done["aliases"]) == (0, [{"alias": "shadow", "ref": "market@1.1.0"}])
    assert [item["aliases"] for item in json.loads(safeguard("list", "--json").out)] == [[], ["shadow"]]
    assert "so are gifts" in safeguard("show-prompt", "market@shadow", "hi").out
    assert "so are gifts" in safeguard("diff", "market", "1.0.0", "shadow").out
    assert safeguard("publish", "market@1.0.0", "--alias", "active").code == USAGE
    assert safeguard("show-prompt", "market@active", "hi").code == POLICY_AUTHOR  # nothing has moved
    write_policy(Path("policies"), CASES, version="1.1.0")
    assert safeguard("show-prompt", "market@shadow", "hi").code == POLICY_AUTHOR
    Path("policies/market/1.1.0/policy.md").unlink()
    ran = safeguard("diff", "market", "1.0.0", "shadow")
    assert (ran.code, "its file policies/market/1.1.0/policy.md does not exist" in ran.err) == (POLICY_AUTHOR, True)


@pytest.mark.parametrize("command", [["list"], ["publish"], ["show-prompt", "market@active", "hi"]], ids=command_line)
def test_a_registry_that_is_down_is_reported_at_once(
    safeguard: Safeguard, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    write_policy(Path("policies"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    ran = safeguard(*command, "--set", "tracking.uri=http://user:secret@127.0.0.1:9")
    assert (ran.code, ran.out) == (UNREACHABLE, "")
    reason = "cannot be reached: [Errno 111] Connection refused. Issue the same command again when it is back."
    assert ran.err == f"Error: MLflow at http://127.0.0.1:9 {reason}\n"
    assert not Path("policies/lock").exists()


def test_the_publishing_job_runs_the_publish_command(tmp_path: Path) -> None:
    job = Path(__file__).parents[3] / "jobs" / "publish_policies.py"
    write_policy(tmp_path / "policies")
    argv = [sys.executable, str(job), "--lock-only", "--json"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["pinned"] == ["market@1.0.0"]
    assert lock_path(tmp_path / "policies").is_dir()


def test_help_imports_only_what_the_command_line_itself_needs(tmp_path: Path) -> None:
    ours = {"safeguard_spark.config.model", "safeguard_spark.policy.document", "safeguard_spark.labelling.prompt"}
    libraries = {*SLOW, "yaml", "rich", "aiohttp", "numpy", "openai_harmony"}
    assert_none_imported(tmp_path, ["--help", "label --help", "relabel plan --help"], {*ours, *libraries})


def test_only_aliases_and_publishing_import_slow_packages(tmp_path: Path) -> None:
    write_policy(tmp_path / "policies")
    commands = [
        "check", "list", "new gifts", "show-prompt market@1.0.0 hi", "diff market 1.0.0 1.0.0", "publish --lock-only",
        "verify market --set engine.kind=scripted",
    ]  # fmt: skip
    assert_none_imported(tmp_path, commands, SLOW)


def assert_none_imported(folder: Path, commands: list[str], packages: set[str]) -> None:
    """No command of a new process has imported one of the packages when it ends."""
    program = (
        "import sys; from safeguard_spark.cli.app import run_command\nfor line in sys.argv[1:]:\n"
        f"  run_command(line.split()); print(line, {packages!r} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program, *commands], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith(tuple(commands))]
    assert lines == [f"{line} set()" for line in commands]
