"""Policy import: policy packs written for gpt-oss-safeguard and others like it, converted to this format.

A pack is a folder with a policy's text and golden sets, like ROOST's and OpenAI's, or a plain policy text. The text
stays as it is. The answer format is added before and after it where the text leaves the format to the program.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safeguard_spark.authoring.cases import Case, dump_cases
from safeguard_spark.authoring.new import (
    FIRST_VERSION,
    NewPolicy,
    answer_format,
    document_text,
    require_valid_ref,
    write_new,
)
from safeguard_spark.authoring.packs.answers import AnswerForm, read_answer_form, without_flags
from safeguard_spark.authoring.packs.files import find_files, lost_file, policy_name, read_any_text, read_policy_text
from safeguard_spark.authoring.packs.golden import Golden, Vocabulary, add_case, read_golden
from safeguard_spark.authoring.packs.headers import Columns
from safeguard_spark.authoring.packs.labels import Labels, read_labels
from safeguard_spark.errors import PolicyError
from safeguard_spark.policy.document import Answers, Output, Policy, Rule, parse_policy
from safeguard_spark.policy.layout import POLICY_FILE
from safeguard_spark.policy.names import slug
from safeguard_spark.policy.ref import policy_names, require_distinct_name
from safeguard_spark.terminal import counted

LABELS_IN_NOTES = 12
FILES_IN_NOTES = 20
IMPORTED_FROM = "Imported from"  # how the description of an imported policy begins


@dataclass(frozen=True)
class Imported:
    """A policy made from a pack: the file's text, its cases, the importer's decisions, and what was not imported."""

    policy: Policy
    text: str
    cases: tuple[Case, ...]
    notes: tuple[str, ...]
    lost: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Source:
    """What a pack says, before it becomes a policy."""

    name: str
    file: Path
    text: str
    labels: Labels
    form: AnswerForm
    lost: tuple[str, ...]


def read_pack(
    path: Path,
    *,
    golden: Path | None = None,
    name: str | None = None,
    version: str = FIRST_VERSION,
    columns: Columns = Columns(),
    split: bool = False,
) -> list[Imported]:
    """Read a pack's folder or a policy text: one policy, or with `split` one per flag of its answer.

    `golden` is the file to read the cases from, if it is not in the folder; `columns` are its columns, if they are not
    to be found by their meaning. Raises PolicyError unless there is exactly one policy text, whose answer can be read,
    and for named columns that are not there.
    """
    files = find_files(path)
    text, front = read_policy_text(files.policy)
    form, labels = read_answer_form(text), read_labels(text)
    form = replace(form, review=(*form.review, *(label for label in labels.review if label not in form.review)))
    lost = [lost_file(other, path) for other in files.others[:FILES_IN_NOTES]]
    if len(files.others) > FILES_IN_NOTES:
        lost.append(counted(len(files.others) - FILES_IN_NOTES, "more file", "more files"))
    lost += [f"front matter of {files.policy.name}: {', '.join(front)}"] if front else []
    source = _Source(
        name or policy_name(files.policy, text, front) or "imported", files.policy, text, labels, form, tuple(lost)
    )
    require_valid_ref(source.name, version)
    if form.flags and not split:
        raise PolicyError(
            f"{files.policy} asks for {len(form.flags)} flags in one answer ({', '.join(form.flags)}), and a policy "
            "has one question. Add --split to import one policy per flag."
        )
    if split and not form.flags:
        raise PolicyError(
            f"{files.policy} asks for no JSON object of flags, so there is nothing to split. Leave out --split."
        )
    sources = [_of_flag(source, flag) for flag in form.flags] if split else [source]
    golden_files = (golden,) if golden else files.golden
    return [_imported(one, version, golden_files, columns, is_named=name is not None) for one in sources]


def write_packs(imported: list[Imported], folder: Path) -> list[Path]:
    """Write `<folder>/<name>/<version>/` for each and return the policy files. Raises PolicyError, before it writes
    anything, instead of overwriting one."""
    files = [folder / one.policy.name / one.policy.version / POLICY_FILE for one in imported]
    for file in files:
        require_distinct_name(file.parents[1].name, policy_names(folder))
        if file.exists():
            raise PolicyError(f"{file} already exists. Choose another --name or --version.")
        if files.count(file) > 1:
            raise PolicyError(f"Two flags of the pack would both be {file}. Give one another name in the pack's text.")
    return write_new(
        [
            NewPolicy(file, one.text, dump_cases(one.cases) if one.cases else None)
            for file, one in zip(files, imported, strict=True)
        ]
    )


def _imported(source: _Source, version: str, golden: tuple[Path, ...], columns: Columns, *, is_named: bool) -> Imported:
    labels, form = source.labels, source.form
    output = form.output or (Output.full if labels.rules else Output.binary)
    # A text that only uses two words, and does not ask for them, gets the usual answer: models may give either.
    is_usual = form.answers is not None and form.output is None and bool(labels.rules)
    answers = form.answers
    if answers and is_usual:
        answers = Answers(violation=("1", *answers.violation), safe=("0", *answers.safe))
    front: dict[str, Any] = {
        "name": source.name,
        "version": version,
        "description": f"{IMPORTED_FROM} {source.file.name}.",
        "output": output.value,
        "rules": [{"id": r.id, "category": r.category, "title": r.title} for r in labels.rules],
        "allowed": list(labels.allowed),
        "answers": answers.model_dump(mode="json") if answers else None,
        "review": list(form.review),
    }
    body = source.text.strip()
    is_complete = form.output in (Output.category, Output.full)  # the text states its own format in JSON
    if not is_complete:
        body = _with_answer_format(source, output, answers, form.answers if is_usual else None)
    golden_set = _golden(golden, Vocabulary(labels, form.answers, bool(form.review)), columns)
    document = document_text({key: value for key, value in front.items() if value}, body)
    policy = parse_policy(document)
    listed = ", ".join(rule.id for rule in labels.rules[:LABELS_IN_NOTES])
    notes = [
        *([] if is_named else [f"named {source.name}; --name NAME chooses another name"]),
        f"{counted(len(labels.rules), 'rule', 'rules')}: {listed}" if labels.rules else "no rules in the text",
        *([f"no violation: {', '.join(labels.allowed)}"] if labels.allowed else []),
        *([f"left to a person: {', '.join(form.review)}"] if form.review else []),
        f"output is {output.value}: " + _decision(form, answers, is_complete),
    ]
    return Imported(policy, document, golden_set.cases, (*notes, *golden_set.notes), (*source.lost, *golden_set.lost))


def _decision(form: AnswerForm, answers: Answers | None, is_complete: bool) -> str:
    if is_complete:
        return "the text states it, and is unchanged"
    words = f", with the words {answers.violation[-1]} and {answers.safe[-1]}" if answers else ""
    asks = "the text asks for it" if form.output else "the text leaves it open"
    return f"{asks}{words}; the answer format was added before and after the text, which is otherwise unchanged"


def _with_answer_format(source: _Source, output: Output, answers: Answers | None, words: Answers | None) -> str:
    """The text between two statements of the answer format. `words`: that the text uses for what is 1 and 0."""
    rules, allowed, review = source.labels.rules, source.labels.allowed, source.form.review
    lines = [answer_format(output, rules, None if words else answers, review)]
    if output is not Output.binary:
        if rules:
            pairs = ", ".join(f"{rule.id} is `{rule.category}`" for rule in rules)
            lines.append(f"Rule ids and their categories: {pairs}.")
        if allowed:
            lines.append(f"{' and '.join(allowed)} violates nothing: violation 0, category `none`, no rule ids.")
        if words:
            lines.append(f"{words.safe[0]} below means violation 0, {words.violation[0]} means violation 1.")
    form = "\n".join(lines)
    return f"## Answer\n\n{form}\n\n{source.text.strip()}\n\n## Output format\n\n{form}"


def _of_flag(source: _Source, flag: str) -> _Source:
    """The part of a pack that is about one flag: without the sections of the others, and without the JSON object."""
    rule = next((rule for rule in source.labels.rules if rule.id == flag), None) or Rule(id=flag, category=slug(flag))
    text = without_flags(source.text, source.form.flags)
    kept, num_left_out, is_other = list[str](), 0, False
    others = [other for other in source.form.flags if other != flag]
    for line in text.splitlines():
        if line.lstrip().startswith("|") and line.strip(" |*`").split("|")[0].strip(" *`") in others:
            continue  # a row of a table of all flags
        if re.match(r"#{1,6}\s|---\s*$", line):
            title = line.strip("#* ")
            is_other = any(
                re.match(rf"[(\[`]*{re.escape(other)}[)\]`]*(?![A-Za-z0-9])(?!\s*=)", title)
                or re.search(rf"[(\[]{re.escape(other)}\s*(?:[-–—:,][^)\]]*)?[)\]]\W*$", title)
                for other in others
            )
            num_left_out += is_other
        if not is_other:
            kept.append(line)
    about = f"Judge `{flag}` ({rule.title or rule.category}) only; ignore what is said about other flags and JSON."
    sections = counted(num_left_out, "section", "sections")
    left_out = (f"the JSON object of {len(source.form.flags)} flags, and {sections} on the other flags",)
    name = f"{source.name}-{slug(rule.category)}"  # of two flags with one title, the categories differ
    form = AnswerForm(Output.binary)
    return _Source(
        name, source.file, f"{about}\n\n" + "\n".join(kept), Labels((rule,)), form, (*source.lost, *left_out)
    )


def _golden(files: tuple[Path, ...], vocabulary: Vocabulary, columns: Columns) -> Golden:
    """The golden sets of all files as one."""
    if not files and any(columns):
        raise PolicyError(
            "--text-column and --label-column name columns of a golden set, and there is none: add --golden."
        )
    if not files:
        return Golden((), ("no golden set in the pack, so no cases; add one with --golden FILE",))
    sets = [read_golden(read_any_text(file), vocabulary, file.name, columns) for file in files]
    cases: dict[str, Case] = {}
    notes, lost = ([item for one in sets for item in getattr(one, name)] for name in ("notes", "lost"))
    stems = [slug(file.stem) for file in files]
    for number, (stem, golden_set) in enumerate(zip(stems, sets, strict=True), 1):
        prefix = "" if len(files) == 1 else f"{stem}-" if stems.count(stem) == 1 else f"{stem}-{number}-"
        for case in golden_set.cases:
            case = case.model_copy(update={"id": (prefix + case.id)[-80:]})
            add_case(cases, case, case.id, notes, lost)
    return Golden(tuple(cases.values()), tuple(notes), tuple(lost))
