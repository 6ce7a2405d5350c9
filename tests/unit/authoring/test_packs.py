"""Packs as people publish them: each kind of heading, answer and folder is read, or refused with what to write."""

from pathlib import Path
from typing import NamedTuple

import pytest

from safeguard_spark.authoring.cases import load_cases
from safeguard_spark.authoring.check import check_file
from safeguard_spark.authoring.packs.answers import read_answer_form
from safeguard_spark.authoring.packs.labels import Labels, read_labels
from safeguard_spark.authoring.packs.pack import read_pack, write_packs
from safeguard_spark.errors import PolicyError
from safeguard_spark.labelling.contract import Contract
from safeguard_spark.labelling.verdict import Completion, Outcome, read
from safeguard_spark.policy.document import load_policy
from tests.unit.commands import Safeguard

pytestmark = pytest.mark.unit


class Found(NamedTuple):
    """What should be found in a text: rules by id, labels of safe content, and labels left to a person."""

    rules: tuple[str, ...]
    allowed: tuple[str, ...] = ()
    review: tuple[str, ...] = ()


HEADINGS = {
    "bold lines": ("# Pets\n**PET1: Wild animals.**\nText.\n\n**PET2: Cruelty**\nText.", Found(("PET1", "PET2"))),
    "a code in brackets": ("# Pets\n## Labels\n### (CRUEL) Cruelty\n#### Includes\n- kicks", Found(("CRUEL",))),
    "codes in square brackets": (
        "# Forum\n### [DOX] Doxxing\n### [RAID] Raids\n### [FINE] Allowed talk", Found(("DOX", "RAID"), ("FINE",)),
    ),
    "code, then title": ("# Forum\n## F1 Insults\n## F2 - Threats\n## F3. Raids", Found(("F1", "F2", "F3"))),
    "two sections for each code": (
        "# Ads\n### AL (Alcohol) - VIOLATES\n- x\n### AL (Alcohol) - SAFE\n- y\n### TB (Tobacco) - VIOLATES\n- z",
        Found(("AL", "TB")),
    ),
    "counted rules": ("# Market\n## Rule 1: Replicas\n## Rule 2 - Stolen goods", Found(("Rule-1", "Rule-2"))),
    "a list of labels": (
        "# Forum\nLabels:\n- `F0`: nothing wrong, allowed\n- `F1`: Insults. Of anyone.\n- `F2`: Threats",
        Found(("F1", "F2"), ("F0",)),
    ),
    "what a list says after a title": (
        "# Bets\n**BT1: Tips** - sells\n- BT0: Sport - allowed\n- BT2: Fixed games. Also when allowed talk quotes it",
        Found(("BT1", "BT2"), ("BT0",)),
    ),
    "a table of codes": ("# A\n| Code | Meaning |\n|---|---|\n| **A1** | Fraud |\n| A2 | Theft |", Found(("A1", "A2"))),
    "an answer's example": (
        'Hate.\n- H3.b threats of harm\nReturn {"violation": 1, "policy_category": "H3.b"}', Found(("H3.b",)),
    ),
    "ids in a list of an answer": (
        'Return {"violation": 1, "rule_ids": ["X1", "X2"]}\nX1: Lies\nX2: Theft', Found(("X1", "X2")),
    ),
    "safe headings by their words": (
        "# Spam\n## Not Spam (SP0)\n## No violation (SP7)\n## Non-spam talk (SP8)\n## Link farms (SP9)",
        Found(("SP9",), ("SP0", "SP7", "SP8")),
    ),
    "safe headings by those above": (
        "# Pets\n## Not allowed\n### P1 Wild animals\n## Permitted\n### P2 Goldfish", Found(("P1",), ("P2",)),
    ),
    "words that only look safe": (
        "# Images\n## Non-consensual imagery (NC1)\n## Not permitted: doxxing (NC2)\n## Unsafe links (NC3)",
        Found(("NC1", "NC2", "NC3")),
    ),
    "left to a person": (
        "# Pets\n## P1 Cruelty\n## P2 News of cruelty - requires human review\n## P3 Escalate to the police: threats",
        Found(("P1", "P3"), (), ("P2",)),
    ),
    "sub-rules belong to their rule": ("# A\n## Fraud (A1 - high)\nA1.a lies\n- A1.b: theft", Found(("A1",))),
    "headings that are no rules": ("# A policy (#AP)\n## Format (JSON)\n## GOAL: be kind\nA gift (G1)", Found(())),
}  # fmt: skip


