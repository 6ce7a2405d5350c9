"""A policy of three rules and versions of it."""

from safeguard_spark.policy.document import Policy, parse_policy

TEXT = """\
---
name: market
version: {version}
rules:
  - {{id: M1, category: counterfeit}}
  - {{id: M2, category: weapons}}
  - {{id: M3, category: drugs}}
---
# Rules

## Definitions

- **Offer**: a post.

## Criteria

- M1: no replicas.
- M2: {weapons}
- M3: no pills.
"""


def version(number: str = "1.0.0", weapons: str = "no rifles.", *changes: tuple[str, str]) -> Policy:
    """A version; `changes` are (old, new) parts of its text."""
    text = TEXT.format(version=number, weapons=weapons)
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return parse_policy(text)


OLD = version()
NEW = version("1.1.0", "no rifles, unless they are toys.")
