"""YAML problems: what is wrong with text that is not YAML, in the words of someone who writes policies."""

import calendar
import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

RESOLVE = "keep one of the two versions, and remove the lines of <<<<<<<, ======= and >>>>>>>"
QUOTE = "put the whole text in quotes"
# What git writes into a file that it cannot merge.
CONFLICT = re.compile(r"^(?:<{7}|\|{7}|>{7})(?: .*)?$", re.MULTILINE)
MIDDLE = re.compile(r"^={7}$", re.MULTILINE)  # also one of git's marks; in Markdown it underlines a heading
CURLY = re.compile(r"[“”„«»]")
DATE = re.compile(r"\b(\d{4})-(\d\d?)-(\d\d?)\b")
OPEN_QUOTE = re.compile(r"(?:[:,\[{]|-)\s+(?P<quote>[\"'])")


class YamlProblem(NamedTuple):
    """One sentence on what is wrong, one on what to type; `line` and `column` from 1, within the text."""

    message: str
    hint: str
    line: int
    column: int


@dataclass(frozen=True)
class ParserStop:
    """Where the parser stopped, from 1, its own words for it, and where what it was reading began."""

    text: str
    problem: str
    line: int
    column: int
    start: int
    start_column: int = 1

    @cached_property
    def lines(self) -> list[str]:
        """The lines of the text."""
        return self.text.split("\n")

    def row(self, number: int) -> str:
        """A line of the text; empty outside it."""
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""

    def here(self, message: str, hint: str) -> YamlProblem:
        """A problem at the place where the parser stopped."""
        return YamlProblem(message, hint, self.line, self.column)

    def at_start(self, message: str, hint: str) -> YamlProblem:
        """A problem of what the parser was reading, where that began."""
        return YamlProblem(message, hint, self.start, self.start_column)


def explain_yaml(stop: ParserStop) -> YamlProblem:
    """What is wrong where the parser stopped."""
    if conflict := CONFLICT.search(stop.text) or MIDDLE.search(stop.text):
        line = stop.text.count("\n", 0, conflict.start()) + 1
        return YamlProblem("the marks of a merge conflict are still in the file", RESOLVE, line, 1)
    for line in (stop.line, stop.line - 1):
        if re.match(r" *\t", stop.row(line)):
            return YamlProblem("the line is indented with a tab", "use spaces: YAML allows no tabs there", line, 1)
    for words, explain in EXPLANATIONS:
        if words in stop.problem:
            return explain(stop)
    if match := re.search(r"position (\d+)", stop.problem):
        return _character(stop.text, int(match[1]))
    return stop.here(f"YAML cannot be read here ({stop.problem})", QUOTE)


def explain_date(text: str) -> YamlProblem:
    """Which date does not exist: the parser does not say where it is."""
    for number, row in enumerate(text.split("\n"), 1):
        for match in DATE.finditer(row):
            year, month, day = (int(part) for part in match.groups())
            if not (year > 0 and 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]):
                message = f"`{match[0]}` is read as a date, and there is no such day"
                return YamlProblem(message, QUOTE, number, match.start() + 1)
    return YamlProblem("a value is read as a date or a number that does not exist", QUOTE, 1, 1)


def _colon(stop: ParserStop) -> YamlProblem:
    key = re.match(r"\s*(?:- +)*\{?\s*[\w.\"'-]+ *:\s", stop.row(stop.line))
    if key and stop.column > key.end():
        hint = f'{QUOTE} of this form: "…"' if CURLY.search(stop.row(stop.line)) else QUOTE
        return stop.here("a text with `: ` in it is read as another key", hint)
    return stop.here("the line is indented more than the lines that it belongs to", "align it with them")


def _first_character(stop: ParserStop) -> YamlProblem:
    character = stop.row(stop.line)[stop.column - 1 : stop.column]
    if character == "\t":
        return stop.here("there is a tab here", "use spaces")
    return stop.here(f"a text cannot begin with `{character or '&'}`", QUOTE)


