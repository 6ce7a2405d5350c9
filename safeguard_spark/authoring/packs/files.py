"""The files of a pack: the policy's text, its annexes, its golden sets, and a name for it."""

import codecs
import contextlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import yaml

from safeguard_spark.errors import PolicyError
from safeguard_spark.policy.document import read_text
from safeguard_spark.policy.names import slug

TEXT_ENDINGS = ("", ".md", ".markdown", ".txt", ".text", ".rst")
GOLDEN_ENDINGS = (".csv", ".tsv", ".jsonl", ".json")
ABOUT_A_PACK = re.compile(
    r"^(readme|licen[cs]e|usage_policy|notice|changelog|contributing|citation|authors|\.)", re.IGNORECASE
)
# Pictures and programs, of which no model and no set of cases would have anything.
NO_CONTENT = (".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".py", ".ipynb", ".sh", ".js", ".ts", ".css", ".lock")
ANNEX = re.compile(
    r"\b(annex|appendix|attachment|evaluation|report|results?|glossary|background|datasheet|model[ _-]card|notes?|"
    r"schema)\b",
    re.IGNORECASE,
)
# What a title says besides a name, and words that alone are none.
NO_NAME = re.compile(
    r"\b(policy|policies|template|version|draft|document|the|our|for|text|classification|moderation|v?\d+(?:\.\d+)*)\b|"
    r"\(.*?\)|[#*_`]",
    re.IGNORECASE,
)
GENERIC = (
    "content", "criteria", "overview", "instruction", "instructions", "introduction", "guideline", "guidelines", "goal",
    "definition", "definitions", "rule", "rules", "role", "task", "scope", "background", "prompt", "system", "imported",
)  # fmt: skip
MAX_WORDS = 5  # of a name


class PackFiles(NamedTuple):
    """A pack's policy file, its golden sets, and files that are not imported."""

    policy: Path
    golden: tuple[Path, ...]
    others: tuple[Path, ...] = ()


def find_files(path: Path) -> PackFiles:
    """The files of a pack's folder or of a policy text. Raises PolicyError unless exactly one is the policy."""
    if path.is_file():
        return PackFiles(path, ())
    if not path.is_dir():
        raise PolicyError(f"{path} does not exist. Give the folder of a pack or a file with a policy's text.")
    texts = [
        p for p in sorted(path.iterdir()) if p.is_file() and p.suffix in TEXT_ENDINGS and not ABOUT_A_PACK.match(p.name)
    ]
    policy = _policy_among(texts)
    if policy is None:
        policies = sorted(p for p in path.rglob("*") if p.is_file() and p.suffix in TEXT_ENDINGS and p.stem == "policy")
        if not texts and policies:
            listed = ", ".join(str(p.parent) for p in policies)
            raise PolicyError(f"{path} contains several policies. Import each one: {listed}.")
        names = ", ".join(p.name for p in texts) or "none"
        raise PolicyError(f"{path} has no policy.md and not exactly one other text ({names}). Give the file itself.")
    inside = sorted(p for p in path.rglob("*") if p.suffix in GOLDEN_ENDINGS)
    # Packs of several policies keep the golden sets in a separate folder.
    folder = path.resolve().parent.parent / "datasets"
    separate = [
        file for file in (folder / f"{path.resolve().name}{ending}" for ending in GOLDEN_ENDINGS) if file.is_file()
    ]
    golden = tuple(inside or separate)
    return PackFiles(policy, golden, tuple(_others(path, {policy, *golden})))


def _others(path: Path, used: set[Path]) -> Iterator[Path]:
    """The files of a pack that are not imported, except what is about the pack, pictures and programs."""
    for file in sorted(path.rglob("*")):
        parts = file.relative_to(path).parts
        is_about = ABOUT_A_PACK.match(file.name) or any(part.startswith((".", "__")) for part in parts)
        if file.is_file() and file not in used and not is_about and file.suffix.lower() not in NO_CONTENT:
            yield file


def lost_file(file: Path, path: Path) -> str:
    """What to say of a file of the pack at `path` that is not imported."""
    name = file.relative_to(path).as_posix()
    with contextlib.suppress(PolicyError):
        if file.suffix in TEXT_ENDINGS:
            return f"{name} ({len(read_any_text(file)):,} characters): paste into the policy what the model must read"
    return f"{name}: a file of this kind is not read; save tables as CSV, and paste texts into the policy"


def read_any_text(file: Path) -> str:
    """A text of a pack, in UTF-8 or as Excel's Unicode text, UTF-16 with its mark. Raises PolicyError."""
    try:
        start = file.read_bytes()[:2]
        if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return file.read_text(encoding="utf-16")
    except OSError as error:
        raise PolicyError(f"{file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise PolicyError(f"{file} is neither UTF-8 nor UTF-16 text: save it as UTF-8.") from error
    return read_text(file)


def _policy_among(texts: list[Path]) -> Path | None:
    named = [p for p in texts if p.stem.lower() == "policy"]
    plain = [p for p in texts if not ANNEX.search(p.stem.replace("_", " "))]
    titled = [p for p in plain if "policy" in p.stem.lower()]
    return next((found[0] for found in (named, plain, titled) if len(found) == 1), None)


def read_policy_text(file: Path) -> tuple[str, dict[str, object]]:
    """A policy's text, and the keys of a front matter that is another program's. Raises PolicyError."""
    text = read_any_text(file)
    if file.suffix in GOLDEN_ENDINGS or not text.strip():
        what = "is a golden set: pass it with --golden" if text.strip() else "is empty"
        raise PolicyError(f"{file} {what}. Give the policy: the text that the model reads.")
    match = re.match(r"\A---[ \t]*\n(.*?)^---[ \t]*\n", text, re.DOTALL | re.MULTILINE)
    try:
        front = yaml.safe_load(match[1]) if match else None
    except (yaml.YAMLError, ValueError, RecursionError):
        front = None
    if match is None or not isinstance(front, dict):
        return text, {}
    if {"version", "rules", "output"} & front.keys() or set(front) == {"name"}:
        raise PolicyError(f"{file} already has front matter. Copy it to policies/NAME/VERSION/policy.md and check it.")
    return text[match.end() :], {str(key): value for key, value in front.items()}


def policy_name(file: Path, text: str, front: dict[str, object]) -> str:
    """A name from the folder of a `policy.md`, else a title, a heading or the file; empty if all say nothing."""
    headings = [line for line in text.splitlines() if line.strip()][:1]
    headings += re.findall(r"^#{1,2} .+$", text, re.MULTILINE)[:4]
    titles: Iterable[str] = (
        *([file.parent.name] if file.stem == "policy" else ()),
        *(str(front[key]) for key in ("title", "name") if key in front),
        *(line for line in headings if len(line) <= 100),
        file.stem.replace("_", " "),
        *([file.parent.name] if file.is_absolute() else ()),
    )
    for title in titles:
        words = [word for word in slug(NO_NAME.sub(" ", title)).split("-") if word]
        if any(len(word) > 1 and word not in GENERIC for word in words):
            return "-".join(words[:MAX_WORDS])
    return ""
