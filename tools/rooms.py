"""The rooms of the code, in order: who may import whom. `python -m tools.rooms` names every breach.

A room imports from rooms on floors below its own and from nowhere else: not upwards, and not from its own floor. The
order of the list is the order of the floors, the top one first.
"""

import ast
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PACKAGE = "safeguard_spark"


class Room(NamedTuple):
    """A folder or a file, and what belongs there. `path` is relative to the repository."""

    path: str
    purpose: str

    @property
    def module(self) -> str:
        """The dotted name of the room."""
        return self.path.rstrip("/").removesuffix(".py").replace("/", ".")


def _rooms(*rooms: tuple[str, str]) -> tuple[Room, ...]:
    return tuple(Room(path, purpose) for path, purpose in rooms)


FLOORS: tuple[tuple[Room, ...], ...] = (
    _rooms(("tools/", "repository tools: these rooms, the reference tables, how the demo model was trained")),
    _rooms(
        ("jobs/", "spark-submit scripts, at most 80 lines each"),
        ("safeguard_spark/__main__.py", "`python -m safeguard_spark`: the command line"),
        ("safeguard_spark/demo/", "`make demo`: its content and its model"),
    ),
    _rooms(("safeguard_spark/cli/", "the command line: one file per group of commands, no logic")),
    _rooms(("safeguard_spark/api.py", "what `import safeguard_spark as sg` offers Python programs")),
    _rooms(("safeguard_spark/spark/review/", "people in the loop on Spark: drawing items, the figures of the report")),
    _rooms(("safeguard_spark/spark/screen/", "screens on Spark: train, calibrate and plan them from labels")),
    _rooms(("safeguard_spark/spark/relabel/", "re-labelling on Spark: plan, apply, compare, promote")),
    _rooms(("safeguard_spark/spark/evaluation/", "golden sets on Spark: contents, verdicts, counts, evaluations")),
    _rooms(("safeguard_spark/spark/maintain/", "erase, optimize and vacuum the label tables; what a deployment lacks")),
    _rooms(("safeguard_spark/spark/label/", "the label job: plan, label, stage, commit, recover")),
    _rooms(("safeguard_spark/spark/", "sessions, sources, tables, staging; all that imports pyspark or delta")),
    _rooms(("safeguard_spark/report/", "the figures of a period, for people and for a transparency report")),
    _rooms(("safeguard_spark/review/", "people in the loop: sampling, the console, decisions, rates")),
    _rooms(("safeguard_spark/screen/", "a light classifier in front of the reasoner: scores, thresholds, audits")),
    _rooms(("safeguard_spark/evaluation/", "intervals, measures on golden sets, comparison of two versions, gates")),
    _rooms(
        ("safeguard_spark/relabel/", "what a new policy version changes, which contents it affects, what that costs")
    ),
    _rooms(("safeguard_spark/authoring/", "cases, checks, diffs, new versions, imports, publishing, verification")),
    _rooms(
        ("safeguard_spark/engines/", "what answers prompts: a vLLM server, an endpoint, a script"),
        ("safeguard_spark/tracking/", "MLflow: runs, and the registry of published policies"),
    ),
    _rooms(
        ("safeguard_spark/views.py", "which label of a content counts, as SQL"),
        ("safeguard_spark/analyst_views.py", "what analysts ask of the tables, as SQL for Spark and DuckDB"),
    ),
    _rooms(("safeguard_spark/schema/", "the tables that other programs read")),
    _rooms(
        ("safeguard_spark/labelling/", "one model call: content, prompt, contract, verdict, and the engine interface")
    ),
    _rooms(
        ("safeguard_spark/config/", "the settings of a job, and where their values come from"),
        ("safeguard_spark/prometheus.py", "a run as metrics for Prometheus"),
    ),
    _rooms(
        ("safeguard_spark/policy/", "the policy document, references to it, the lock"),
        ("safeguard_spark/extras.py", "the packages that an installation may lack, and the extra that brings each"),
        ("safeguard_spark/result.py", "the result of a run, and its exit code"),
    ),
    _rooms(
        ("safeguard_spark/errors.py", "what can stop a run, by who must act, and every exit code"),
        ("safeguard_spark/keys.py", "identity: SHA-256 over canonical JSON"),
        ("safeguard_spark/redact.py", "configurations without their secrets"),
        ("safeguard_spark/run_context.py", "the run and the chunk that this process works on, for its log"),
        ("safeguard_spark/suggest.py", "which existing name a mistyped one means"),
        ("safeguard_spark/terminal.py", "what a model or a content says, as a terminal may show it"),
        ("safeguard_spark/value_problems.py", "what is wrong with a value of a user's file, in the user's words"),
        ("safeguard_spark/whole_files.py", "files for the user, of which a failure leaves no part"),
    ),
)
# Which rooms may import the heavy packages, anywhere in a file. Nothing imports vllm: we start it and speak HTTP.
HEAVY: dict[str, tuple[str, ...]] = {
    "pyspark": ("safeguard_spark/spark/", "safeguard_spark/api.py"),  # api.py: only to name types
    "delta": ("safeguard_spark/spark/",),
    "mlflow": ("safeguard_spark/tracking/",),
    "vllm": (),
}


