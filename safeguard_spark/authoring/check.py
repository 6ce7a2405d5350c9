"""Policy check: every problem of every policy in one report, with file, line and column."""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from safeguard_spark.authoring.checks.cases import check_cases
from safeguard_spark.authoring.checks.front import check_front
from safeguard_spark.authoring.checks.labels import check_labels
from safeguard_spark.authoring.checks.text import check_text
from safeguard_spark.authoring.checks.written import check_written, conflicts
from safeguard_spark.authoring.diagnostics import Diagnostic, Level, Report, in_order
from safeguard_spark.authoring.diff import RELABELS, labeler_changes
from safeguard_spark.authoring.draft import Draft, read_draft
from safeguard_spark.authoring.structure import read_source
from safeguard_spark.errors import PolicyError
from safeguard_spark.policy.layout import CASES_FILE, POLICY_FILE, Stray, is_hidden, misnamed_cases, stray_files
from safeguard_spark.policy.lock import Lock, LockError, LockStatus, load_lock, lock_files, lock_path
from safeguard_spark.policy.positions import Span
from safeguard_spark.value_problems import value_words

ABOUT_RULES = {
    "no-rules", "undefined-rule", "undefined-category", "untold-rule", "one-sided-examples", "untested-rule",
    "unknown-case-rule", "inconsistent-case", "case-without-rule",
}  # fmt: skip


def check_paths(paths: Iterable[Path], policies: Path | None = None) -> Report:
    """Check policy files, and every policy in folders. Raises PolicyError for a path without a policy.

    What is in the policies folder `policies` and in no version's place is reported as well.
    """
    paths = list(paths)
    strays = [stray for stray in (stray_files(policies) if policies else ()) if _is_below(stray.path, paths)]
    files = list(dict.fromkeys(file for path in paths for file in _files(path, bool(strays))))
    drafts = [read_draft(file, _display_path(file)) for file in files]
    unread = {stray.path.resolve() for stray in strays}
    diagnostics = []
    for draft in drafts:
        cases = misnamed_cases(draft.path)
        reported = {
            "wrong-folder": draft.path.resolve() in unread,
            "no-cases": cases is not None and cases.path.resolve() in unread,
        }
        diagnostics += [diagnostic for diagnostic in _check_draft(draft) if not reported.get(diagnostic.code)]
    languages = tuple(draft.language.name if draft.language else "" for draft in drafts if draft.body)
    return Report(len(files), tuple(in_order([*diagnostics, *stray_diagnostics(strays)])), languages)


def stray_diagnostics(strays: Iterable[Stray]) -> Iterator[Diagnostic]:
    """An error for each file that is in no version's place."""
    for stray in strays:
        source, _ = read_source(stray.path, _display_path(stray.path))
        yield source.diagnose("wrong-folder", Span(1, 1, 3), f"this file is not read: {stray.problem}", stray.hint)


def _is_below(file: Path, paths: Iterable[Path]) -> bool:
    """Whether a file is in one of the folders, or next to one of the files."""
    folders = (path.resolve().parent if path.is_file() else path.resolve() for path in paths)
    return any(file.resolve().is_relative_to(folder) for folder in folders)


def check_file(path: Path) -> tuple[Diagnostic, ...]:
    """Every problem of one policy file, of the cases next to it, and of the file against the lock."""
    return _check_draft(read_draft(path, _display_path(path)))


def _check_draft(draft: Draft) -> tuple[Diagnostic, ...]:
    diagnostics = [*draft.problems, *(draft.cases.problems if draft.cases else ()), *check_written(draft)]
    if draft.front.value:
        for check in (check_front, check_labels, check_text, check_cases, _check_lock):
            diagnostics.extend(check(draft))
    allowed = set(draft.words("allow"))
    reported = (d for d in diagnostics if d.level is Level.error or d.code not in allowed)
    return tuple(in_order(_without_consequences(draft, list(reported))))


