"""The labels in a policy's text: its rules, what it calls safe content, and what it leaves to a person.

A label is read from a heading (`Likely Spam (SP2 - Medium)`, `**TVEC1: Branded content**`, `### (DRUGS) Drugs`, `### S
(Sexual) - VIOLATES`, `## Rule 3: Doxxing`), else from a list or a table of labels, else from an example of the answer.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from safeguard_spark.authoring.text import PolicyText
from safeguard_spark.policy.document import Rule
from safeguard_spark.policy.names import level, slug

# With a digit: SP2, M-1, H2.f, TVEC.01. A word in capitals is a label only where the form leaves no doubt.
NUMBERED = r"[A-Z]{1,8}[-_.]?\d{1,3}(?:[.-]?[a-z0-9]{1,3})?(?![A-Za-z0-9])"
CAPITALS = (
    r"(?!(?:JSON|YAML|XML|CSV|HTML|API|URL|FAQ|TODO|NOTE|PII|VALID|INVALID|SAFE|UNSAFE|OUTPUT)\b)[A-Z][A-Z0-9_]{0,14}"
)
EITHER = rf"(?:{NUMBERED}|{CAPITALS}(?![A-Za-z0-9]))"
AFTER_TITLE = re.compile(rf"^(?P<title>\w.*?)\s*\((?P<id>{EITHER})\s*(?:[-–—:,]\s*(?P<about>[^)]*))?\)\W*$")
IN_BRACKETS = re.compile(rf"^[(\[](?P<id>{EITHER})[)\]]\s*[-–—:]?\s*(?P<title>\w.*)$")
BEFORE_TITLE = re.compile(rf"^`?(?P<id>{NUMBERED})`?\s*[:.)\]–—-]*\s+(?P<title>\w.*)$")
TITLE_IN_BRACKETS = re.compile(rf"^(?P<id>{EITHER})\s*\((?P<title>[^)]+)\)(?P<about>.*)$")
COUNTED = re.compile(r"^(?P<id>(?:Rule|Category|Label|Class|Violation) \d{1,3}[a-z]?)\s*[:.)–—-]\s*(?P<title>\w.*)$")
LISTED = re.compile(
    rf"^(?:[-*•+]|\d+[.)])?\s*(?:`(?P<quoted>[\w.-]{{1,40}})`|\**(?P<id>{NUMBERED})\**)"
    r"(?:\**\s*[:=–—-]+\**\s+|(?<=\*\*)\s+)(?P<title>.+)$"
)
ANSWERED = re.compile(
    r"[\"'](?:policy_?category|category|categories|rule_?ids?|rules?|label)[\"']\s*:\s*(\[[^\]\n]*\]|[\"'][^\"'\n]*[\"'])"
)
CODES = re.compile(r"^(?:id|code|label|key|flag|abbr\w*|rule|category)s?$", re.IGNORECASE)
WITH_CATEGORY = re.compile(r"^(?P<title>\w.*?)\s*\((?P<category>[a-z0-9]+(?:-[a-z0-9]+)*)\)$")
DECORATION = re.compile(r"^[^\w(\[`]+")

NOT_ALLOWED = re.compile(
    r"\b(?:in|un|im|dis|not |never |non-?)(?:valid|allowed|acceptable|permitted|permissible|safe)\b", re.I
)
ALLOWED = re.compile(
    r"\b(?:allowed|acceptable|permitted|permissible|permit|safe|benign|harmless|compliant|valid|out of scope|exempt\w*|"
    r"no (?:violation|issue|harm\w*|risk)|(?:not|non|does not|doesn't)[- ](?:a )?violat\w*)\b",
    re.IGNORECASE,
)
NEGATED = re.compile(r"^(?:not|non|no)[- ]?(?:an? )?(?P<word>\w{3,})", re.IGNORECASE)
FORBIDDEN = re.compile(r"\b(?:invalid|prohibited|violat\w+|unsafe|remove|forbidden|disallowed)\b", re.IGNORECASE)
FOR_A_PERSON = re.compile(
    r"\b(?:human|manual|moderator|expert|specialist|legal)[- ](?:review|decision)\b|"
    r"\b(?:requires?|needs?) (?:a )?review\b|"
    r"\bescalate\w* to (?:an? )?(?:human|person|moderator|reviewer|colleague)\b",
    re.IGNORECASE,
)
SAYS_VALID = re.compile(r"^\W*Output:\W*VALID\b", re.MULTILINE)
MAX_ABOUT = 3  # words after a title in a list that say what it is: `GB0: Sport - allowed`
NAME_LENGTH = 48  # of a category: the model writes it in each answer


class Labels(NamedTuple):
    """A policy's rules, its labels for safe content, and those for content that a person must decide."""

    rules: tuple[Rule, ...] = ()
    allowed: tuple[str, ...] = ()
    review: tuple[str, ...] = ()


