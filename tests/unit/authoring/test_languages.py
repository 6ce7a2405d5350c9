"""A policy's text is checked in its own language, where there is a list of words, and the report says in which."""

from pathlib import Path

import pytest

from safeguard_spark.authoring.check import check_file, check_paths
from safeguard_spark.authoring.check_output import report_text
from safeguard_spark.authoring.languages import LANGUAGES, language_of
from tests.unit.samples import FORM, write_policy

pytestmark = pytest.mark.unit

FRONT = """---
name: market
version: 1.0.0
owner: a@example.org
rules:
  - {{id: M1, category: counterfeit, title: x}}
  - {{id: M2, category: stolen, title: x}}
{more}---
"""
# (language, headings of the four sections, a sentence, a vague word, words for the two sides of an example)
TEXTS = {
    "de": (
        ("Anweisungen", "Begriffe", "Kriterien", "Beispiele"),
        "Entscheide, ob das Angebot eine Regel verletzt. Die Ware ist gebraucht und nicht "
        "gestohlen, oder der Text ist eine "
        "Frage mit Bezug auf die Ware.",
        "üblicherweise",
        ("Verstoß", "erlaubt"),
    ),
    "es": (
        ("Tarea", "Glosario", "Criterios", "Ejemplos"),
        "Decide si el anuncio infringe una regla. Los objetos usados y las copias con permiso del "
        "dueño son por tanto aptos, "
        "y una pregunta por el precio también.",
        "por lo general",
        ("infringe", "permitido"),
    ),
    "fr": (
        ("Consignes", "Notions", "Règles", "Exemples"),
        "Décide si le texte enfreint une règle. Les objets usagés et les copies avec accord du "
        "propriétaire ne sont pas dans "
        "la liste des interdits, et une question est sans effet.",
        "habituellement",
        ("interdit", "autorisé"),
    ),
    "pt": (
        ("Instruções", "Conceitos", "Critérios", "Exemplos"),
        "Decide se o anúncio viola uma regra. Os objetos usados não contam, um texto com uma "
        "pergunta do cliente não conta, e "
        "os avisos em nome da loja também não.",
        "na maioria dos casos",
        ("proibido", "permitido"),
    ),
    "en": (
        ("Task", "Glossary", "Rules", "Examples"),
        "Decide whether the offer breaks a rule. The goods that are used and the copies with leave "
        "of the owner are fine.",
        "typically",
        ("prohibited", "allowed"),
    ),
}


def text_in(code: str, *, vague: bool = False, safe_side: bool = True, sections: int = 4, more: str = "") -> str:
    """A policy in a language, with or without what its words are looked for."""
    headings, sentence, word, (violating, safe) = TEXTS[code]
    example = f'\n- "Uhr" ({safe})' if safe_side else ""
    bodies = (
        f"{sentence}{f' {word}.' if vague else ''}\n{FORM}\ncounterfeit, stolen, none",
        "- x",
        "M1 (counterfeit). M2 (stolen).",
        f'- "Replica" ({violating} M1){example}',
    )
    parts = [f"## {title}\n\n{body}\n" for title, body in list(zip(headings, bodies, strict=True))[:sections]]
    return FRONT.format(more=more) + "\n".join([*parts, f"## JSON\n\n{FORM}\n"])


@pytest.mark.parametrize("code", TEXTS)
def test_a_text_in_its_own_language_has_no_false_warning(tmp_path: Path, code: str) -> None:
    assert check_file(write_policy(tmp_path, text_in(code))) == ()


@pytest.mark.parametrize("code", TEXTS)
@pytest.mark.parametrize("more", ["", "declared"])
def test_its_vague_words_sections_and_sides_are_found(tmp_path: Path, code: str, more: str) -> None:
    more = f"languages: [{code}]\n" if more else ""

    def codes(text: str) -> list[str]:
        return [d.code for d in check_file(write_policy(tmp_path, text))]

    assert codes(text_in(code, vague=True, more=more)) == ["vague-word"]
    assert codes(text_in(code, safe_side=False, more=more)) == ["one-sided-examples"]
    assert "missing-section" in codes(text_in(code, sections=3, more=more))


def test_the_report_says_in_which_language_a_text_was_checked(tmp_path: Path) -> None:
    write_policy(tmp_path, text_in("de"))
    assert report_text(check_paths([tmp_path])) == "1 policy checked (in German): no problems.\n"
    write_policy(tmp_path, text_in("en").replace("1.0.0", "1.1.0"), version="1.1.0")
    assert report_text(check_paths([tmp_path])) == "2 policies checked (1 in German): no problems.\n"


def test_a_language_without_a_list_is_checked_for_what_needs_no_words_and_the_report_says_so(tmp_path: Path) -> None:
    body = f"## 指示\n\n{FORM}\ncounterfeit stolen none M1 M2 <|end|>\n\n## 形式\n\n{FORM}\n"
    file = write_policy(tmp_path, FRONT.format(more="languages: [ja]\n") + body)
    assert [d.code for d in check_file(file)] == ["control-token"]
    assert "There are no words of its language: sections, examples and vague words" in report_text(check_paths([file]))


@pytest.mark.parametrize(
    ("body", "declared", "code"),
    [
        (TEXTS["de"][1], ["en", "de"], "de"),
        (TEXTS["en"][1] + TEXTS["en"][1], ["ja"], "en"),
        (
            "Vietato vendere una copia con il marchio del proprietario, una con il nome del cliente e una con un logo.",
            ["it"],
            None,
        ),
        ("Kurz.", ["de-AT"], "de"),
        ("Short.", [], "en"),
        ("", ["ko", "pt-BR"], "pt"),
    ],
)
def test_the_language_is_that_of_the_text_or_the_declared_one(body: str, declared: list[str], code: str | None) -> None:
    language = language_of(body, declared)
    assert (language.code if language else None) == code


def test_every_list_has_words_of_its_own() -> None:
    for language in LANGUAGES:
        others = frozenset().union(*(other.common for other in LANGUAGES if other is not language))
        assert not language.common & others, language.name