class Import(NamedTuple):
    """One import in a file; `lazy` ones are inside a function, or for type checkers only."""

    file: str
    line: int
    module: str
    lazy: bool


def imports(text: str, file: str) -> Iterator[Import]:
    """Every import of a file's text, `from a import b` as `a.b`. Raises ValueError for a relative one."""
    tree = ast.parse(text)
    deferred = (node for node in ast.walk(tree) if _is_deferred(node))
    inside = {id(inner) for node in deferred for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"{file}:{node.lineno} imports relatively; write the whole name")
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            yield Import(file, node.lineno, name, id(node) in inside)


def _is_deferred(node: ast.AST) -> bool:
    """Whether what a node holds does not run when its module is loaded: a function, or `if TYPE_CHECKING`."""
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def floor_of(path: str) -> tuple[int, Room] | None:
    """The floor (0 is the top) and room of a file or of a dotted module's path; None if it is in no room."""
    matches = [
        (number, room)
        for number, floor in enumerate(FLOORS)
        for room in floor
        if path == room.path or (room.path.endswith("/") and f"{path}/".startswith(room.path))
    ]
    return max(matches, key=lambda match: len(match[1].path), default=None)


def target_of(module: str) -> tuple[int, Room] | None:
    """The room that an imported name leads to; None for another package's."""
    if module.partition(".")[0] not in (PACKAGE, "jobs", "tools"):
        return None
    path = module.replace(".", "/")
    parts = path.split("/")
    candidates = ("/".join(parts[:end]) for end in range(len(parts), 0, -1))
    return next((match for c in candidates for match in (floor_of(f"{c}.py") or floor_of(c),) if match), None)


def breaches(all_imports: Iterable[Import]) -> list[str]:
    """One sentence for each import that goes up, sideways, or to a package that its room may not import."""
    sentences = []
    for item in all_imports:
        where = f"{item.file}:{item.line}"
        package = item.module.partition(".")[0]
        if package in HEAVY and not item.file.startswith(HEAVY[package]):
            allowed = ", ".join(HEAVY[package]) or "nothing"
            sentences.append(f"{where} imports {package}, which {allowed} may import.")
        source, target = floor_of(item.file), target_of(item.module)
        if source and target and source[1] != target[1] and target[0] <= source[0]:
            sentences.append(
                f"{where} imports {item.module}: {source[1].path} is below {target[1].path} or on its floor."
            )
    return sentences


def strays(files: Iterable[str]) -> list[str]:
    """One sentence for each file that is in no room. The package's own `__init__.py` is its front door."""
    door = f"{PACKAGE}/__init__.py"
    return [f"{file} belongs to no room of tools/rooms.py." for file in files if file != door and not floor_of(file)]


def circles(all_imports: Iterable[Import], modules: set[str]) -> list[str]:
    """One sentence for each circle of modules that import one another when they are loaded."""
    edges: dict[str, set[str]] = {}
    for item in all_imports:
        source = module_of(item.file)
        target = item.module if item.module in modules else item.module.rpartition(".")[0]
        if not item.lazy and target in modules and target != source:
            edges.setdefault(source, set()).add(target)
    done: set[str] = set()
    sentences: list[str] = []

    def walk(module: str, path: tuple[str, ...]) -> None:
        if module in path:
            sentences.append(f"{' -> '.join((*path[path.index(module) :], module))} is a circle of imports.")
        elif module not in done:
            for target in sorted(edges.get(module, ())):
                walk(target, (*path, module))
            done.add(module)

    for module in sorted(edges):
        walk(module, ())
    return sentences


def module_of(file: str) -> str:
    """`safeguard_spark/labelling/verdict.py` as `safeguard_spark.labelling.verdict`."""
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def source_files(root: Path = ROOT) -> list[str]:
    """Every Python file of the package, the jobs and the tools, relative to the repository."""
    folders = (PACKAGE, "jobs", "tools")
    return sorted(str(file.relative_to(root)) for folder in folders for file in (root / folder).rglob("*.py"))


def problems(root: Path = ROOT) -> list[str]:
    """Everything that is wrong with the rooms of a checkout; empty if nothing is."""
    files = source_files(root)
    all_imports = [item for file in files for item in imports((root / file).read_text(encoding="utf-8"), file)]
    return [*strays(files), *breaches(all_imports), *circles(all_imports, {module_of(file) for file in files})]


def picture() -> str:
    """The floors as docs/architecture.md shows them, the top one first."""
    width = max(len(room.path) for floor in FLOORS for room in floor)
    blocks = ("\n".join(f"{room.path:{width}}  {room.purpose}" for room in floor) for floor in FLOORS)
    return "\n".join(blocks)


def main() -> int:
    """Print what is wrong; 1 if anything is."""
    sentences = problems()
    print("\n".join(sentences) or f"{len(source_files())} files, every one in its room.")
    return int(bool(sentences))


if __name__ == "__main__":
    sys.exit(main())
