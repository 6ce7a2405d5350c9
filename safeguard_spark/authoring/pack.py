"""Policy import: policy packs written for gpt-oss-safeguard, converted to this format.

A pack is a folder with `policy.md` (or one `.md` or `.txt`) and its golden set as CSV, like ROOST's and OpenAI's, or
a plain policy text. The text stays as it is. The answer format is added before and after it, because those texts leave
the format to the program that runs them.
"""

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safeguard_spark.authoring.cases import Case, dump_cases
from safeguard_spark.authoring.cases_csv import Golden, Labels, read_golden
from safeguard_spark.authoring.new import FIRST_VERSION, answer_format, document_text, require_valid_ref, write_new
from safeguard_spark.errors import PolicyError
from safeguard_spark.policy.document import Output, Policy, Rule, parse_policy, read_text

HEADING = re.compile(
    r"^\W*(?P<title>\w.*?)\s*\((?P<id>[A-Z][A-Z0-9]{0,7}?\d{1,2})\s*(?:[-–—:]\s*(?P<about>[^)]*))?\)\W*$"
)
ALLOWED = re.compile(r"\b(allowed|acceptable|permitted|safe|benign|non-violating)\b", re.IGNORECASE)
SAYS_VALID = re.compile(r"^\W*Output:\W*VALID\b", re.MULTILINE)
ANSWER_WORDS = (("INVALID", "VALID"), ("Violating", "Non-violating"))  # models answer with those that a text has
README = re.compile(r"^(readme|license|usage_policy|notice)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Imported:
    """A policy made from a pack: the file's text, its cases, and notes on the importer's decisions."""

    text: str
    cases: tuple[Case, ...]
    notes: tuple[str, ...]

    @property
    def policy(self) -> Policy:
        """The policy in the text."""
        return parse_policy(self.text)


def read_pack(
    path: Path, *, golden: Path | None = None, name: str | None = None, version: str = FIRST_VERSION
) -> Imported:
    """Read a pack's folder or a policy text. Raises PolicyError unless there is exactly one policy text.

    `golden` is the CSV to read the cases from, if it is not in the folder.
    """
    file = _policy_file(path)
    text = read_text(file)
    if text.startswith("---"):
        raise PolicyError(f"{file} already has front matter. Copy it to policies/NAME/VERSION/policy.md and check it.")
    if file.suffix == ".csv" or not text.strip():
        what = "is a golden set: pass it with --golden" if text.strip() else "is empty"
        raise PolicyError(f"{file} {what}. Give the policy: the text that the model reads.")
    name = name or _name(file, text)
    require_valid_ref(name, version)
    rules, allowed = _labels(text)
    output = Output.full if rules else Output.binary
    words = [pair for pair in ANSWER_WORDS if all(re.search(rf"\b{word}\b", text) for word in pair)]
    answers = {"violation": ["1", *(bad for bad, _ in words)], "safe": ["0", *(good for _, good in words)]}
    front: dict[str, Any] = {
        "name": name,
        "version": version,
        "description": f"Imported from {file.name}.",
        "output": output.value,
        "rules": [{"id": r.id, "category": r.category, "title": r.title} for r in rules],
        "allowed": allowed,
        "answers": answers if words else None,
    }
    body = _with_answer_format(text, output, rules, allowed)
    notes = [
        f"{len(rules)} rules: {', '.join(r.id for r in rules)}" if rules else "no rules in the text; output is binary"
    ]
    if allowed:
        notes.append(f"no violation: {', '.join(allowed)}")
    notes.append("the answer format was added before and after the text, which is otherwise unchanged")
    golden_set = _golden([golden] if golden else _golden_files(path), Labels(rules, allowed))
    document = document_text({key: value for key, value in front.items() if value}, body)
    parse_policy(document)
    return Imported(document, golden_set.cases, (*notes, *golden_set.notes))


def write_pack(imported: Imported, folder: Path) -> Path:
    """Write `<folder>/<name>/<version>/` and return the policy file. Raises PolicyError instead of overwriting one."""
    policy = imported.policy
    file = folder / policy.name / policy.version / "policy.md"
    if file.exists():
        raise PolicyError(f"{file} already exists. Choose another --name or --version.")
    return write_new(file, imported.text, dump_cases(imported.cases) if imported.cases else None)


def _policy_file(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise PolicyError(f"{path} does not exist. Give the folder of a pack or a file with a policy's text.")
    for name in ("policy.md", "policy.txt"):
        if (path / name).is_file():
            return path / name
    texts = [p for p in sorted(path.iterdir()) if p.suffix in (".md", ".txt") and not README.match(p.name)]
    subfolders = sorted(p.parent for p in path.rglob("policy.md"))
    if not texts and subfolders:
        raise PolicyError(f"{path} contains several policies. Import each one: {', '.join(map(str, subfolders))}.")
    if len(texts) != 1:
        names = ", ".join(p.name for p in texts) or "none"
        raise PolicyError(f"{path} has no policy.md and not exactly one other text ({names}). Give the file itself.")
    return texts[0]


def _golden_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    # Packs of several policies keep the golden sets in a separate folder.
    separate = path.resolve().parent.parent / "datasets" / f"{path.resolve().name}.csv"
    return sorted(path.rglob("*.csv")) or [file for file in [separate] if file.is_file()]


def _golden(files: list[Path], labels: Labels) -> Golden:
    """The golden sets of all files as one."""
    if not files:
        return Golden((), ("no golden set in the pack, so no cases; add one with --golden FILE.csv",))
    cases: list[Case] = []
    notes: list[str] = []
    for file in files:
        golden_set = read_golden(read_text(file), labels, file.name)
        notes += [f"{len(golden_set.cases)} cases from {file.name}", *golden_set.notes]
        prefix = f"{_slug(file.stem)}-" if len(files) > 1 else ""
        cases += [case.model_copy(update={"id": (prefix + case.id)[-80:]}) for case in golden_set.cases]
    return Golden(tuple(cases), tuple(notes))


def _name(file: Path, text: str) -> str:
    """From the folder of a `policy.md`, else the text's title (`Spam Policy (#SP)` gives spam)."""
    if file.stem == "policy" and file.parent.name:
        return _slug(file.parent.name)
    title = next((line for line in text.splitlines() if line.strip()), file.stem)
    return _slug(re.sub(r"\bpolicy\b|\(.*?\)", "", title, flags=re.IGNORECASE)) or _slug(file.stem) or "imported"


def _slug(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:60]


def _labels(text: str) -> tuple[list[Rule], list[str]]:
    """Rules and labels of no violation, from headings such as `Likely Spam (SP2 – Medium Confidence)`."""
    lines = text.splitlines()
    headings = [
        (number, match)
        for number, line in enumerate(lines)
        if (match := HEADING.match(line.strip("# \t"))) and (match["about"] or line.startswith("#"))
    ]
    rules: dict[str, Rule] = {}
    allowed: list[str] = []
    for (start, match), end in zip(headings, [*(n for n, _ in headings[1:]), len(lines)], strict=False):
        section = "\n".join(lines[start:end])
        if ALLOWED.search(match["title"]) or SAYS_VALID.search(section):
            allowed.append(match["id"])
        elif match["id"] not in rules:
            title = match["title"].strip()
            rules[match["id"]] = Rule(id=match["id"], category=_slug(title) or match["id"].lower(), title=title)
    return list(rules.values()), list(dict.fromkeys(allowed))


def _with_answer_format(text: str, output: Output, rules: list[Rule], allowed: list[str]) -> str:
    lines = [answer_format(output, rules)]
    if rules:
        pairs = ", ".join(f"{rule.id} is `{rule.category}`" for rule in rules)
        lines.append(f"Rule ids and their categories: {pairs}.")
    if allowed:
        lines.append(f"{' and '.join(allowed)} violates nothing: violation 0, category `none`, no rule ids.")
    if re.search(r"\bINVALID\b", text):
        lines.append("VALID below means violation 0, INVALID means violation 1.")
    form = "\n".join(lines)
    return f"## Answer\n\n{form}\n\n{text.strip()}\n\n## Output format\n\n{form}"