@pytest.mark.parametrize("shape", HEADINGS)
def test_the_labels_of_a_text_are_found(shape: str) -> None:
    text, expected = HEADINGS[shape]
    labels = read_labels(text)
    assert Found(tuple(rule.id for rule in labels.rules), labels.allowed, labels.review) == expected
    assert len({rule.category for rule in labels.rules}) == len(labels.rules)


ANSWERS = {  # a text, and what the answers of a model mean under the imported policy
    "two words": ('Answer with one word: "Offensive" if it violates the policy, "Fine" otherwise.',
                  {"Offensive": True, "fine": False, "It is Fine, I think": None}),
    "three words": ("Respond with REMOVE, KEEP or ESCALATE.", {"REMOVE": True, "keep": False, "ESCALATE": "review"}),
    "words in a list": ("Output one of:\n- **Unsafe**: breaks a rule\n- **Safe**: breaks none\n- **Unsure**: in doubt",
                        {"Unsafe": True, "safe": False, "Unsure": "review"}),
    "yes and no": ("Does it break a rule? Reply YES if it violates the rules and NO if it does not.",
                   {"YES": True, "No": False}),
    "digits": ("Return 1 if the post is an advert, 0 if it is not.", {"1": True, "0": False}),
    "two keys": ('# A\n## Fraud (A1 - x)\nReturn JSON:\n{"violation": 0 or 1, "policy_category": "fraud"}',
                 {'{"violation": 1, "policy_category": "A1"}': True, '{"violation": 0, "category": "none"}': False}),
    "two keys and a word for a person": (
        '# A\n## Fraud (A1)\nAnswer {"violation": 0 or 1, "policy_category": "fraud" or "none"}; "escalate" if unsure.',
        {'{"violation": 1, "policy_category": "fraud"}': True, '{"violation": 0, "policy_category": "none"}': False}),
    "two keys with words": ('# A\n## Fraud (A1 - x)\n{"violation": "Bad" | "Safe", "policy_category": "A1"}',
                            {'{"violation": "Bad", "policy_category": "A1"}': True}),
    "none": ("# A\n## Fraud (A1 - high)\nLies about goods.", {
        '{"violation": 1, "category": "fraud", "rule_ids": ["A1"], "confidence": "low", "rationale": "x"}': True}),
}  # fmt: skip


