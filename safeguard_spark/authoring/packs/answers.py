"""The answer that a policy's text asks for: words, digits, a JSON object, one flag per rule, or none stated."""

import re
from dataclasses import dataclass

from safeguard_spark.errors import PolicyError
from safeguard_spark.policy.document import Answers, Output
from safeguard_spark.policy.names import level

VIOLATES = (
    "invalid", "violating", "violates", "violation", "unsafe", "disallowed", "block", "blocked", "remove", "removed",
    "reject", "rejected", "deny", "denied", "prohibited", "harmful", "toxic", "flag", "flagged", "unacceptable",
    "not allowed", "bad", "takedown", "take down", "true", "1",
    "verstoß", "verboten", "infracción", "prohibido", "infraction", "interdit", "infração", "proibido",
)  # fmt: skip
SAFE = (
    "valid", "non-violating", "not violating", "no violation", "safe", "allowed", "allow", "keep", "approve",
    "approved",
    "accept", "accepted", "acceptable", "permit", "permitted", "harmless", "benign", "clean", "ok", "okay", "compliant",
    "non-toxic", "not toxic", "not harmful", "leave up", "none", "false", "0",
    "kein verstoß", "erlaubt", "zulässig", "permitido", "autorisé", "permis",
)  # fmt: skip
REVIEW = (
    "review", "human review", "needs review", "manual review", "escalate", "escalated", "unsure", "unclear",
    "uncertain",
    "refer", "refer to a human",
)  # fmt: skip
MEANINGS = {
    level(word): meaning
    for meaning, words in (("violation", VIOLATES), ("safe", SAFE), ("review", REVIEW))
    for word in words
}
YES, NO = ("yes", "ja", "sí", "si", "oui", "sim"), ("no", "nein", "non", "não")
SENTENCE = re.compile(
    r"(?P<verb>answer|respond|reply|return|output|print|say|write|classify|label|mark|decide|choose|"
    r"antworte|antworten sie|respond[ae]|responda|réponds|répondez)\b"
    r"(?P<words>[^\n]*(?:\n[ \t]*(?:[-*•]|\d[.)])[^\n]*)*)",
    re.IGNORECASE,
)
QUOTED = re.compile(r"[\"“‘'`*]{1,2}(?P<word>[^\W_][\w -]{0,30}?)[.]?[\"”’'`*]{1,2}(?=\W|\Z)")
FOREIGN_QUOTES = re.compile(r"[«„]\s*([^«»„“”\n]{1,40}?)\s*[»“”]")
CAPITALS = re.compile(r"(?<![\w\"'`])[A-Z]{2,}(?:[-_ ][A-Z]{2,})*(?![\w\"'`])")
DIGITS = re.compile(
    r"\b(?:answer|respond|reply|return|output)\b[^.\n{]{0,120}(?<![\w.])[01](?!\w|\.\d)[^.\n{]{0,120}(?<![\w.])[01](?!\w|\.\d)",
    re.I,
)
OBJECT = re.compile(r"\{(?:[^{}]|\{[^{}]*\}){0,1500}\}")
KEY = re.compile(
    r"[\"'“”](?P<key>[^\"'“”\n]{1,40})[\"'“”]\s*:\s*(?P<value>\[[^\]]*\]|\{[^}]*\}|[^,}\n]*(?:\n(?!\s*[\"'}])[^,}\n]*)*)"
)
FLAG = re.compile(
    r"[\"'<]?(?:[01]|true|false|int\w*|bool\w*|number)(?:\s*(?:/|or|\|)\s*(?:[01]|true|false))?[\"'>]?", re.IGNORECASE
)
CHOICE = re.compile(r"[\"'<]?(?:0|1|true|false)\s*(?:/|or|\|)\s*(?:0|1|true|false)[\">']?", re.IGNORECASE)
ASKED = re.compile(r"\b(?:answer|respond\w*|response|reply|return|output|json|format)\b", re.IGNORECASE)
ASKS = re.compile(r"[^\"“”]*\b(?:answer|respond|reply|return|output)\b[^\"“”'.]*", re.IGNORECASE)  # before an object
STATED = (
    "answer", "respond", "reply", "return", "output", "print", "say", "write",
    "antworte", "antworten sie", "responde", "responda", "réponds", "répondez",
)  # fmt: skip
STATED_LATER = re.compile(rf"[.:;]\s+(?:{'|'.join(STATED)})\b", re.IGNORECASE)  # in a later sentence of the line
# What a sentence tells the model to do, not what it says about a content: the verb is first, or follows one of these.
TELLS = (
    r"(?:(?:^|[.!?:;])[\s>*#_\d-]*|\b(?:and|must|should|please|only|always|then|to)\s+)"
    r"(?:answer|respond|reply|return|output|print|give|provide|score|rate|grade)\b"
)
NUMBER = r"\d+(?:\.\d+)?\s?%?"
ENDS = r"(?=\s*(?:[.,;:)(`\"*]|$|(?:and|only|where|with|for|how|based|as|on|if|inclusive)\b))"
# Forms of an answer that no policy can have, and their names in the message. The first ones also have digits or words.
SCALES = {
    "a number on a scale": re.compile(
        rf"{TELLS}[^.\n{{]{{0,120}}?(?:\bbetween\s+{NUMBER}\s*(?:and|to|-|–)|(?<![\w.]){NUMBER}\s*(?:\bto\b|-|–|\.\.))\s*"
        rf"{NUMBER}{ENDS}",
        re.IGNORECASE | re.MULTILINE,
    ),
    "XML, YAML, CSV or other markup": re.compile(
        rf"{TELLS}[^.\n{{]{{0,80}}?(?:\b(?:XML|YAML|CSV|HTML|TOML)\b|</?[a-z][\w-]*>)", re.IGNORECASE | re.MULTILINE
    ),
}
OR = r"\b(?:or|and|oder|und|o|y|ou|et|e)\b"
BETWEEN = rf"\s*(?:,\s*{OR}|,|/|\||{OR})\s*"  # two alternatives
NUMBERS = re.compile(
    rf"{TELLS}[^.\n{{\d]{{0,80}}(?<!rule )(?<!rules )(?<!section )(?<!sections )\b"
    rf"(?P<numbers>\d+(?:{BETWEEN}\d+)+)(?!\.?\d)",
    re.IGNORECASE | re.MULTILINE,
)
# Words that are neither quoted nor in capitals: `one of: hate, harassment, none.`
PLAIN_LIST = re.compile(
    rf"{TELLS}[^.\n{{:]{{0,60}}(?:\bone of(?: the following)?:?|:)\s*"
    r"(?P<words>[a-z][\w-]*(?:\s*,\s*[a-z][\w-]*)*,?\s+or\s+[a-z][\w-]*|[a-z][\w-]*(?:\s*,\s*[a-z][\w-]*){2,})\s*(?:\.|$)",
    re.IGNORECASE | re.MULTILINE,
)
TELLS_ONE = rf"{TELLS}\s+(?:(?:only|just|with|in|as|a|an|the|one|your)\s+)*(?:[a-z]+\s+)??"
OTHERS = {
    "a score or a number": re.compile(
        rf"{TELLS_ONE}(?:score|rating|probability|likelihood|percentage|number|integer|float|decimal|grade)\b",
        re.IGNORECASE | re.MULTILINE,
    ),
    "a text": re.compile(
        rf"{TELLS_ONE}(?:paragraph|essay|bullet points?|bulleted list|table|prose|sentences?|explanation|summary)\b",
        re.IGNORECASE | re.MULTILINE,
    ),
}
WORD = r"(?:[\"“‘'`*]{1,2}[^\W_][\w -]{0,30}?[.]?[\"”’'`*]{1,2}|[A-Z]{2,}(?:[-_][A-Z]{2,})*|(?<!\w)[A-Z])(?!\w)"
CHOICES = re.compile(rf"{WORD}(?:{BETWEEN}{WORD})+")
CONDITION = r"\W{0,4}(?:(?:if|when|for|means|where|unless|otherwise|else)\b|(?<=[:=] )|[-–—] )"
QUOTED_LENGTH = 80  # characters of the text that a message quotes
WHAT_TO_WRITE = (
    "Ask in the text for one of: 1 or 0; two words, as in `Answer REMOVE if the content violates the policy, KEEP if "
    'it does not`; or {"violation": 0 or 1, "policy_category": "..."}; then import it again.'
)


