"""Languages: the words by which the checks of a policy's text know its sections, its vague words and its examples.

English, German, Spanish, French and Portuguese have a list. A policy in another language is checked for everything that
needs no words of a language, and `safeguard check` says so.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Language:
    """The words of one language, as regular expressions. `sections` are in the order of `SECTIONS`."""

    code: str
    name: str
    common: frozenset[str]  # words that nearly every text has, and other languages have not
    section_names: str
    sections: tuple[str, str, str, str]
    example: str
    vague: str
    safe: str
    violates: str

    @cached_property
    def vague_words(self) -> re.Pattern[str]:
        """Words that leave the decision to the model."""
        return re.compile(rf"\b({self.vague}|etc)\b", re.IGNORECASE)


SECTIONS = ("instructions", "definitions", "criteria", "examples")
LANGUAGES = (
    Language(
        code="en",
        name="English",
        common=frozenset(["the", "and", "of", "is", "or", "that", "with", "this"]),
        section_names="instructions, definitions, criteria, examples",
        sections=(
            "instruction|task|goal|role|overview|what to do",
            "definition|terms|glossary|concepts",
            r"criteri|violat|rules?\b|prohibited|allowed|what counts|decision",
            "example",
        ),
        example=r"e\.g\.|example",
        vague=(
            "generally|usually|typically|normally|mostly|in most cases|(?:as|if|where|when) appropriate|"
            "use (?:your )?(?:best |good )?judge?ment|common sense|and so on"
        ),
        safe=(
            r"(?:not?|isn't|does not) (?:a )?violat\w*|safe|allowed|permitted|acceptable|valid|compliant|benign|"
            "non-violating|not (?:spam|a threat)"
        ),
        violates=r"violat\w*|invalid|prohibited|disallowed|unsafe",
    ),
    Language(
        code="de",
        name="German",
        common=frozenset(["der", "die", "das", "und", "oder", "nicht", "ist", "ein", "eine", "mit"]),
        section_names="Anweisungen, Definitionen, Kriterien, Beispiele",
        sections=(
            "anweisung|aufgabe|auftrag|ziel|rolle|überblick",
            "definition|begriff|glossar",
            "kriteri|verst(?:oß|oss|öß)|verletz|regel|verboten|erlaubt|zulässig|entscheid",
            "beispiel",
        ),
        example=r"z\. ?b\.|beispiel",
        vague=(
            "in der regel|normalerweise|üblicherweise|gewöhnlich|meist(?:ens)?|grundsätzlich|im allgemeinen|"
            "(?:wo|wenn|falls|sofern) angemessen|gegebenenfalls|ggf|nach (?:eigenem )?ermessen|"
            r"gesunde\w* menschenverstand|und so weiter|usw"
        ),
        safe=r"kein(?:e|en)? versto(?:ß|ss)|verstößt nicht|erlaubt|zulässig|unbedenklich|zulaessig",
        violates=r"versto(?:ß|ss)\w*|verstöß\w*|verletzt|verboten|unzulässig",
    ),
    Language(
        code="es",
        name="Spanish",
        common=frozenset(["el", "los", "las", "que", "y", "para", "es", "por"]),
        section_names="instrucciones, definiciones, criterios, ejemplos",
        sections=(
            r"instrucci|tarea|objetivo|\brol\b|resumen",
            "definici|términos|glosario|conceptos",
            "criterio|infracci|infring|viola|regla|prohib|permitid|decisi",
            "ejemplo",
        ),
        example=r"p\. ?ej\.|ejemplo",
        vague=(
            "generalmente|normalmente|usualmente|habitualmente|por lo general|en la mayoría de los casos|"
            "(?:cuando|si) (?:proceda|procede|corresponda)|según corresponda|sentido común|y así sucesivamente"
        ),
        safe=r"no (?:infringe|viola)|permitid[oa]s?|segur[oa]|aceptable",
        violates=r"infring\w*|infracci\w*|viola\w*|prohibid[oa]s?",
    ),
    Language(
        code="fr",
        name="French",
        common=frozenset(["le", "les", "et", "des", "est", "une", "dans", "du"]),
        section_names="instructions, définitions, critères, exemples",
        sections=(
            "instruction|consigne|tâche|objectif|rôle|aperçu",
            "définition|termes|glossaire|notions",
            "critère|violation|enfrein|infraction|règle|interdit|autoris|permis|décision",
            "exemple",
        ),
        example=r"p\. ?ex\.|exemple",
        vague=(
            "généralement|normalement|habituellement|en général|d['’]habitude|la plupart du temps|"
            "dans la plupart des cas|le cas échéant|si approprié|bon sens|et ainsi de suite"
        ),
        safe=r"n['’]enfreint pas|ne viole pas|autorisée?s?|permise?s?|acceptable|sûre?",
        violates=r"enfrei\w*|viol\w*|interdite?s?|infraction\w*",
    ),
    Language(
        code="pt",
        name="Portuguese",
        common=frozenset(["não", "uma", "com", "do", "da", "em", "os", "um"]),
        section_names="instruções, definições, critérios, exemplos",
        sections=(
            "instruç|tarefa|objetivo|papel|visão geral",
            "definiç|termos|glossário|conceitos",
            "critério|viola|infraç|regra|proibid|permitid|decis",
            "exemplo",
        ),
        example=r"p\. ?ex\.|exemplo",
        vague=(
            "geralmente|normalmente|habitualmente|em geral|na maioria dos casos|"
            "(?:quando|se|conforme) (?:apropriado|necessário)|bom senso|e assim por diante"
        ),
        safe=r"não (?:viola|infringe)|permitid[oa]s?|segur[oa]|aceitável",
        violates=r"viola\w*|infring\w*|infraç\w*|proibid[oa]s?",
    ),
)
BY_CODE = {language.code: language for language in LANGUAGES}
ENGLISH = BY_CODE["en"]
ENOUGH = 5  # common words that a text must have to be in a language
DIFFERENT = 4  # of them; other languages share a few: Dutch has `is` and `of`
SHORT = 60  # words; a shorter text may be English without having enough of its common words


def language_of(body: str, declared: Sequence[str]) -> Language | None:
    """The language that a policy's text is checked in, or None if there is no list for it.

    `declared`: the policy's `languages`, which it was written or tested for. What the text is in comes from its words;
    without enough of them, the first declared language with a list, or English if none is declared.
    """
    codes = [code.partition("-")[0].lower() for code in declared]
    words = Counter(re.findall(r"\w+", body.lower()))
    hits = {language.code: sum(words[word] for word in language.common) for language in LANGUAGES}
    guess = BY_CODE[max(hits, key=lambda code: hits[code])]
    is_enough = hits[guess.code] >= ENOUGH and sum(word in words for word in guess.common) >= DIFFERENT
    # A language without a list may share words with one that has one: Italian with Spanish.
    if is_enough and (guess is ENGLISH or all(code in BY_CODE for code in codes)):
        return guess
    if not codes and not is_enough and _is_foreign(body):
        return None
    return next((BY_CODE[code] for code in codes if code in BY_CODE), None if codes else ENGLISH)


def _is_foreign(body: str) -> bool:
    """Whether a text without common words of a list is long enough to have them, or is in another alphabet."""
    prose = re.sub(r"\{[^{}]*\}|`[^`\n]*`", " ", body)  # without forms of the answer, which are English everywhere
    letters = [c for c in prose if c.isalpha()]
    num_latin = sum(unicodedata.name(c, "").startswith("LATIN") for c in letters)
    return num_latin * 2 < len(letters) or len(re.findall(r"\w+", prose)) > SHORT
