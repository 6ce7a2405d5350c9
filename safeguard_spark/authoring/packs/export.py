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
from safeguard_spark.authoring.packs.pack import read_pack
from safeguard_spark.errors import PolicyError
from safeguard_spark.policy.document import REVIEW, Policy, Severity
from safeguard_spark.policy.layout import POLICY_FILE

HEADER = ("Example", "Classification", "Responses", "Response Label")
# What `safeguard import` puts around a text that leaves the answer's format to the program.
ADDED = re.compile(r"\A## Answer\n\n(?P<form>.+?)\n\n(?P<text>.*)\n\n## Output format\n\n(?P=form)\s*\Z", re.DOTALL)
NO_PLACE = ("owner", "languages", "links", "labeler", "gate", "allow")  # in the front matter, and in no pack
COMPARED = ("output", "allowed", "answers", "review", "body")


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
    return Pack(text, golden, (*_without_place(policy), *_read_back(policy, cases, text, golden)))


def write_pack(pack: Pack, name: str, folder: Path) -> list[Path]:
    """Write a pack's files into a folder and return them. Raises PolicyError instead of overwriting one."""
    texts = {folder / POLICY_FILE: pack.text, folder / f"{name}.csv": pack.golden}
    files = {file: text for file, text in texts.items() if text}
    if existing := next((file for file in files if file.exists()), None):
        raise PolicyError(f"{existing} already exists. Name another folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise PolicyError(f"{folder} cannot be written: {error.strerror}. Name another folder.") from error
    return [*files]


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


def _without_place(policy: Policy) -> list[str]:
    fields = policy.model_dump(exclude_defaults=True)
    names = [name for name in NO_PLACE if fields.get(name)]
    names += ["severities"] if any(rule.severity is not Severity.medium for rule in policy.rules) else []
    return [f"{', '.join(names)}: a pack has no place for them"] if names else []


def _read_back(policy: Policy, cases: Sequence[Case], text: str, golden: str) -> list[str]:
    """What somebody who imports the pack gets otherwise than it is."""
    with tempfile.TemporaryDirectory() as folder:
        write_pack(Pack(text, golden, ()), policy.name, Path(folder) / policy.name)
        try:
            (read,) = read_pack(Path(folder) / policy.name, name=policy.name, version=policy.version)
        except PolicyError as error:
            return [f"the pack cannot be imported: {str(error).replace(f'{folder}/', '')}"]
    differing = [name for name in COMPARED if _value(policy, name) != _value(read.policy, name)]
    lost = [f"{name} is read as {_words(_value(read.policy, name))}" for name in differing if name != "body"]
    lost += ["an answer format is added to the text, which states one already"] if "body" in differing else []
    now, then = ({rule.id: (rule.category, rule.title) for rule in p.rules} for p in (read.policy, policy))
    lost += [f"rule {id} is not found in the text" for id in then.keys() - now.keys()]
    lost += [f"{id} is read as a rule" for id in now.keys() - then.keys()]
    lost += [f"rule {id} is read as {', '.join(now[id])}" for id in then.keys() & now.keys() if now[id] != then[id]]
    expected = {case.content_hash: (case.violation, set(case.rules)) for case in read.cases}
    other = [case.id for case in cases if expected.get(case.content_hash) != (case.violation, set(case.rules))]
    lost += [f"{len(other)} of {len(cases)} cases are read otherwise or not: {', '.join(other[:5])}"] if other else []
    return sorted(lost)


def _value(policy: Policy, name: str) -> Any:
    value = getattr(policy, name)
    return value.strip() if name == "body" else value


def _words(value: Any) -> str:
    return json.dumps(value.model_dump() if hasattr(value, "model_dump") else value, ensure_ascii=False)
