"""The demo model's tokenizer files give oss-harmony's ids, whatever the text."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from safeguard_spark.demo import shape
from safeguard_spark.demo.content import HOSTILE, LANGUAGES
from safeguard_spark.labelling.prompt import harmony_encoding
from tests.hostile import ESCAPES, HARMONY_TOKENS, UNICODE

pytestmark = pytest.mark.unit

ODD = (
    "can't WON'T ʼs",
    "x" * 700,
    "ǅabc ǅABC",
    "1234567890",
    "  two  \n\n\t",
    "a\r\nb",
    "\x00\x7f\x85",
    "CF (CF): CF]",
)
pieces = st.sampled_from((*HARMONY_TOKENS, *ODD, "'s", " ", "  ", "\n", "\r\n", "/", "Ab", "é", "e\u0301", "你", "12"))
mixed = st.lists(pieces | st.text(max_size=8)).map("".join)


@pytest.fixture(scope="module")
def written(demo_model: Path) -> Any:
    tokenizers = pytest.importorskip("tokenizers", reason="needs the cpu extra")
    return tokenizers.Tokenizer.from_file(str(demo_model / "tokenizer.json"))


@given(text=st.text(max_size=60) | mixed)
@example("".join(LANGUAGES))
@example("\n".join(HOSTILE))
@example("\n".join(ESCAPES))
@example("\n".join(UNICODE))
@settings(max_examples=1000)
def test_every_text_has_the_ids_that_oss_harmony_gives_it(written: Any, text: str) -> None:
    ids = harmony_encoding().encode(text, allowed_special="all")

    assert written.encode(text, add_special_tokens=False).ids == ids
    assert written.decode(ids, skip_special_tokens=False) == text


def test_special_tokens_have_their_own_ids_and_none_is_beyond_the_models_rows(written: Any) -> None:
    encoding = harmony_encoding()
    specials = {name: encoding.encode(name, allowed_special="all")[0] for name in encoding.special_tokens_set}
    inside = {name: number for name, number in specials.items() if number < shape.VOCABULARY}

    assert {name: written.token_to_id(name) for name in inside} == inside
    assert max(written.get_vocab().values()) == shape.VOCABULARY - 1