@dataclass(frozen=True)
class AnswerForm:
    """What a text says about its answer. `output` is None if the text leaves the form to the program that runs it.

    `flags`: the keys of a JSON object that has a 0 or 1 for each of them.
    """

    output: Output | None = None
    answers: Answers | None = None
    review: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


def read_answer_form(text: str) -> AnswerForm:
    """The form that a text asks for. Raises PolicyError, with what to write, for a form that no policy can have."""
    text = FOREIGN_QUOTES.sub(r'"\1"', text)
    objects = [keys for match in OBJECT.finditer(text) if (keys := _keys(match)) and _is_answer(match, keys, text)]
    named = {level(key) for found in objects for key in found}
    if "violation" in named:
        has_category = {"category", "policycategory"} & named
        has_reasons = {"ruleids", "confidence", "rationale"} & named
        output = Output.full if has_reasons and has_category else Output.category if has_category else Output.binary
        value = next(value for found in objects for key, value in found.items() if level(key) == "violation")
        # Without the object itself, whose keys and categories are no words of the answer.
        return _with_words(AnswerForm(output), f"Answer {value}\n{OBJECT.sub(' ', text)}")
    for found in objects:
        if len(found) > 1 and all(FLAG.fullmatch(value.strip()) for value in found.values()):
            return AnswerForm(Output.binary, flags=tuple(found))
    if objects:
        listed = ", ".join(f"`{key}`" for key in objects[0])
        raise PolicyError(
            f"The text asks for a JSON object with {listed}, which no policy can have as answer. {WHAT_TO_WRITE}"
        )
    _refuse(SCALES, text)
    for match in NUMBERS.finditer(text):
        if set(re.findall(r"\d+", match["numbers"])) - {"0", "1"}:
            raise _other_form("one of several numbers", match)
    if DIGITS.search(text):
        return AnswerForm(Output.binary)
    form = _with_words(AnswerForm(), text)
    if form.output is None:
        _refuse(OTHERS, text)
        _refuse_words(text)
    return form


