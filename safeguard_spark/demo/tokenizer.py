"""Tokenizer: oss-harmony's embedded vocabulary as the files of a Hugging Face folder.

The server needs them for structured output and for stop strings; prompts reach it as token ids.
"""

import json
from pathlib import Path
from typing import Any

from safeguard_spark.demo import shape
from safeguard_spark.labelling.prompt import harmony_encoding

# The split pattern of o200k, as published with tiktoken (openai_public.py, o200k_base).
SPLIT = "|".join((
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}",
    r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
    r"\s*[\r\n]+",
    r"\s+(?!\S)",
    r"\s+",
))  # fmt: skip
CHAT_TEMPLATE = (
    "{% for message in messages %}<|start|>{{ message['role'] }}<|message|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)


def write(folder: Path) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json`."""
    tokens, specials = _vocabulary()
    letters = _byte_letters()
    text = {rank: "".join(letters[byte] for byte in token) for token, rank in tokens.items()}
    added = [
        {"id": number, "content": name, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
         "special": True}
        for number, name in sorted(specials.items())
    ]  # fmt: skip
    split = {"type": "Split", "pattern": {"Regex": SPLIT}, "behavior": "Isolated", "invert": False}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": True,
            "vocab": {token: rank for rank, token in text.items()},
            "merges": [[text[left], text[right]] for left, right in _merges(tokens)],
        },
    }  # fmt: skip
    _dump(folder / "tokenizer.json", document)
    _dump(folder / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|startoftext|>",
        "eos_token": "<|return|>",
        "pad_token": "<|endoftext|>",
        "model_max_length": shape.config()["max_position_embeddings"],
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    })  # fmt: skip


def _vocabulary() -> tuple[dict[bytes, int], dict[int, str]]:
    """Text tokens by their bytes, and special tokens by id."""
    encoding = harmony_encoding()
    special = {encoding.encode(name, allowed_special="all")[0]: name for name in encoding.special_tokens_set}
    special = {number: name for number, name in special.items() if number < shape.VOCABULARY}  # one reserved is beyond
    first = min(special)
    # The public decode gives text, which is lossy for tokens that hold part of a character.
    tokens = {encoding._inner.decode_bytes([number]): number for number in range(first) if number not in special}
    return tokens, special


def _merges(tokens: dict[bytes, int]) -> list[tuple[int, int]]:
    """The two ranks that each longer token is merged from, in order of rank. `tokens` are ranks, lowest first."""
    merges = []
    for token, rank in tokens.items():
        if len(token) > 1:
            parts = _parts(token, rank, tokens)
            if len(parts) == 2:
                merges.append((tokens[parts[0]], tokens[parts[1]]))
    return merges


def _parts(token: bytes, below: int, tokens: dict[bytes, int]) -> list[bytes]:
    """Byte-pair merging of a token with only the earlier tokens, until two parts are left or none can be merged."""
    parts = [token[at : at + 1] for at in range(len(token))]
    ranks = [tokens.get(token[at : at + 2], below) for at in range(len(token) - 1)]  # of each part with the next
    while len(parts) > 2:
        rank = min(ranks)
        if rank >= below:
            break
        at = ranks.index(rank)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
        del ranks[at]
        for changed in (at - 1, at):
            if 0 <= changed < len(ranks):
                ranks[changed] = tokens.get(parts[changed] + parts[changed + 1], below)
    return parts


def _byte_letters() -> list[str]:
    """GPT-2's printable letter for each byte: itself where printable, else one from U+0100 on."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    letters, spare = [], 256
    for byte in range(256):
        letters.append(chr(byte if byte in printable else spare))
        spare += byte not in printable
    return letters


def _dump(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