@pytest.mark.parametrize("shape", ANSWERS)
def test_the_answer_that_a_text_asks_for_is_read_under_the_imported_policy(shape: str, tmp_path: Path) -> None:
    text, meanings = ANSWERS[shape]
    (tmp_path / "bazaar.txt").write_text(text)
    (imported,) = read_pack(tmp_path / "bazaar.txt")
    (file,) = write_packs([imported], tmp_path)
    assert [d for d in check_file(file) if d.level == "error"] == []
    policy = load_policy(file)
    for answer, meaning in meanings.items():
        verdict = read(Completion("stop", text=answer), Contract.of(policy))
        outcomes = {None: Outcome.unparseable, "review": Outcome.review}
        assert verdict.outcome is outcomes.get(meaning, Outcome.labelled), (answer, verdict)  # type: ignore[call-overload]
        assert verdict.violation is (meaning if isinstance(meaning, bool) else None)
    assert text in policy.body


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Reply `hot` or `cold`.", "answers hot and cold, and does not say which of them means a violation"),
        ("Answer GREEN or AMBER only.", "answers GREEN and AMBER"),
        ('Return JSON:\n{"label": "spam", "reason": "why"}', "a JSON object with `label`, `reason`"),
        ('Reply with {"topic": "x", "reason": "why"} only.', "a JSON object with `topic`, `reason`"),
        ('Output format:\n```json\n{"score": 0.0, "topic": "x"}\n```', "a JSON object with `score`, `topic`"),
    ],
)
def test_another_answer_is_refused_with_what_to_write(text: str, message: str) -> None:
    with pytest.raises(PolicyError, match=r"Ask in the text for one of: 1 or 0; two words") as refused:
        read_answer_form(text)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("Rate how severe the post is on a scale of 1-5.", "a number on a scale"),
        ("# Ads\nRules.\n\n**Output**: give a risk from 0.0 to 1.0, rounded.", "a number on a scale"),
        ("You must return a likelihood between 0 % and 100 %.", "a number on a scale"),
        ("Reply with a percentage.", "a score or a number"),
        ("Decide, then output only a confidence score.", "a score or a number"),
        ("Answer 0, 1 or 2.", "one of several numbers"),
        ("- Respond with 1, 2, 3 or 4 and nothing else", "one of several numbers"),
        ("Respond in YAML with the key label.", "XML, YAML, CSV or other markup"),
        ("Return <decision>remove</decision> at the end.", "XML, YAML, CSV or other markup"),
        ("Answer in one short paragraph.", "a text"),
        ("Please give a summary.", "a text"),
        ("Answer P or Q.", "the answers P and Q, and does not say which"),
        ("Output `low`, `medium`, `high` or `severe`.", "the answers low and medium and high and severe"),
    ],
)
def test_a_form_of_answer_that_no_policy_can_have_is_refused(text: str, what: str) -> None:
    for whole in (text, f"# Pets\n## Cruelty (P1 - high)\nKicks.\n\n{text}\n\n## More\nNo bites."):
        with pytest.raises(PolicyError, match="Ask in the text for one of: 1 or 0; two words") as refused:
            read_answer_form(whole)
        assert f"The text asks for {what}" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("Reply with one word: KEEP, HIDE or REMOVE.", "HIDE"),
        ("Answer REJECT if it violates a rule, BLUR if it is graphic, ACCEPT otherwise.", "BLUR"),
        ("Return one of:\n- **Unsafe**: breaks a rule\n- **Rude**: insults\n- **Safe**: breaks none", "Rude"),
    ],
)
def test_a_word_that_a_text_offers_as_answer_is_never_left_out(text: str, unknown: str) -> None:
    with pytest.raises(PolicyError, match=f"does not say whether {unknown} means a violation, safe content, or"):
        read_answer_form(text)


def test_every_word_for_a_violation_and_for_safe_content_is_an_answer() -> None:
    answers = read_answer_form("Answer with one word: BLOCK, REMOVE, KEEP or ALLOW.").answers
    assert answers is not None and (answers.violation, answers.safe) == (("BLOCK", "REMOVE"), ("KEEP", "ALLOW"))
    answers = read_answer_form('Reply "Bad" if it violates the policy and "Good" if not. ONLY one word.').answers
    assert answers is not None and (answers.violation, answers.safe) == (("Bad",), ("Good",))


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("Answer with one number: 1 or 0.", "binary"),
        ("Respond with a single digit, 0/1.", "binary"),
        ("Return 1 if the post breaks rule 2 or 3, and 0 if it breaks none.", "binary"),
        ("Answer VIOLATES or SAFE and give a short explanation.", "binary"),
        ("Users who reply with 3 to 5 links are spammers. Posts that rate doctors from 1 to 5 are fine.", None),
        ("People return <b>goods</b> within 5 to 10 days. Never output of a shop in XML.", None),
    ],
)
def test_what_only_looks_like_another_form_is_no_form(text: str, output: str | None) -> None:
    assert read_answer_form(text).output == output