class _Found(NamedTuple):
    id: str
    title: str
    about: str
    line: int
    level: int  # of a heading: 1 is the outermost
    above: tuple[str, ...] = ()  # the headings above it, the innermost first


def read_labels(text: str) -> Labels:
    """The labels of a policy's text. None where it has none that can be told from other words."""
    lines = text.splitlines()
    in_headings = list(_in_headings(lines))
    topic = _words(" ".join([next((line for line in lines if line.strip()), ""), *(f.id for f in in_headings)]))
    labels = _sorted(in_headings, lines, topic)
    others = [*_in_lists(lines), *_in_tables(text), *_in_answers(text)]
    families = {_family(found.id) for found in in_headings}
    known = {found.id for found in in_headings}
    if in_headings:  # a list may have one that no heading has; SP2.a belongs to SP2
        others = [found for found in others if _family(found.id) in families and not _belongs(found.id, known)]
    added = _sorted([found for found in others if found.id not in known], lines, topic)
    rules = {rule.id: rule for rule in reversed((*labels.rules, *added.rules))}
    decided = [*labels.allowed, *added.allowed]
    review = [*labels.review, *added.review]
    return Labels(
        _with_own_categories([rule for rule in reversed(rules.values()) if rule.id not in review]),
        tuple(label for label in dict.fromkeys(decided) if label not in rules and label not in review),
        tuple(dict.fromkeys(review)),
    )


def _in_headings(lines: Sequence[str]) -> Iterator[_Found]:
    stack: list[tuple[int, str]] = []
    candidates: list[tuple[_Found, bool]] = []
    fenced = False
    for number, line in enumerate(lines):
        fenced ^= line.strip().startswith("```")
        if fenced or line.lstrip().startswith("|"):
            continue
        marks = re.match(r"\s*(#{1,6})\s", line)
        bold = re.fullmatch(r"\s*(?:\*\*|__).+(?:\*\*|__):?\s*", line)
        depth = len(marks[1]) if marks else 8 if bold else 9
        title = DECORATION.sub("", line.strip().strip("#*_ \t"))
        above = tuple(outer for level_above, outer in reversed(stack) if level_above < depth)
        found = _of_heading(title, number, depth, above, bool(marks or bold))
        if found:
            candidates.append(
                (found, re.fullmatch(NUMBERED, found.id) is not None or line.lstrip("#*_ ").startswith("("))
            )
        if marks:
            stack = [*(outer for outer in stack if outer[0] < depth), (depth, title)]
    # One word in capitals may be anything; two on a level are labels.
    levels = [found.level for found, _ in candidates]
    yield from (found for found, is_certain in candidates if is_certain or levels.count(found.level) > 1)


def _of_heading(title: str, line: int, depth: int, above: tuple[str, ...], is_marked: bool) -> _Found | None:
    for form in (COUNTED, IN_BRACKETS, TITLE_IN_BRACKETS, AFTER_TITLE, BEFORE_TITLE):
        match = form.match(title) if is_marked or form is AFTER_TITLE else None
        if match is None:
            continue
        groups = match.groupdict()
        about = groups.get("about") or ""
        if not is_marked and not (about and re.fullmatch(NUMBERED, match["id"])):
            return None  # a line of text, such as `A gift card (GC1)`
        words = re.split(r"\s+[-–—]\s+", match["title"].strip(" .:*"), maxsplit=1)
        return _Found(match["id"].replace(" ", "-"), words[0], " ".join([*words[1:], about]), line, depth, above)
    return None