def _refuse_words(text: str) -> None:
    """Raise PolicyError if the text asks for one of several words, and what they mean is not known."""
    for match in PLAIN_LIST.finditer(text):
        words = [word for word in re.findall(r"[\w-]+", match["words"]) if word.lower() != "or"]
        if any(level(word) not in {**MEANINGS, "yes": "", "no": ""} and not re.search(r"\d", word) for word in words):
            raise _other_form("one of several words", match)
    for match in SENTENCE.finditer(text):
        choices = _choices(match["words"])
        unknown = [word for word in choices if _meaning(word, match["words"]) is None and not re.search(r"\d", word)]
        if (
            len(choices) > 2
            and unknown
            and re.match(rf"\s+(?:\S+\s+){{0,4}}?as\s+{re.escape(choices[0])}", match["words"])
        ):
            raise _other_form("one of several words", match)


def _refuse(forms: dict[str, re.Pattern[str]], text: str) -> None:
    """Raise PolicyError if the text asks for one of these forms."""
    for name, pattern in forms.items():
        if match := pattern.search(text):
            raise _other_form(name, match)


def _other_form(name: str, match: re.Match[str]) -> PolicyError:
    quoted = " ".join(match[0].split()).lstrip("-.:;>*# ")[:QUOTED_LENGTH]
    return PolicyError(f"The text asks for {name} (`{quoted}`), which no policy can have as answer. {WHAT_TO_WRITE}")


def without_flags(text: str, flags: tuple[str, ...]) -> str:
    """The text without the JSON objects of these flags, and without the fences that only had one of them."""
    text = OBJECT.sub(lambda match: "" if set(flags) <= _keys(match).keys() else match[0], text)
    return re.sub(r"```(?:json)?\s*```", "", text)


def _keys(match: re.Match[str]) -> dict[str, str]:
    return {key["key"]: key["value"] for key in KEY.finditer(match[0])}


