"""The demo model's tokenizer files give oss-harmony's ids, whatever the text."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from safeguard_spark.demo import shape, tokenizer
from safeguard_spark.demo.content import HOSTILE, LANGUAGES
from safeguard_spark.prompt import harmony_encoding
from tests.hostile import ESCAPES, HARMONY_TOKENS, UNICODE

pytestmark = pytest.mark.unit

ODD = ("can't WON'T ʼs", "x" * 700, "ǅabc ǅABC", "1234567890", "  two  \n\n\t", "a\r\nb", "\x00\x7f\x85", "CF (CF): CF]")
pieces = st.sampled_from((*HARMONY_TOKENS, *ODD, "'s", " ", "  ", "\n", "\r\n", "/", "Ab", "é", "e\u0301", "你", "12"))
mixed = st.lists(pieces | st.text(max_size=8)).map("".join)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Any:
    tokenizers = pytest.importorskip("tokenizers", reason="needs the cpu extra")
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    tokenizer.write(folder)
    return tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))


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


def test_every_token_is_in_the_files_under_its_own_id(written: Any) -> None:
    encoding = harmony_encoding()
    specials = {name: encoding.encode(name, allowed_special="all")[0] for name in encoding.special_tokens_set}

    assert {name: written.token_to_id(name) for name in specials} == specials
    assert written.get_vocab_size() == max(specials.values()) + 1 - len(_gaps(specials.values()))
    assert max(specials.values()) < shape.VOCABULARY


def test_the_folder_is_one_that_transformers_loads(written: Any, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the cpu extra")
    tokenizer.write(tmp_path)

    loaded = transformers.AutoTokenizer.from_pretrained(tmp_path)

    ask = [{"role": "user", "content": "hello"}]
    said = loaded.apply_chat_template(ask, add_generation_prompt=True, tokenize=False)
    assert said == "<|start|>user<|message|>hello<|end|><|start|>assistant"
    assert loaded.eos_token_id == 200_002


def _gaps(ids: Any) -> list[int]:
    return []