def _in_lists(lines: Sequence[str]) -> Iterator[_Found]:
    above: tuple[str, ...] = ()  # the heading that is nearest; a title of the whole text says nothing of one label
    for number, line in enumerate(lines):
        if heading := re.match(r"\s*(#{1,6})\s+(.+)", line):
            above = (heading[2].strip("#*_ "),) if len(heading[1]) > 1 else ()
        if match := LISTED.match(line.strip()):
            id = match["quoted"] or match["id"]
            if re.fullmatch(EITHER, id):
                title, *rest = re.split(r"[.:;(]\s*|\s[-–—]\s", match["title"].strip("* "), maxsplit=1)
                about = rest[0] if rest and len(rest[0].split()) <= MAX_ABOUT else ""  # a sentence may say anything
                yield _Found(id, title.strip("* "), about, number, 9, above)


def _in_tables(text: str) -> Iterator[_Found]:
    for table in PolicyText(text).tables:
        if table.header and CODES.match(table.header[0].text.strip("*`")):
            for code, *others in filter(None, table.rows):
                id = code.text.strip(" *`")
                if re.fullmatch(EITHER, id):
                    yield _Found(id, others[0].text.strip(" *`") if others else "", "", code.line - 1, 9)


def _in_answers(text: str) -> Iterator[_Found]:
    """Labels in examples of the answer: a title is what follows the label at the start of another line."""
    for match in ANSWERED.finditer(text):
        for word in re.findall(r"[\"']([^\"']+)[\"']", match[1]):
            for label in re.split(r"\s*\|\s*", word):
                if re.fullmatch(r"[\w][\w.-]{0,39}", label) and level(label) not in (
                    "none",
                    "string",
                    "null",
                    "category",
                ):
                    titled = re.search(rf"^\W*{re.escape(label)}\W{{1,4}}(\w[^\n.:;(]{{2,60}})", text, re.MULTILINE)
                    line = text.count("\n", 0, titled.start(1)) if titled else text.count("\n", 0, match.start())
                    yield _Found(label, titled[1].strip(" *") if titled else "", "", line, 9)


def _sorted(found: Sequence[_Found], lines: Sequence[str], topic: set[str]) -> Labels:
    rules: list[Rule] = []
    allowed, review = list[str](), list[str]()
    for item, end in zip(found, [*(f.line for f in found[1:]), len(lines)], strict=False):
        section = "\n".join(lines[item.line : end])
        if FOR_A_PERSON.search(f"{item.title} {item.about}"):
            review.append(item.id)
        elif _is_allowed(item, section, topic):
            allowed.append(item.id)
        elif item.id not in [rule.id for rule in rules]:
            title, category = _with_category(item.title.strip(), lines)
            rules.append(Rule(id=item.id, category=category or item.id.lower(), title=title))
    return Labels(tuple(rules), tuple(allowed), tuple(review))


def _with_category(title: str, lines: Sequence[str]) -> tuple[str, str]:
    """A title and its category: the name in brackets at its end if the text quotes it (`scam`), else from its words."""
    match = WITH_CATEGORY.match(title)
    if match and any(f"`{match['category']}`" in line for line in lines):
        return match["title"], match["category"]
    return title, slug(title, NAME_LENGTH)


def _is_allowed(item: _Found, section: str, topic: set[str]) -> bool:
    for words in (item.about, item.title, *item.above):
        if NOT_ALLOWED.search(words):
            return False
        negated = NEGATED.match(words.strip())  # Non-Spam, in a policy on spam; non-consensual is none
        if ALLOWED.search(words) or (negated and negated["word"].lower()[:4] in topic):
            return True
        if FORBIDDEN.search(words):
            return False
    return SAYS_VALID.search(section) is not None


def _words(text: str) -> set[str]:
    return {word.lower()[:4] for word in re.findall(r"[A-Za-z]{3,}", text)} - {"poli", "cont", "the", "for"}


def _family(id: str) -> str:
    return re.sub(r"\d+", "0", id)


def _belongs(id: str, known: set[str]) -> bool:
    return any(id != other and re.match(rf"{re.escape(other)}[.(-]?[a-z0-9]", id) for other in known)


def _with_own_categories(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """Rules of which no two have titles that give the same category."""
    categories = [level(rule.category) for rule in rules]
    return tuple(
        rule.model_copy(update={"category": f"{rule.category}-{rule.id.lower()}"})
        if categories.count(level(rule.category)) > 1
        else rule
        for rule in rules
    )
