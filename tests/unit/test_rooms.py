"""Every file is in a room, imports go down, and the pure rooms run without Spark, vLLM, MLflow and Delta."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools import rooms

pytestmark = pytest.mark.unit

PURE = ("authoring", "config", "engines", "evaluation", "labelling", "policy", "relabel", "tracking")
BLOCKED = """
import importlib, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {heavy!r}:
            raise ModuleNotFoundError(f"{{name}} is blocked", name=name)
        return None

sys.meta_path.insert(0, Refuse())
for name in {modules!r}:
    importlib.import_module(name)
"""


def import_blocked(*modules: str) -> "subprocess.CompletedProcess[str]":
    """Import modules in a fresh interpreter that has no Spark, vLLM, MLflow and Delta."""
    code = BLOCKED.format(heavy=tuple(rooms.HEAVY), modules=modules)
    return subprocess.run([sys.executable, "-c", code], cwd=rooms.ROOT, capture_output=True, text=True, check=False)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The code alone, to plant something in."""
    for folder in ("safeguard_spark", "jobs", "tools"):
        ignored = shutil.ignore_patterns("weights", "__pycache__")
        shutil.copytree(rooms.ROOT / folder, tmp_path / folder, ignore=ignored)
    return tmp_path


def test_every_file_is_in_a_room_and_every_import_goes_down() -> None:
    assert rooms.problems() == []


def test_every_room_is_there_and_none_is_listed_twice() -> None:
    paths = [room.path for floor in rooms.FLOORS for room in floor]
    assert len(set(paths)) == len(paths)
    assert [path for path in paths if not (rooms.ROOT / path).exists()] == []


def test_the_heavy_packages_are_imported_where_they_may_be() -> None:
    files = rooms.source_files()
    found = [i for f in files for i in rooms.imports((rooms.ROOT / f).read_text(encoding="utf-8"), f)]
    assert {i.module.partition(".")[0] for i in found} & set(rooms.HEAVY) == {"pyspark", "delta", "mlflow"}


def test_the_pure_rooms_import_without_spark_vllm_mlflow_and_delta() -> None:
    folders = tuple(f"safeguard_spark/{room}/" for room in PURE)
    single = tuple(room.path for floor in rooms.FLOORS for room in floor if room.path.endswith(".py"))
    modules = [rooms.module_of(file) for file in rooms.source_files() if file.startswith((*folders, *single))]
    assert len(modules) > 60
    done = import_blocked(*modules)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["safeguard_spark.spark.tables", *rooms.HEAVY])
def test_what_needs_one_of_them_does_not_import_there(module: str) -> None:
    done = import_blocked(module)
    assert done.returncode == 1 and "is blocked" in done.stderr


@pytest.mark.parametrize(
    ("file", "line", "sentence"),
    [
        ("labelling/verdict.py", "import pyspark.sql", "labelling/verdict.py:1 imports pyspark"),
        ("policy/document.py", "def f():\n    from mlflow import MlflowClient", "imports mlflow"),
        ("engines/vllm_host.py", "from vllm import LLM", "which nothing may import"),
        ("labelling/verdict.py", "from safeguard_spark.spark.tables import Tables", "lies below"),
        ("labelling/rows.py", "def f():\n    from safeguard_spark.engines import endpoint", "lies below"),
        ("policy/document.py", "from safeguard_spark.labelling import prompt", "lies below"),
        ("engines/command.py", "from safeguard_spark.tracking.registry import resolve", "beside"),
        ("tracking/runs.py", "import safeguard_spark.engines.health", "beside"),
        ("spark/tables.py", "from safeguard_spark.spark.label.job import label_table", "lies below"),
        ("authoring/check.py", "from safeguard_spark import cli", "lies below"),
        ("keys.py", "from safeguard_spark import errors", "beside"),
    ],
)
def test_a_planted_import_against_the_direction_is_found(checkout: Path, file: str, line: str, sentence: str) -> None:
    path = checkout / "safeguard_spark" / file
    path.write_text(f"{line}\n{path.read_text(encoding='utf-8')}", encoding="utf-8")
    found = rooms.problems(checkout)
    assert any(sentence in one for one in found), found


@pytest.mark.parametrize("file", ["safeguard_spark/helpers.py", "safeguard_spark/misc/notes.py"])
def test_a_planted_file_that_belongs_to_no_room_is_found(checkout: Path, file: str) -> None:
    (checkout / file).parent.mkdir(exist_ok=True)
    (checkout / file).write_text("", encoding="utf-8")
    assert rooms.problems(checkout) == [f"{file} belongs to no room of tools/rooms.py."]


def test_a_planted_circle_within_a_room_is_found(checkout: Path) -> None:
    path = checkout / "safeguard_spark" / "labelling" / "contract.py"
    text = path.read_text(encoding="utf-8")
    path.write_text(f"from safeguard_spark.labelling import verdict\n{text}", encoding="utf-8")
    (sentence,) = rooms.problems(checkout)
    assert "labelling.contract -> " in sentence and sentence.endswith("is a circle of imports.")


def test_an_import_that_does_not_say_from_where_is_refused() -> None:
    with pytest.raises(ValueError, match="relatively"):
        list(rooms.imports("from . import x", "safeguard_spark/keys.py"))
