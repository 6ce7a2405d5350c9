"""A policy is read as its author wrote it; one hash covers what can change a label, the other one everything."""

import contextlib
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.errors import PolicyError
from safeguard_spark.policy.document import Policy, Rule, load_policy, parse_policy, split_document
from safeguard_spark.policy.lock import Lock, LockStatus
from tests.unit.samples import POLICY, edited

pytestmark = pytest.mark.unit
SAMPLE = parse_policy(POLICY)
BODY = split_document(POLICY).body


def with_body(body: str) -> Policy:
    return changed(body=body)


def changed(**fields: Any) -> Policy:
    # Not model_copy, which would copy cached values.
    return Policy.model_construct(**{**dict(SAMPLE), **fields})


def test_the_body_is_kept_unchanged() -> None:
    assert SAMPLE.body == POLICY.split("---\n", 2)[2]
    assert SAMPLE.ref == "market@1.0.0"
    assert SAMPLE.rule_ids == ("M1", "M2")
    assert SAMPLE.categories == ("counterfeit", "stolen")


@given(st.data())
def test_any_change_of_one_character_changes_the_policy_hash_and_the_lock_refuses_it(data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(BODY) - 1))
    new = data.draw(st.text(max_size=1).filter(lambda c: c != BODY[index] and not 0xD800 <= ord(c or " ") <= 0xDFFF))
    other = with_body(BODY[:index] + new + BODY[index + 1 :])
    lock = Lock({}).with_policies([SAMPLE])
    assert other.policy_hash != SAMPLE.policy_hash
    assert lock.status(other) is LockStatus.changed
    with pytest.raises(PolicyError, match="bump the version"):
        lock.verify(other)


@pytest.mark.parametrize(
    "change",
    [
        ("owner: trust@", "owner: other@"),
        ("description: What", "description: Things that"),
        ("title: Stolen goods", "title: Stolen things"),
        ("severity: high", "severity: low"),
        ("labeler:", "languages: [en]\nlabeler:"),
        ("labeler:", "gate: {min_recall: 0.9}\nlabeler:"),
        ("labeler:", "links: {Guide: https://example.org}\nlabeler:"),
    ],
)
def test_what_cannot_change_a_label_changes_only_the_document_hash(change: tuple[str, str]) -> None:
    other = parse_policy(edited(POLICY, change))
    assert other.policy_hash == SAMPLE.policy_hash
    assert other.document_hash != SAMPLE.document_hash
    assert Lock({}).with_policies([SAMPLE]).status(other) is LockStatus.document_changed


@pytest.mark.parametrize("labeler", ["{effort: high}", "{effort: low, max_tokens: 64}", "{}"])
def test_another_labeler_changes_only_the_document_hash_and_the_lock_tells_it_from_metadata(labeler: str) -> None:
    other = parse_policy(edited(POLICY, ("labeler: {effort: low}", f"labeler: {labeler}"), ("trust@", "other@")))
    assert other.policy_hash == SAMPLE.policy_hash
    assert Lock({}).with_policies([SAMPLE]).status(other) is LockStatus.labeler_changed


@pytest.mark.parametrize(
    "change",
    [
        ("category: stolen", "category: theft"),
        ("id: M2", "id: M3"),
        ("output: full", "output: category"),
        ("Second-hand", "second-hand"),
        ("labeler:", "allowed: [M0]\nlabeler:"),
        ("labeler:", "answers: {violation: [Violating], safe: [Non-violating]}\nlabeler:"),
        ("labeler:", "review: [Escalate]\nlabeler:"),
    ],
)
def test_what_can_change_a_label_changes_the_policy_hash(change: tuple[str, str]) -> None:
    assert parse_policy(edited(POLICY, change)).policy_hash != SAMPLE.policy_hash


def test_the_hashes_of_a_policy_without_answer_words_are_those_of_existing_locks() -> None:
    assert SAMPLE.policy_hash == "950c1ec44d89355fab5fa3ea9362a911145f8aece325188ca0a04dfc22fa04ce"
    assert SAMPLE.document_hash == "dc39e6ab8a2fc3d44053a0d84780c46e3dbb5d13545219f24a8b0fc6a8dc4dcd"


@pytest.mark.parametrize("word", ["m2", "Stolen", "None", "TRUE", "0", "safe", "- "])
def test_a_word_for_review_means_nothing_else(word: str) -> None:
    with pytest.raises(PolicyError, match="would mean that a person must decide, and something else as well"):
        parse_policy(edited(POLICY, ("labeler:", f"review: [Escalate, {word!r}]\nlabeler:")))


