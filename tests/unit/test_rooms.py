"""The core runs without Spark, vLLM, MLflow and Delta, and imports point one way."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
PACKAGE = "safeguard_spark"
HEAVY = ("pyspark", "vllm", "mlflow", "delta")
# Who may import what, anywhere in a file. `safeguard_spark/spark/` stands for all files below it.
ALLOWED = {
    "pyspark": ("safeguard_spark/spark/",),
    "delta": ("safeguard_spark/spark/",),
    "mlflow": ("safeguard_spark/tracking/runs.py",),
    "vllm": (),
}
# The order of docs/architecture.md, the lowest first: a module imports from its own line or from one above it. A module
# that is in no line is a part of the policy author's tools, or new; such a one needs only to keep clear of engines,
# Spark and cli.
LAYERS = (
    ("errors", "keys", "positions"),
    ("policy", "content", "config"),
    ("prompt", "contract", "result"),
    ("verdict", "labeler"),
    ("schema", "engines.base"),
    ("labelling",),
    ("tracking",),
)


class Import(NamedTuple):
    """One import in a file; `lazy` ones are inside a function."""

    file: str
    line: int
    module: str
    lazy: bool


def imports(text: str, file: str) -> Iterator[Import]:
    """Every import of a file's text, `from a import b` as both `a` and `a.b`."""
    tree = ast.parse(text)
    inside = {id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
              for n in ast.walk(f)}  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: relative import"
            names = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            yield Import(file, node.lineno, name, id(node) in inside)


def ours() -> list[Import]:
    files = [*sorted((ROOT / PACKAGE).rglob("*.py")), *sorted((ROOT / "jobs").glob("*.py"))]
    return [found for f in files for found in imports(f.read_text(encoding="utf-8"), str(f.relative_to(ROOT)))]


def trespassers(found: list[Import]) -> list[str]:
    """Imports of Spark, Delta, MLflow or vLLM where they may not be."""
    return [
        f"{i.file}:{i.line} imports {i.module}"
        for i in found
        for heavy in (i.module.partition(".")[0],)
        if heavy in ALLOWED and not i.file.startswith(ALLOWED[heavy])
    ]


def name_of(file: str) -> str:
    """`safeguard_spark/labelling/engine.py` as `engines.base`."""
    return file.removeprefix(f"{PACKAGE}/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def upward(found: list[Import]) -> list[str]:
    """Imports against that order, or from a lower room to a higher one."""
    level = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    said = []
    for i in found:
        at, to = name_of(i.file), i.module.removeprefix(f"{PACKAGE}.")
        if to == i.module or at.startswith(("spark", "cli", "demo", "jobs.")):
            continue
        seam = to.startswith("engines") and not to.startswith("engines.base") and to != "engines"
        top = to.startswith(("spark", "cli", "demo"))
        engine = at.startswith("engines.") and at != "engines.base"
        wrong = (
            top
            or (seam and not engine)
            or (engine and to.startswith(("tracking", "labelling")))
            or (at in level and to in level and level[to] > level[at])
        )
        if wrong:
            said.append(f"{i.file}:{i.line} imports {to}")
    return said


def core() -> list[str]:
    """The core's modules: every file in the package's own folder but tracking and the command line, and the seam."""
    files = [f.stem for f in sorted((ROOT / PACKAGE).glob("*.py")) if f.stem != "__init__"]
    flat = [f"{PACKAGE}.{stem}" for stem in files if stem != "tracking" and not stem.startswith("cli")]
    return [*flat, f"{PACKAGE}.engines.base", f"{PACKAGE}.engines.scripted"]


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
    code = BLOCKED.format(heavy=HEAVY, modules=modules)
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_core_imports_without_spark_vllm_mlflow_and_delta() -> None:
    modules = core()
    assert {"safeguard_spark.labelling.verdict", "safeguard_spark.labelling.rows", "safeguard_spark.tracking.registry"} <= set(modules)
    done = import_blocked(*modules)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["safeguard_spark.spark.tables", *HEAVY])
def test_what_needs_one_of_them_does_not_import_there(module: str) -> None:
    done = import_blocked(module)
    assert done.returncode == 1 and "is blocked" in done.stderr


def test_only_spark_imports_pyspark_and_delta_only_tracking_mlflow_and_nothing_vllm() -> None:
    found = ours()
    assert trespassers(found) == []
    used = {i.module.partition(".")[0] for i in found}
    assert {"pyspark", "delta", "mlflow"} <= used and "vllm" not in used


def test_imports_point_from_the_edges_to_the_core() -> None:
    assert upward(ours()) == []
    known = {name_of(str(f.relative_to(ROOT))) for f in (ROOT / PACKAGE).rglob("*.py")}
    assert {name for layer in LAYERS for name in layer} <= known, "a layer names a module that is gone"


def test_no_module_of_the_core_imports_itself_by_a_round_trip() -> None:
    edges: dict[str, set[str]] = {}
    known = {name_of(str(f.relative_to(ROOT))) for f in (ROOT / PACKAGE).rglob("*.py")}
    for i in ours():
        to = i.module.removeprefix(f"{PACKAGE}.")
        if not i.lazy and to in known:
            edges.setdefault(name_of(i.file), set()).add(to)
    done: set[str] = set()

    def walk(at: str, path: tuple[str, ...]) -> None:
        assert at not in path, " -> ".join((*path, at))
        if at not in done:
            for to in sorted(edges.get(at, ())):
                walk(to, (*path, at))
            done.add(at)

    for name in sorted(edges):
        walk(name, ())


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("safeguard_spark/labelling/verdict.py", "import pyspark.sql"),
        ("safeguard_spark/tracking/registry.py", "def f():\n    from mlflow import MlflowClient"),
        ("safeguard_spark/engines/vllm_host.py", "from vllm import LLM"),
        ("jobs/label.py", "import delta"),
    ],
)
def test_a_heavy_import_in_the_wrong_place_is_found(file: str, text: str) -> None:
    assert trespassers(list(imports(text, file)))


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("safeguard_spark/labelling/verdict.py", "from safeguard_spark.spark.tables import Tables"),
        ("safeguard_spark/policy/document.py", "from safeguard_spark import prompt"),
        ("safeguard_spark/labelling/rows.py", "def f():\n    from safeguard_spark.engines.endpoint import EndpointEngine"),
        ("safeguard_spark/engines/protocol.py", "from safeguard_spark.labelling.rows import Job"),
        ("safeguard_spark/authoring/check.py", "from safeguard_spark import cli"),
    ],
)
def test_an_import_against_the_direction_is_found(file: str, text: str) -> None:
    assert upward(list(imports(text, file)))