@pytest.mark.parametrize(
    "line",
    [
        'Return only JSON: {"L": 0 or 1, "M": 0 or 1}',
        'For each "post", JSON only: {"L": 0/1, "M": 0/1}',
        'Nothing else than this object. {"L": true/false, "M": true/false}',
        'Your answer:\n\n```json\n{\n  "L": 0 or 1,\n  "M": 0 or 1\n}\n```',
    ],
)
@pytest.mark.parametrize("is_last", [False, True])
def test_flags_are_found_wherever_their_object_stands(safeguard: Safeguard, line: str, is_last: bool) -> None:
    rules = "### L (Loans) - VIOLATES\n- debts\n### M (Medicine) - VIOLATES\n- pills\n"
    Path("shop.md").write_text(f"# Shop\n{rules}{line}\n" if is_last else f"# Shop\n{line}\n{rules}")
    assert safeguard("import", "shop.md", "--split").code == 0
    files = [Path(f"policies/shop-{name}/1.0.0/policy.md") for name in ("loans", "medicine")]
    assert [load_policy(file).rule_ids for file in files] == [("L",), ("M",)]
    assert ["pills" in load_policy(file).body for file in files] == [False, True]


FLAGS = """\
# Chat rules
Return a JSON object:
```json
{"RUDE": 0 or 1, "SPAM": true or false}
```
## Definitions
| Flag | Category | Meaning |
|---|---|---|
| **RUDE** | Rude | insults |
| **SPAM** | Adverts / Shops | sells |
### RUDE (Rude) - VIOLATES
- names
### SPAM (Adverts / Shops) - VIOLATES
- shops
"""


def test_flags_become_one_policy_each(safeguard: Safeguard) -> None:
    Path("chat").mkdir()
    Path("chat/policy").write_text(FLAGS)
    Path("chat/set.csv").write_text("text,RUDE,SPAM\nYou fool,1,0\nBuy tea,0,1\nHello,0,0\n")
    refused = safeguard("import", "chat")
    assert (refused.code, "2 flags in one answer (RUDE, SPAM)" in refused.err) == (3, True)
    assert "Add --split" in refused.err and not Path("policies").exists()
    for _ in range(2):
        ran = safeguard("import", "chat", "--split", "--strict")
        assert ran.code == 6 and "LOST the JSON object of 2 flags, and 1 section on the other flags" in ran.out
        assert "Nothing was written, because of --strict" in ran.out and not Path("policies").exists()
    assert safeguard("import", "chat", "--split").code == 0
    files = [Path(f"policies/chat-{name}/1.0.0/policy.md") for name in ("rude", "adverts-shops")]
    assert [d for file in files for d in check_file(file) if d.level == "error"] == []
    rude, adverts = (load_policy(file) for file in files)
    assert ("names" in rude.body, "shops" in rude.body, "json" in rude.body) == (True, False, False)
    assert ("names" in adverts.body, adverts.rule_ids) == (False, ("SPAM",))
    words = "engine.args.words={fool: RUDE, tea: SPAM}"
    assert (
        safeguard("verify", "chat-rude", "chat-adverts-shops", "--set", "engine.kind=scripted", "--set", words).code
        == 0
    )
    Path("plain.txt").write_text("No shouting.")
    assert "nothing to split" in safeguard("import", "plain.txt", "--split").err


def test_files_of_one_pack_that_share_a_content_give_one_case_and_strict_refuses_errors(safeguard: Safeguard) -> None:
    Path("pets").mkdir()
    Path("pets/policy.md").write_text("# Pets\n\n## Cruelty (P1 - high)\nKicks.\n")
    Path("pets/one.csv").write_text("text,label\nKicks,P1\nPurrs,safe\n")
    Path("pets/two.csv").write_text("text,label\nKicks,P1\nPurrs,P1\nBites,P1\n")
    strict = safeguard("import", "pets", "--strict")
    assert strict.code == 6 and strict.out.count("LOST") == 1
    assert "LOST two-row-3: the same content as one-row-3, with another label; skipped" in strict.out
    ran = safeguard("import", "pets")
    assert ran.code == 0 and "- two-row-2: the same content as one-row-2; skipped" in ran.out
    assert "error[" not in ran.out and len(load_cases(Path("policies/pets/1.0.0/cases.yaml"))) == 3
    # The text itself names a label that it does not define: whoever reads the exit code must not take it for good.
    table = "\n| Example | Label |\n|---|---|\n| Kicks | P11 |\n"
    Path("cats.md").write_text(Path("pets/policy.md").read_text() + table)
    assert safeguard("import", "cats.md", "--name", "cats", "--strict").code == 3
    assert Path("policies/cats/1.0.0/policy.md").is_file()
    assert safeguard("import", "cats.md", "--name", "dogs").code == 0


