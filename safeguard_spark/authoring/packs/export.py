"""Pack export: a policy and its cases in the form of public policy packs, a text and a CSV, for others to use.

The CSV is like those of the public packs: a row that says what it is, a header, then a text with its label and, where
cases judge a prompt and the response to it, both in one row. What a reader of the pack could not know is listed: the
pack is read back by `safeguard import`, and compared.
"""

import csv
import io
import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from safeguard_spark.authoring.cases import Case
from safeguard_spark.authoring.packs.pack import IMPORTED_FROM, read_pack
from safeguard_spark.errors import ConfigError, PolicyError
from safeguard_spark.policy.document import REVIEW, Answers, Policy, Severity
from safeguard_spark.policy.layout import POLICY_FILE
from safeguard_spark.whole_files import write_files

SHOWN_CASES = 5
HEADER = ("Example", "Classification", "Responses", "Response Label")
# What `safeguard import` puts around a text that leaves the answer's format to the program.
ADDED = re.compile(r"\A## Answer\n\n(?P<form>.+?)\n\n(?P<text>.*)\n\n## Output format\n\n(?P=form)\s*\Z", re.DOTALL)
READ_BACK = ("name", "version", "output", "rules", "allowed", "answers", "review", "body")  # what a pack can say
# What `safeguard import` writes by itself, so that nothing of the author's is lost.
OF_IMPORT = {"id": re.compile(r"(.+-)?row-\d+(-response)?"), "why": re.compile(r"(Row \d+ of .*)?")}


class Pack(NamedTuple):
    """A pack's two files as texts, and what of the policy is not in them. `golden` is empty without cases."""

    text: str
    golden: str
    lost: tuple[str, ...]


def export_pack(policy: Policy, cases: Sequence[Case]) -> Pack:
    """The pack of a policy and its cases."""
    match = ADDED.match(policy.body)
    text = f"{(match['text'] if match else policy.body).strip()}\n"
    golden = _golden(policy, cases) if cases else ""
    return Pack(text, golden, (*_without_place(policy, cases), *_read_back(policy, cases, text, golden)))


def write_pack(pack: Pack, name: str, folder: Path) -> list[Path]:
    """Write a pack's files into a folder and return them. Raises PolicyError instead of overwriting one."""
    files = _files(pack, name, folder)
    if existing := next((file for file in files if file.exists()), None):
        raise PolicyError(f"{existing} already exists. Name another folder.")
    try:
        write_files(files, make_folders=True)
    except OSError as error:
        raise PolicyError(
            f"{error.filename} cannot be written: {error.strerror}. Nothing was written; name another folder."
        ) from error
    return [*files]


def _files(pack: Pack, name: str, folder: Path) -> dict[Path, str]:
    texts = {folder / POLICY_FILE: pack.text, folder / f"{name}.csv": pack.golden}
    return {file: text for file, text in texts.items() if text}


def _golden(policy: Policy, cases: Sequence[Case]) -> str:
    stream = io.StringIO()
    write = csv.writer(stream, lineterminator="\n").writerow
    write([f"Cases of {policy.ref} as its author expects them; made to test the policy; no sample of real content"])
    write(HEADER)
    for row in _rows(policy, cases):
        write([*row, *[""] * (len(HEADER) - len(row))])
    return stream.getvalue()


def _rows(policy: Policy, cases: Sequence[Case]) -> Iterator[tuple[str, ...]]:
    """A row per text, with the response to it if both are cases; other conversations as JSON."""
    responses = {
        case.conversation[0].text: case
        for case in cases
        if case.conversation and [turn.role for turn in case.conversation] == ["user", "assistant"]
    }
    texts = {case.text for case in cases if case.text is not None}
    for case in cases:
        if case.text is not None:
            response = responses.get(case.text)
            answer = (
                (response.conversation[1].text, _label(policy, response)) if response and response.conversation else ()
            )
            yield (case.text, _label(policy, case), *answer)
        elif (
            case.conversation
            and responses.get(case.conversation[0].text) is case
            and case.conversation[0].text in texts
        ):
            continue  # in the row of its prompt
        else:
            turns = [{"role": turn.role, "content": turn.text} for turn in case.conversation or ()]
            yield json.dumps(turns, ensure_ascii=False), _label(policy, case)


def _label(policy: Policy, case: Case) -> str:
    """The label that the text has for what a case expects."""
    if case.violation == REVIEW:
        return next(iter(policy.review), REVIEW)
    if not case.violation:
        return next(iter(policy.allowed), policy.answers.safe[0] if policy.answers else "0")
    of_category = [rule.id for rule in policy.rules if rule.category == case.category]
    rules = [*case.rules] or (of_category if len(of_category) == 1 else [])
    return ", ".join(rules) or (policy.answers.violation[0] if policy.answers else "1")


