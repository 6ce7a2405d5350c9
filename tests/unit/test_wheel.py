"""The wheel holds the package and nothing else, its base is enough for policy authors, and the locks fit it."""

import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import Distribution, distribution, packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.faulty_server import FaultyServer
from tests.matrix.__main__ import DELTA_OF, TESTS, TOO_OLD
from tests.unit.commands import CommandResult, Safeguard
from tools import rooms

pytestmark = pytest.mark.unit
METADATA = "safeguard_spark-"
SHIPPED = {"conf": "local.yaml", "policies": "spam/1.1.0/policy.md", "sets": "openai-moderation/2022/set.yaml"}
FOLDERS = (rooms.PACKAGE, *SHIPPED)
PROJECT: dict[str, Any] = tomllib.loads((rooms.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
RUN = "import sys; from safeguard_spark.cli.app import main; main(sys.argv[1:])"
TABLES = ("--config", str(rooms.ROOT / "conf/local.yaml"), "--output", "tables")
SOURCE = (*TABLES, "--source", "posts", "--text-column", "body")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built without a network, from a copy: a build leaves files in the folder it runs in."""
    source = tmp_path_factory.mktemp("source")
    for folder in ("safeguard_spark", "tools", "tests", "jobs"):  # links become copies of what they name
        shutil.copytree(rooms.ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(rooms.ROOT / file, source)
    build = "from setuptools.build_meta import build_wheel; build_wheel('dist')"
    subprocess.run((sys.executable, "-c", build), cwd=source, check=True, capture_output=True)
    (built,) = (source / "dist").iterdir()
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`environment("spark")` is the Python of a new environment with the wheel and what the extras name, no more.

    Their packages are linked from this environment, so that the test needs no network.
    """

    def create(*extras: str, packages: Sequence[str] = ()) -> Path:
        folder = tmp_path_factory.mktemp("environment")
        venv.create(folder, symlinks=True)
        (site,) = folder.glob("lib/python*/site-packages")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
        for package in required_by(
            [*PROJECT["dependencies"], *(r for extra in extras for r in EXTRAS[extra]), *packages]
        ):
            for entry in {file.parts[0] for file in package.files or () if file.parts[0] not in ("..", "__pycache__")}:
                if not (site / entry).exists():
                    (site / entry).symlink_to(package.locate_file(entry))
        return folder / "bin" / "python"

    return create


@pytest.fixture(scope="module")
def base(environment: Callable[..., Path]) -> Path:
    return environment()


def run_in(python: Path, folder: Path, *argv: str) -> CommandResult:
    """The result of `safeguard` in another environment."""
    command = [python, "-I", "-c", RUN, *argv]
    done = subprocess.run(command, cwd=folder, env={}, capture_output=True, text=True, timeout=60)
    return CommandResult(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def base_safeguard(base: Path, tmp_path: Path) -> Safeguard:
    """`safeguard` of an installation without extras, in a folder with the policies of the repository."""
    shutil.copytree(rooms.ROOT / "policies", tmp_path / "policies")
    return partial(run_in, base, tmp_path)


def required_by(requirements: list[str]) -> list[Distribution]:
    """The distributions here that requirements name, and all that those need."""
    pending, found = [(Requirement(text), "") for text in requirements], dict[str, Distribution]()
    while pending:
        requirement, extra = pending.pop()
        name = canonicalize_name(requirement.name)
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": extra})
        if not applies or (name in found and not requirement.extras):
            continue
        if name == PROJECT["name"]:
            pending += [(Requirement(text), "") for of in requirement.extras for text in EXTRAS[of]]
            continue
        found[name] = distribution(name)
        for of in ("", *requirement.extras):
            pending += [(Requirement(text), of) for text in found[name].requires or ()]
    return [*found.values()]


def test_the_wheel_holds_every_file_of_the_package_and_no_other(wheel: Path) -> None:
    files = {name for name in zipfile.ZipFile(wheel).namelist() if not name.startswith(METADATA)}
    tracked = subprocess.run(("git", "ls-files", *FOLDERS), cwd=rooms.ROOT, capture_output=True, text=True, check=True)
    shipped = tuple(f"{name}/" for name in SHIPPED)
    expected = {
        f"safeguard_spark/shipped/{name}" if name.startswith(shipped) else name for name in tracked.stdout.splitlines()
    } - {f"safeguard_spark/shipped/{name}" for name in SHIPPED}
    assert files == expected
    assert {"safeguard_spark/demo/weights/demo.safetensors", "safeguard_spark/spark/ivysettings.xml"} <= files
    assert {f"safeguard_spark/shipped/{name}/{file}" for name, file in SHIPPED.items()} <= files


def test_the_wheel_holds_no_training_code(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        imports = [
            found
            for name in archive.namelist()
            if name.endswith(".py")
            for found in rooms.imports(archive.read(name).decode(), name)
        ]
    assert len(imports) > 500
    assert [found for found in imports if found.module.partition(".")[0] in ("torch", "tools", "tests")] == []


def test_every_package_that_an_installation_brings_is_imported() -> None:
    requirements = [
        *PROJECT["dependencies"],
        *EXTRAS["cluster"],
        *EXTRAS["spark"],
        *EXTRAS["tracking"],
        *EXTRAS["review"],
    ]
    required = {canonicalize_name(Requirement(text).name) for text in requirements} - {PROJECT["name"]}
    files = [rooms.ROOT / file for file in rooms.source_files()]
    imports = [found for file in files for found in rooms.imports(file.read_text(encoding="utf-8"), file.name)]
    brought_by = packages_distributions()
    names = [name for found in imports for name in brought_by.get(found.module.partition(".")[0], ())]
    assert required - {canonicalize_name(name) for name in names} == set()


def test_the_base_is_enough_for_policy_authors(base_safeguard: Safeguard, tmp_path: Path) -> None:
    done = base_safeguard("check", "policies/")
    assert (done.code, done.err) == (0, "") and done.out.endswith(" policies checked: no problems.\n"), done
    (tmp_path / "policy.md").write_text("## No spam\n\nAnswer 1 for spam, else 0.\n", encoding="utf-8")
    for argv in [
        ("new", "mine"), ("new", "spam@9.0.0"), ("diff", "spam", "1.0.0", "1.1.0"), ("list",), ("list", "spam"),
        ("import", "policy.md", "--name", "other"), ("show-prompt", "spam@1.1.0", "Free coins"),
        ("publish", "spam@1.1.0", "--lock-only"), ("new", "ours", "--from", "hate"),
        ("check", "ours"), ("--help",), ("label", "--help"),
    ]:  # fmt: skip
        done = base_safeguard(*argv)
        assert (done.code, done.err.count("Error")) == (0, 0), done


def test_the_base_verifies_against_an_endpoint(base_safeguard: Safeguard) -> None:
    with FaultyServer() as server:
        engine = ("--set", "engine.kind=endpoint", "--set", f"engine.url={server.url}", "--set", "engine.model=m")
        done = base_safeguard("verify", "spam@1.1.0", *engine)
    assert (done.code, len(server.calls)) == (7, 21), done  # the server finds no violation
    assert "10 of 21 cases as expected" in done.out


@pytest.mark.parametrize(
    ("argv", "extra"),
    [
        (("label", *SOURCE, "--policy", "spam@1.1.0"), "spark"),
        (("label", *SOURCE, "--policy", "spam@1.1.0", "--dry-run"), "spark"),
        (("relabel", "plan", *SOURCE, "--policy", "spam@1.1.0"), "spark"),
        (("relabel", "apply", *SOURCE, "p1"), "spark"),
        (("relabel", "compare", *SOURCE, "spam@1.0.0", "spam@1.1.0"), "spark"),
        (("relabel", "promote", *SOURCE, "spam@1.1.0"), "spark"),
        (("maintain", "erase", *TABLES, "--ids", "1"), "spark"),
        (("maintain", "optimize", *TABLES), "spark"),
        (("maintain", "vacuum", *TABLES), "spark"),
        (("review", "serve", *TABLES), "review"),
        (("review", "export", *TABLES, "--to", "gold"), "review"),
        (("review", "sample", *SOURCE, "--policy", "spam"), "spark"),
        (("report", *TABLES, "--from", "2026-03-01", "--to", "2026-03-31"), "spark"),
        (("publish", "spam@1.1.0"), "tracking"),
        (("list", "--set", "tracking.uri=http://127.0.0.1:9"), "tracking"),
        (("verify", "spam@active", *TABLES[:2], "--set", "tracking.uri=http://127.0.0.1:9"), "tracking"),
    ],
)
def test_a_command_without_its_extra_says_in_one_sentence_what_to_install(
    base_safeguard: Safeguard, argv: tuple[str, ...], extra: str
) -> None:
    assert_refused(base_safeguard(*argv), extra)


@pytest.mark.parametrize(
    ("extras", "argv", "extra"),
    [
        (("spark",), ("relabel", "compare", *SOURCE, "spam@1.0.0", "spam@1.1.0"), "tracking"),
        (("spark",), ("publish", "spam@1.1.0"), "tracking"),
        (("cluster", "tracking"), ("maintain", "vacuum", *TABLES), "spark"),
    ],
)
def test_an_extra_that_is_missing_next_to_others_is_named(
    environment: Callable[..., Path], tmp_path: Path, extras: tuple[str, ...], argv: tuple[str, ...], extra: str
) -> None:
    shutil.copytree(rooms.ROOT / "policies", tmp_path / "policies")
    assert_refused(run_in(environment(*extras), tmp_path, *argv), extra)


def test_executors_need_neither_delta_nor_mlflow(environment: Callable[..., Path]) -> None:
    python = environment("cluster", packages=("pyspark", "py4j"))
    modules = ("executor", "udf", "progress")
    code = "; ".join(f"import safeguard_spark.spark.label.{module}" for module in modules)
    assert subprocess.run([python, "-I", "-c", code], env={}, capture_output=True, text=True).stderr == ""


def assert_refused(done: CommandResult, extra: str) -> None:
    """The command ended with one sentence that names an extra."""
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1), done
    assert re.fullmatch(
        rf"Error: This needs \w+, which is not installed in this Python: pip install 'safeguard-spark\[{extra}\]', "
        rf"or '\.\[{extra}\]' in a checkout\.\n",
        done.err,
    )


def test_without_vllm_its_engine_says_so_at_once(base_safeguard: Safeguard) -> None:
    done = base_safeguard("verify", "spam@1.1.0", "--config", str(rooms.ROOT / "conf/gpu.yaml"))
    assert (done.code, done.err.count("\n")) == (5, 1), done
    assert done.err.startswith("Error: vLLM is not installed in ")


@pytest.mark.parametrize("lock", ["dev", "gpu"])
def test_a_lock_has_every_package_in_a_version_that_the_project_allows_and_no_address(lock: str) -> None:
    text = (rooms.ROOT / "requirements" / f"{lock}.lock").read_text(encoding="utf-8")
    assert "://" not in text
    pins = dict(re.findall(r"^(\S+)==(\S+)", text, re.MULTILINE))
    extras = {"dev": ("cpu", "spark", "tracking", "review", "dev"), "gpu": ("gpu", "spark", "tracking")}[lock]
    pending = [*PROJECT["dependencies"], *(text for extra in extras for text in EXTRAS[extra])]
    for requirement in map(Requirement, pending):
        if requirement.name == PROJECT["name"]:
            pending += [text for extra in requirement.extras for text in EXTRAS[extra]]
        else:
            assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement


def test_the_matrix_has_the_versions_that_the_extra_allows_and_tests_that_exist() -> None:
    spark, delta = (
        next(r for r in map(Requirement, EXTRAS["spark"]) if r.name == n) for n in ("pyspark", "delta-spark")
    )
    assert all(spark.specifier.contains(version) for version in DELTA_OF)
    assert all(delta.specifier.contains(version) for version in DELTA_OF.values())
    assert not spark.specifier.contains(TOO_OLD)
    for file, _, name in (test.partition("::") for test in TESTS):
        assert f"def {name}" in (rooms.ROOT / file).read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| (\S+) \| (\S+) \| `io", (rooms.ROOT / "docs/installing.md").read_text("utf-8"), re.MULTILINE
    )
    assert dict(rows) == DELTA_OF