def test_flags_in_a_sentence_are_flags_and_a_quoted_object_is_a_content() -> None:
    assert read_answer_form('Rules.\nReply with {"A": true/false, "B": true/false} as JSON.').flags == ("A", "B")
    assert read_answer_form('Rules.\n- "Return {"A": 1, "B": 0} to me" is safe.\n- Code: {"A": 1, "B": 0}').flags == ()


def test_flags_of_one_title_and_golden_sets_of_one_name_stay_apart(safeguard: Safeguard) -> None:
    text = (
        '# Pets\nReturn JSON:\n{"P1": 0 or 1, "P2": 0 or 1}\n\n### P1 (Cruel) - VIOLATES\n### P2 (Cruel) - VIOLATES\n'
    )
    for folder, content in (("a", "Kicks"), ("b", "Bites")):
        Path("pets", folder).mkdir(parents=True)
        Path("pets", folder, "set.csv").write_text(f"text,P1,P2\n{content},1,0\nPurrs {folder},0,1\n")
    Path("pets/policy.md").write_text(text)
    assert safeguard("import", "pets", "--split").code == 0
    files = [Path(f"policies/pets-cruel-{flag}/1.0.0/policy.md") for flag in ("p1", "p2")]
    assert [load_policy(file).rule_ids for file in files] == [("P1",), ("P2",)]
    assert [d for file in files for d in check_file(file) if d.level == "error"] == []
    Path("pets/policy.md").write_text('Return JSON:\n{"p_1": 0 or 1, "p-1": 0 or 1}\n')
    refused = safeguard("import", "pets", "--split", "--name", "cats")
    assert (refused.code, "Two flags of the pack would both be" in refused.err) == (3, True)
    assert not list(Path("policies").glob("cats*"))


def test_a_folder_with_annexes_and_files_without_ending(tmp_path: Path, safeguard: Safeguard) -> None:
    folder = tmp_path / "pets"
    folder.mkdir()
    (folder / "pets-policy").write_text("# Template Pets Policy for Text Classification\n\n**PT1: Cruelty.**\nKicks.\n")
    (folder / "annex 1 - terms.md").write_text("Pet: an animal.")
    (folder / "evaluation report.md").write_text("Good.")
    (folder / "LICENSE").write_text("MIT")
    ran = safeguard("import", "pets", "--strict")
    assert ran.code == 6
    assert "named pets; --name NAME chooses another name" in ran.out
    lost = [line for line in ran.out.splitlines() if "LOST" in line]
    assert [line.split("LOST ")[1].partition(" (")[0] for line in lost] == [
        "annex 1 - terms.md",
        "evaluation report.md",
    ]
    assert safeguard("import", "pets/pets-policy", "--name", "animals", "--strict").code == 0


@pytest.mark.parametrize(
    ("file", "text", "name"),
    [
        ("x.txt", "# Criteria\n\n## Weapons\nNo guns.", "weapons"),
        ("x.txt", "# Community Guidelines: Bullying Policy (#B)\n", "community-guidelines-bullying"),
        ("gambling_v3.md", "# Overview\nNo bets.", "gambling"),
        ("x.txt", "Bets Policy v2.1\n\n# Criteria\n", "bets"),
        ("x.md", "---\ntitle: Deepfakes\nlayout: page\n---\n# Criteria\nNone.", "deepfakes"),
    ],
)
def test_a_name_is_found_in_what_says_something(tmp_path: Path, file: str, text: str, name: str) -> None:
    (tmp_path / file).write_text(text)
    (imported,) = read_pack(tmp_path / file)
    assert imported.policy.name == name
    assert any(f"named {name}; --name NAME" in note for note in imported.notes)
    assert bool(imported.lost) == ("layout" in text)


def test_nothing_of_a_text_is_named_or_lost_without_saying_so(tmp_path: Path) -> None:
    (tmp_path / "policy.txt").write_text("# Rules\n")
    (imported,) = read_pack(tmp_path / "policy.txt", name="mine")
    assert not any("named" in note for note in imported.notes)
    assert read_labels("") == Labels()