def _is_answer(match: re.Match[str], keys: dict[str, str], text: str) -> bool:
    """Whether an object is about the answer, not a content that an example quotes."""
    if "violation" in {level(key) for key in keys}:
        return True
    if len(keys) > 1 and all(CHOICE.fullmatch(value.strip()) for value in keys.values()):
        return True  # a content has one value, not `0 or 1`
    before = text[max(0, match.start() - 300) : match.start()]
    line = before.rpartition("\n")[2]
    if line.strip(" `:") in ("", "json"):
        return ASKED.search(before) is not None
    return ASKS.fullmatch(line) is not None


def _with_words(form: AnswerForm, text: str) -> AnswerForm:
    """The form with the words in place of 1 and 0, and for review, if a sentence names them."""
    for match in SENTENCE.finditer(text):
        found = [m["word"] for m in QUOTED.finditer(match["words"])] + CAPITALS.findall(match["words"])
        words = list(dict.fromkeys(word.strip() for word in found))
        meanings = {word: _meaning(word, match["words"]) for word in words}
        violation, safe, review = (
            [word for word in words if meanings[word] == meaning] for meaning in ("violation", "safe", "review")
        )
        is_stated = match["verb"].lower() in STATED or STATED_LATER.search(match["words"]) is not None
        offered = _offered(match["words"], words)
        if violation and safe and not {"1", "0"} & {*violation, *safe}:
            if is_stated and (unknown := [word for word in offered if meanings.get(word) is None]):
                raise PolicyError(
                    f"The text asks for the answers {' and '.join(offered)}, and does not say whether "
                    f"{' and '.join(unknown)} means a violation, safe content, or that a person must decide. "
                    f"{WHAT_TO_WRITE}"
                )
            answers = Answers(
                violation=tuple(word for word in violation if word in offered) or (violation[0],),
                safe=tuple(word for word in safe if word in offered) or (safe[0],),
            )
            output = form.output or (Output.binary if is_stated else None)
            return AnswerForm(output, answers, tuple(review))
        if is_stated and form.output is None and (choices := _choices(match["words"])):
            raise PolicyError(
                f"The text asks for the answers {' and '.join(choices)}, and does not say which of them means a "
                f"violation. {WHAT_TO_WRITE}"
            )
    return form


def _meaning(word: str, sentence: str) -> str | None:
    """What a word means as an answer: by what the sentence says about it, else by itself."""
    after = re.search(
        rf"(?<!\w){re.escape(word)}(?!\w)\W{{0,4}}(?:(?:if|when|for|means|where|unless)\b|(?<=[:=] ))"
        r"(?P<cause>(?:(?!\b(?:and|or|else)\s+[\"“`*]*[A-Z])[^.;,\n])*)",
        sentence,
    )
    if after:
        cause = after["cause"]
        if re.search(
            r"\b(?:unsure|unclear|doubt|borderline|cannot (?:tell|decide)|human|person|moderator)\b", cause, re.I
        ):
            return "review"
        if re.search(r"\b(?:not|none|n't|no|nothing|fine|allowed|otherwise|else)\b|n['’]t\b", cause, re.IGNORECASE):
            return "safe"
        if re.search(r"\b(?:violat|break|breach|against|prohibit|harm|match|contain|appl)\w*", cause, re.IGNORECASE):
            return "violation"
    if re.search(rf"(?<!\w){re.escape(word)}\W{{0,3}}(?:otherwise|if not|else)\b", sentence, re.IGNORECASE):
        return "safe"
    return MEANINGS.get(level(word))


def _choices(sentence: str) -> list[str]:
    """The words of the first list of alternatives in a sentence: `"A", "B" or "C"`. Empty if there is none."""
    match = CHOICES.search(sentence)
    return [word.strip("\"“”‘’'`*. ") for word in re.findall(WORD, match[0])] if match else []


def _offered(sentence: str, words: list[str]) -> list[str]:
    """The words that a sentence offers as answers: in a list of alternatives, or each with its condition."""
    choices = _choices(sentence)
    conditional = [w for w in words if re.search(rf"(?<!\w){re.escape(w)}(?!\w){CONDITION}", sentence, re.IGNORECASE)]
    return list(dict.fromkeys((*choices, *conditional)))
