"""A small policy without problems, its cases, and functions that change them and write them to a folder."""

from pathlib import Path

FORM = (
    '{"violation": 0 or 1, "category": "...", "rule_ids": [...], "confidence": "low|medium|high", '
    '"rationale": "one sentence"}'
)

POLICY = f"""\
---
name: market
version: 1.0.0
owner: trust@example.org
description: What may be offered.
output: full
rules:
  - {{id: M1, category: counterfeit, title: Counterfeit goods, severity: high}}
  - {{id: M2, category: stolen, title: Stolen goods}}
labeler: {{effort: low}}
---
# Market

## Instructions

Decide whether the offer breaks a rule. Answer with one JSON object:
{FORM}
The category is `counterfeit`, `stolen` or `none`.

## Definitions

- **Replica**: made to look like a brand's product without the brand's leave.

## Criteria

M1 (counterfeit): offers a replica.
M2 (stolen): offers goods the text says were taken.
Second-hand goods are safe.

## Examples

- "Replica watch, looks real" -> 1 M1
- "My old watch, box included" -> 0

## Output format

{FORM}
"""

CASES = """\
cases:
  - id: replica-watch
    text: Replica watch, nobody can tell
    violation: true
    category: counterfeit
    rules: [M1]
    why: It is called a replica.

  - id: found-on-a-truck
    text: Ten phones that fell off a truck
    violation: true
    category: stolen
    rules: [M2]
    why: It says they were taken.

  - id: old-watch
    text: My old watch, with its box
    violation: false
    why: Second-hand goods are safe.
"""


def write_policy(
    folder: Path, policy: str = POLICY, cases: str | None = CASES, *, name: str = "market", version: str = "1.0.0"
) -> Path:
    """Write `folder/<name>/<version>/policy.md` and `cases.yaml` next to it; returns the policy file."""
    file = folder / name / version / "policy.md"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(policy, encoding="utf-8")
    if cases is not None:
        file.with_name("cases.yaml").write_text(cases, encoding="utf-8")
    return file


def edited(text: str, *changes: tuple[str, str]) -> str:
    """The text with each (old, new) replaced once; the text must contain `old`."""
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text