def test_a_category_may_be_called_review_unless_the_policy_has_review() -> None:
    named = edited(POLICY, ("category: stolen", "category: Review"), ("stolen", "Review"))
    assert "Review" in parse_policy(named).categories
    with pytest.raises(PolicyError, match="`review` would mean"):
        parse_policy(edited(named, ("labeler:", "review: [Escalate]\nlabeler:")))


@given(st.text(min_size=1), st.text(min_size=1))
def test_hashes_do_not_depend_on_where_one_field_ends_and_the_next_begins(one: str, two: str) -> None:
    pairs = [(one, two), (one + two, "x"), ("x", one + two)]
    hashes = {
        changed(rules=(Rule.model_construct(id=a, category=b),)).policy_hash
        for a, b in pairs
        if not any(0xD800 <= ord(c) <= 0xDFFF for c in a + b)
    }
    assert len(hashes) in (0, len(set(pairs)))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("no front matter", "in line 1, the file does not begin with front matter (type three hyphens, `---`, on a"),
        ("---\nname: a\n\n# Text\n", "in line 3, the front matter has no end (type three hyphens"),
        (
            "---\nname: [a\nversion: 1.0.0\n---\nx",
            "in line 2, column 7, the bracket that opens here is not closed by `]`",
        ),
        ("---\n- a\n---\nx", "not a list of `key: value` lines"),
        ("---\n1: a\n---\nx", "`name` is missing"),
        ("---\nname: a\nversion: 1.0\n---\nx", "`version` must be a text, not the number 1.0"),
        ("---\nname: a\nversion: '1.0'\n---\nx", "`version` has a form that is not allowed: `1.0`"),
        ("---\nname: a\nversion: 1.0.0\nbody: b\n---\nx", "`body` is not a front matter key"),
        ("---\nname: a\nversion: 1.0.0\nouput: full\n---\nx", "`ouput` is not a key of this format"),
        ("---\nname: a\nversion: 1.0.0\n---\n \n", "no text after the front matter"),
        (edited(POLICY, ("id: M2", "id: M1")), "rule id M1 is defined more than once"),
        (edited(POLICY, ("category: stolen", "category: none")), "may not be `none`"),
        (
            edited(POLICY, ("labeler:", "answers: {violation: [], safe: [ok]}\nlabeler:")),
            "`answers.violation` must not be empty",
        ),
        (edited(POLICY, ("labeler:", "answers: {safe: [ok]}\nlabeler:")), "`answers.violation` is missing"),
        (edited(POLICY, ("labeler:", "answers: {violation: ['-'], safe: [ok]}\nlabeler:")), "an answer is empty"),
        (
            edited(POLICY, ("labeler:", "answers: {violation: [Not OK], safe: [not-ok]}\nlabeler:")),
            "`notok` would mean",
        ),
        (edited(POLICY, ("labeler:", "answers: {violation: ['0'], safe: [ok]}\nlabeler:")), "`0` would mean both"),
        (
            edited(POLICY, ("labeler:", "answers: {violation: [bad], safe: ['True']}\nlabeler:")),
            "`true` would mean both",
        ),
        ("---\nname: a\nname: b\n---\nx", "`name` is given twice, again in line 3"),
        (
            "---\nname: a\n---\nx\n<<<<<<< ours\ny\n=======\nz\n>>>>>>> theirs\n",
            "in line 5, the marks of a merge conflict",
        ),
        (
            "---\ndate: 2024-02-31\n---\nx",
            "in line 2, column 7, `2024-02-31` is read as a date, and there is no such day",
        ),
    ],
)
def test_a_policy_that_cannot_be_read_gives_one_sentence(text: str, problem: str) -> None:
    with pytest.raises(PolicyError, match=re.escape(problem)):
        parse_policy(text)


@given(st.text())
def test_any_text_is_a_policy_or_a_policy_error(text: str) -> None:
    for document in (text, f"---\n{text}\n---\nbody"):
        with contextlib.suppress(PolicyError):
            parse_policy(document)


def test_errors_name_the_file(tmp_path: Path) -> None:
    bad = tmp_path / "bad.md"
    bad.write_bytes(b"---\nname: a\n---\n\xff")
    with pytest.raises(PolicyError, match=r"bad\.md is not UTF-8 text \(byte 16\)"):
        load_policy(bad)
    with pytest.raises(PolicyError, match=r"missing\.md cannot be read: No such file"):
        load_policy(tmp_path / "missing.md")


def test_line_ends_and_a_byte_order_mark_do_not_change_the_hash(tmp_path: Path) -> None:
    file = tmp_path / "policy.md"
    file.write_bytes(b"\xef\xbb\xbf" + POLICY.replace("\n", "\r\n").encode())
    assert load_policy(file).policy_hash == SAMPLE.policy_hash
