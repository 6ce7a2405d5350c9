"""Every file is in a room, imports go down, and the pure rooms run without Spark, vLLM, MLflow and Delta."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools import rooms

pytestmark = pytest.mark.unit

PURE = ("authoring", "config", "engines", "evaluation", "labelling", "policy", "relabel", "review", "tracking")
BLOCKED = """
import importlib, json, sys

sys.modules.update(dict.fromkeys({heavy!r}))  # to the import system, None is a module that does not exist
errors = {{}}
for name in {modules!r}:
    try:
        importlib.import_module(name)
    except Exception as error:
        errors[name] = str(error)
print(json.dumps(errors))
"""


def import_blocked(*modules: str) -> dict[str, str]:
    """The error of each module that a fresh interpreter without Spark, vLLM, MLflow and Delta cannot import."""
    code = BLOCKED.format(heavy=tuple(rooms.HEAVY), modules=modules)
    done = subprocess.run([sys.executable, "-c", code], cwd=rooms.ROOT, capture_output=True, text=True, check=True)
    errors: dict[str, str] = json.loads(done.stdout)
    return errors


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
    imports = [i for f in rooms.source_files() for i in rooms.imports((rooms.ROOT / f).read_text("utf-8"), f)]
    assert {i.module.partition(".")[0] for i in imports} & set(rooms.HEAVY) == {"pyspark", "delta", "mlflow"}


def test_the_pure_rooms_import_without_spark_vllm_mlflow_and_delta_and_the_others_do_not() -> None:
    folders = tuple(f"safeguard_spark/{room}/" for room in PURE)
    single = tuple(room.path for floor in rooms.FLOORS for room in floor if room.path.endswith(".py"))
    pure = [rooms.module_of(file) for file in rooms.source_files() if file.startswith((*folders, *single))]
    assert len(pure) > 60
    blocked = import_blocked(*pure, "safeguard_spark.spark.tables", *rooms.HEAVY)
    assert blocked.pop("safeguard_spark.spark.tables").startswith("This needs pyspark, which is not installed")
    assert blocked == {name: f"import of {name} halted; None in sys.modules" for name in rooms.HEAVY}


@pytest.mark.parametrize(
    ("file", "line", "sentence"),
    [
        ("labelling/verdict.py", "import pyspark.sql", "labelling/verdict.py:1 imports pyspark"),
        ("policy/document.py", "def f():\n    from mlflow import MlflowClient", "imports mlflow"),
        ("engines/vllm_host.py", "from vllm import LLM", "which nothing may import"),
        ("labelling/verdict.py", "from safeguard_spark.spark.tables import Tables", "is below"),
        ("labelling/rows.py", "def f():\n    from safeguard_spark.engines import endpoint", "is below"),
        ("policy/document.py", "from safeguard_spark.labelling import prompt", "is below"),
        ("engines/command.py", "from safeguard_spark.tracking.registry import resolve", "on its floor"),
        ("tracking/runs.py", "import safeguard_spark.engines.health", "on its floor"),
        ("spark/tables.py", "from safeguard_spark.spark.label.job import label_table", "is below"),
        ("authoring/check.py", "from safeguard_spark import cli", "is below"),
        ("keys.py", "from safeguard_spark import errors", "on its floor"),
    ],
)
def test_a_planted_import_against_the_direction_is_reported(file: str, line: str, sentence: str) -> None:
    file = f"safeguard_spark/{file}"
    text = (rooms.ROOT / file).read_text(encoding="utf-8")
    assert rooms.breaches(rooms.imports(text, file)) == []
    (breach, *_) = rooms.breaches(rooms.imports(f"{line}\n{text}", file))
    assert sentence in breach


def test_a_planted_import_file_and_circle_are_the_problems_of_a_checkout(checkout: Path) -> None:
    package = checkout / "safeguard_spark"
    (package / "misc").mkdir()
    for file in ("helpers.py", "misc/notes.py"):
        (package / file).write_text("", encoding="utf-8")
    for file, line in {
        "labelling/content.py": "from safeguard_spark.labelling import prompt",
        "policy/lock.py": "import pyspark",
    }.items():
        text = (package / file).read_text(encoding="utf-8")
        (package / file).write_text(f"{line}\n{text}", encoding="utf-8")
    helpers, notes, pyspark, circle = rooms.problems(checkout)
    assert helpers == "safeguard_spark/helpers.py belongs to no room of tools/rooms.py."
    assert notes == "safeguard_spark/misc/notes.py belongs to no room of tools/rooms.py."
    assert pyspark.startswith("safeguard_spark/policy/lock.py:1 imports pyspark")
    assert "labelling.content -> " in circle and circle.endswith("is a circle of imports.")


def test_an_import_that_does_not_say_from_where_is_refused() -> None:
    with pytest.raises(ValueError, match="relatively"):
        list(rooms.imports("from . import x", "safeguard_spark/keys.py"))