def _open_end(stop: ParserStop) -> YamlProblem:
    if OPEN_QUOTE.search(stop.row(stop.start)):
        return stop.at_start("a quotation mark that opens here is never closed", "close it")
    opened = max(stop.text.rfind("["), stop.text.rfind("{"), 0)
    row, column = stop.text.count("\n", 0, opened) + 1, opened - stop.text.rfind("\n", 0, opened)
    return YamlProblem("the bracket that opens here is never closed", "close it, or " + QUOTE, row, column)


def _bracket(stop: ParserStop) -> YamlProblem:
    bracket = "]" if "or ']'" in stop.problem else "}"
    if re.search(r"\s#", stop.row(stop.start)):
        return stop.at_start(f"`{bracket}` is missing, because everything after ` #` is a comment", QUOTE)
    hint = f"a text with a comma, a colon or a bracket must be in quotes; a list or an entry ends with `{bracket}`"
    if stop.start == stop.line:
        return stop.here(f"a comma or `{bracket}` is missing before this", hint)
    return stop.at_start(f"the bracket that opens here is not closed by `{bracket}`", hint)


def _no_key(stop: ParserStop) -> YamlProblem:
    return stop.at_start("the line is no `key: value`", "write a key, a colon and a space before the value")


def _after_quote(stop: ParserStop) -> YamlProblem:
    before = stop.row(stop.line)[: stop.column - 1].rstrip()
    if before.endswith(("'", '"')):
        hint = "a quotation mark inside a text needs the other kind of marks around the whole text"
        return stop.here("the text goes on after its closing quotation mark", hint)
    if before:
        return stop.here("the value has ended before this", f"remove it, or {QUOTE}")
    above = next((stop.row(n) for n in range(stop.line - 1, 0, -1) if stop.row(n).strip()), "")
    if re.search(r"(?:^|\s)#", above):
        message = "the line belongs to no text: the one above it ended at `#`, where a comment begins"
        return stop.here(message, f"{QUOTE}, or indent the line with `#` like it")
    hint = "align it with the lines that it belongs to"
    return stop.here("the line is not indented like the lines that it belongs to", hint)


EXPLANATIONS = (
    ("mapping values are not allowed", _colon),
    ("cannot start any token", _first_character),
    ("scanning an alias", lambda stop: stop.at_start("a text cannot begin with `*`", QUOTE)),
    ("expected alphabetic", lambda stop: stop.at_start("a text cannot begin with `&`", QUOTE)),
    ("undefined alias", _first_character),
    ("constructor for the tag", _first_character),
    ("mapping keys are not allowed", _first_character),
    ("unexpected end of stream", _open_end),
    ("document indicator", _open_end),
    ("node content", _open_end),
    ("expected ',' or", _bracket),
    ("could not find expected ':'", _no_key),
    ("did not find expected key", _after_quote),
    ("did not find expected '-' indicator", _after_quote),
    (
        "document start",
        lambda stop: stop.here("the line is not indented like the first line", "align the keys with each other"),
    ),
    ("another document", lambda stop: stop.here("there is a second document here", "remove the line of `---`")),
    (
        "block sequence entries",
        lambda stop: stop.here("a list cannot begin here", "begin it on the next line, each entry with `- `"),
    ),
    (
        "escape character",
        lambda stop: stop.here("a backslash means something else in double quotes", "use single quotes: '…'"),
    ),
    (
        "comment or line break",
        lambda stop: stop.here("a text cannot begin with `>` or `|` in its first line", QUOTE),
    ),
)


def _character(text: str, position: int) -> YamlProblem:
    """A character that YAML does not allow."""
    before, character = text[:position], text[position : position + 1]
    name = unicodedata.name(character, f"U+{ord(character):04X}") if character else "an invisible character"
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    return YamlProblem(f"there is a character here that YAML does not allow: {name}", "remove it", line, column)
