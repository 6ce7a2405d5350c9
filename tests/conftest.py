"""Fixtures of all tests: golden files with a flag to rewrite them, property tests without a deadline, the command line,
and one Spark session for the tests that need one."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.commands import CommandResult, Safeguard

GOLDEN = Path(__file__).parent / "golden"
# Tests run each query once over a few rows, so optimized compilation costs more than it saves. With one compiler tier
# the default code cache would be a fifth of its usual size, and the JVM would spend half its time clearing it.
BRIEF_QUERIES = {
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m -XX:+UseParallelGC",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.shuffle.partitions": "2",
    "spark.databricks.delta.snapshotPartitions": "1",
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "4",  # tasks of a VACUUM; 10,000 by default
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite-golden", action="store_true", help="write the output of tests to tests/golden/")


def pytest_configure(config: pytest.Config) -> None:
    from hypothesis import settings

    # A shared machine is slow at times, which is not a failure.
    settings.register_profile("project", deadline=None)
    settings.load_profile("project")
    config.pluginmanager.register(NamesFailures(config), "names-failures")


class NamesFailures:
    """Prints why a test failed at once: a run that is cut off at its time limit never comes to its summary."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        terminal = self.config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and terminal is not None and not hasattr(self.config, "workerinput"):
            terminal.line(f"\n{report.nodeid} ({report.when}): {report.longreprtext[-2000:]}")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str | Path, str], None]:
    """Compare a text with tests/golden/NAME or a file elsewhere, or write it there with --rewrite-golden."""
    rewrite = bool(request.config.getoption("--rewrite-golden"))

    def compare(name: str | Path, text: str) -> None:
        file = GOLDEN / name  # an absolute path stays as it is
        if rewrite:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        assert file.is_file(), f"{file} does not exist; run pytest --rewrite-golden and look at what it wrote"
        assert text == file.read_text(encoding="utf-8")

    return compare


@pytest.fixture
def safeguard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Safeguard:
    """`safeguard("check", "spam")` runs in `tmp_path`, with no settings from the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    from safeguard_spark.cli.app import run_command

    def run(*argv: str) -> CommandResult:
        capsys.readouterr()
        code = run_command(argv)
        return CommandResult(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real session with Delta, made as the job makes it, for all tests of the process."""
    from safeguard_spark.config.load import build_config
    from safeguard_spark.spark.session import session

    settings = {**BRIEF_QUERIES, "spark.sql.warehouse.dir": str(tmp_path_factory.mktemp("warehouse"))}
    config = build_config({"engine": {"kind": "scripted"}, "spark": {"master": "local[2]", "conf": settings}})
    shared = session(config)
    yield shared
    shared.stop()


@pytest.fixture
def lake(spark: Any, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A folder for a content table and label tables, both still empty."""
    from tests.spark.lake import Lake

    return Lake(spark, tmp_path, tmp_path_factory.getbasetemp() / "empty-tables")