def _without_place(policy: Policy, cases: Sequence[Case]) -> list[str]:
    fields = policy.model_dump(exclude_defaults=True)
    names = [name for name in Policy.model_fields if name not in READ_BACK and fields.get(name)]
    if policy.description.startswith(IMPORTED_FROM):
        names.remove("description")
    names += ["severities"] if any(rule.severity is not Severity.medium for rule in policy.rules) else []
    for name, words in (("id", "ids of cases"), ("why", "reasons of cases (why)")):
        if not all(OF_IMPORT[name].fullmatch(getattr(case, name)) for case in cases):
            names.append(words)
    return [f"{', '.join(names)}: a pack has no place for them"] if names else []


def _read_back(policy: Policy, cases: Sequence[Case], text: str, golden: str) -> list[str]:
    """What somebody who imports the pack gets otherwise than it is."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            write_files(_files(Pack(text, golden, ()), policy.name, Path(folder) / policy.name), make_folders=True)
            try:
                (read,) = read_pack(Path(folder) / policy.name, name=policy.name, version=policy.version)
            except PolicyError as error:
                return [f"the pack cannot be imported: {str(error).replace(f'{folder}/', '')}"]
    except OSError as error:
        raise ConfigError(
            f"The pack is read back from a temporary folder, which cannot be written: {error.strerror}. Make room, or "
            "name another one in TMPDIR."
        ) from error
    lost = [*_read_otherwise(policy, read.policy)]
    now, then = ({rule.id: (rule.category, rule.title) for rule in p.rules} for p in (read.policy, policy))
    lost += [f"rule {id} is not found in the text" for id in then.keys() - now.keys()]
    lost += [f"{id} is read as a rule" for id in now.keys() - then.keys()]
    lost += [f"rule {id} is read as {', '.join(now[id])}" for id in then.keys() & now.keys() if now[id] != then[id]]
    read_cases = {case.content_hash: case for case in read.cases}
    missing = [case for case in cases if case.content_hash not in read_cases]
    of_a_person = [case for case in missing if case.violation == REVIEW and not read.policy.review]
    lost += _of_cases(of_a_person, cases, "are not imported: a person must decide them, which is no answer of the text")
    lost += _of_cases([case for case in missing if case not in of_a_person], cases, "are not imported")
    other = [
        case
        for case in cases
        if case not in missing and _expected(policy, case) != _expected(read.policy, read_cases[case.content_hash])
    ]
    return sorted([*lost, *_of_cases(other, cases, "are imported with another label")])


def _read_otherwise(policy: Policy, read: Policy) -> Iterator[str]:
    """What an import takes from the text otherwise than the policy says it."""
    if read.output is not policy.output:
        yield f"output is imported as {read.output}: the text does not ask for {policy.output} as packs do"
    if read.answers != policy.answers:
        yield f"answers are imported as {_words(read.answers)}: the text does not ask for {_words(policy.answers)}"
    for name, meaning in (("allowed", "safe content"), ("review", "what a person must decide")):
        labels, imported = getattr(policy, name), getattr(read, name)
        if lost := [label for label in labels if label not in imported]:
            yield f"{name} is imported without {', '.join(lost)}: the text does not say that it means {meaning}"
        if added := [label for label in imported if label not in labels]:
            yield f"{name} is imported with {', '.join(added)}: the text says that it means {meaning}"
    if read.body.strip() != policy.body.strip():
        yield "the text is imported with an answer format before and after it"


def _words(answers: Answers | None) -> str:
    """The words of an answer: the first of each kind, which is the one that is required."""
    return f"{answers.violation[0]} and {answers.safe[0]}" if answers else "1 and 0"


def _expected(policy: Policy, case: Case) -> tuple[Any, ...]:
    """What a case expects: whether it is a violation, of which rules, and of which categories."""
    of_rules = {rule.category for rule in policy.rules if rule.id in case.rules}
    return case.violation, set(case.rules), of_rules or {case.expected_category}


def _of_cases(lost: Sequence[Case], cases: Sequence[Case], what: str) -> list[str]:
    more = ", …" if len(lost) > SHOWN_CASES else ""
    ids = ", ".join(case.id for case in lost[:SHOWN_CASES])
    return [f"{len(lost)} of {len(cases)} cases {what}: {ids}{more}"] if lost else []