def _without_consequences(draft: Draft, diagnostics: list[Diagnostic]) -> Iterator[Diagnostic]:
    """Without what only follows from another problem: a merge conflict, a list of rules that is none, a bad value."""
    conflicts = {d.file for d in diagnostics if d.code == "merge-conflict"}
    bad = [d for d in diagnostics if d.code == "bad-value"]
    for diagnostic in diagnostics:
        if diagnostic.file in conflicts and diagnostic.code != "merge-conflict":
            continue
        if diagnostic.code in ABOUT_RULES and not draft.has_rules_list:
            continue
        if diagnostic.code in ("wrong-folder", "cut-text") and any(_explains(cause, diagnostic) for cause in bad):
            continue
        yield diagnostic


def _explains(bad: Diagnostic, diagnostic: Diagnostic) -> bool:
    """Whether a bad value is the cause of another problem: of the same value, or of the comment in its place."""
    start = diagnostic.span.column - 1
    comment = diagnostic.excerpt[start : start + diagnostic.span.length]
    is_comment = diagnostic.code == "cut-text" and f"YAML reads {value_words(comment)} as a comment" in bad.message
    return bad.file == diagnostic.file and (bad.span == diagnostic.span or is_comment)


def _check_lock(draft: Draft) -> Iterator[Diagnostic]:
    """Only for a file laid out as published policies are: `<folder>/<name>/<version>/policy.md`."""
    if draft.policy is None or draft.path.name != "policy.md":
        return
    path = lock_path(draft.path.resolve().parent.parent.parent)
    try:
        lock = _lock(path, tuple((file, file.stat().st_mtime_ns) for file in lock_files(path)))
    except LockError as error:
        source, _ = read_source(error.file, _display_path(error.file))
        conflict = next(conflicts(source), None)
        span, code = (conflict.span, conflict.code) if conflict else (Span(1), "unreadable")
        yield source.diagnose(code, span, f"the lock {error.problem}", error.hint)
        return
    where, status, pin = (
        draft.front.value_span(("version",)),
        lock.status(draft.policy),
        lock.pins.get(draft.policy.ref),
    )
    if status is LockStatus.changed:
        problem = f"{draft.policy.ref} is published, but its text, rules or output form have changed since"
        hint = f"bump the version: copy it with `safeguard new {draft.policy.name}@VERSION`, then restore this one"
        yield draft.source.diagnose("published-changed", where, problem, hint)
    elif status is LockStatus.labeler_changed and pin and pin.labeler:
        changes = ", ".join(labeler_changes(pin.labeler, draft.policy.labeler))
        problem = f"{draft.policy.ref} is published, but {changes} since: {RELABELS}"
        hint = "restore it, or record the change with `safeguard publish`"
        yield draft.source.diagnose("labeler-changed", draft.front.key_span(("labeler",)), problem, hint)
    elif status is LockStatus.document_changed and pin:
        consequence = "this changes no label"
        if pin.labeler is None:  # pinned by an older release, which did not say with which labeler
            consequence += ", unless `labeler` is what changed"
        problem = f"{draft.policy.ref} is published, but its front matter has changed since ({consequence})"
        yield draft.source.diagnose("lock-behind", where, problem, "record the change with `safeguard publish`")


@lru_cache(maxsize=8)
def _lock(path: Path, _files: tuple[tuple[Path, int], ...]) -> Lock:
    """The lock, read once for the same files with the same times."""
    return load_lock(path)


def _files(path: Path, has_strays: bool) -> Iterator[Path]:
    if path.is_file():
        policy = path.with_name(POLICY_FILE)
        yield policy if path.name == CASES_FILE and policy.is_file() else path
        return
    found = (file for file in path.rglob(POLICY_FILE) if not is_hidden(file.relative_to(path)))
    files = sorted(found)
    if not files and not has_strays:
        what = "contains no policy.md" if path.is_dir() else "does not exist"
        raise PolicyError(f"{path} {what}. Give a policy file, or a folder with policies/<name>/<version>/policy.md.")
    yield from files


def _display_path(path: Path) -> str:
    """The path relative to the current folder if it is inside it, so that reports are the same on every machine."""
    try:
        return path.resolve().relative_to(Path.cwd()).as_posix()
    except ValueError:
        return path.as_posix()
