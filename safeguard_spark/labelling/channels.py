"""Channels: what of a completion is reasoning, and which texts may be the answer.

A server normally separates the two. Where it did not, they are separated here, and only where the text itself says so
from its first word on: a channel word inside a text may come from the content.
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from safeguard_spark.labelling.prompt import harmony_encoding

START, CHANNEL, MESSAGE = 200_006, 200_005, 200_008  # o200k_harmony
ENDS = (200_002, 200_007, 200_012)  # <|return|>, <|end|>, <|call|>

_SPECIAL = re.compile(r"<\|[a-z]+\|>")
_LEAKED_TOKENS = re.compile(r"\s*(?:<\|start\|>assistant)?<\|channel\|>")
_LEAKED_WORDS = re.compile(r"\s*(?:assistant)?(?:analysis|commentary|final(?=\s*(?:json)?\s*[{01]))")
_CHANNEL_WORD = re.compile(r"assistant(analysis|commentary|final)")
_FORMAT_WORD = re.compile(r"\s*json(?=\s*[{01])")
_THINK_OPENS = re.compile(r"<(?:think|thinking|thought|reasoning)>|\[THINK\]", re.IGNORECASE)
_THINK_CLOSES = re.compile(r"</(?:think|thinking|thought|reasoning)>|\[/THINK\]", re.IGNORECASE)
_TAG = re.compile(r"\s*(?:<[^<>]{1,40}>|[◁⟨][^▷⟩]{1,40}[▷⟩]|\[[A-Z_]{3,40}\])")  # of a reasoning format, known or not
# What a thought does not begin with, unless the tag that ends it is quoted from the content.
_ANSWER = re.compile(r"\s*(?:[{\[]|```|[\W_]*(?:[01]|true|false)\W|(?:\w+ ){0,3}violation\W*[:=])", re.IGNORECASE)
_ANSWER_KEY = re.compile(r"violation\W{0,4}[:=]", re.IGNORECASE)
_LANGUAGE = re.compile(r"\A[A-Za-z]+(?=[\s{\[])")
_SURROGATE = re.compile("[\ud800-\udfff]")


class Final(NamedTuple):
    """A final message. `is_ended`: an end token closes it, so that it is whole even if the completion was cut short."""

    text: str
    is_ended: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether nothing of it is missing, also if the completion was cut short."""
        return self.is_ended or is_json(self.text)


class Channels(NamedTuple):
    """The parts of a completion. Without `finals`, the model never reached its final channel.

    `is_leaked`: the channels were found in the text, so nothing may be around the answer in it.
    """

    raw: str | None
    reasoning: str | None = None
    finals: tuple[Final, ...] = ()
    is_leaked: bool = False


def of_ids(ids: Sequence[int]) -> Channels:
    """The channels of a harmony completion. Never raises."""
    try:
        raw = printable(harmony_encoding().decode(ids))
    except Exception:  # Totality: on malformed ids oss-harmony raises HarmonyError, OverflowError and others.
        raw = None
    if raw is not None and CHANNEL not in ids and MESSAGE not in ids:
        # A server removed the special tokens: `analysisWe must … assistantfinal{…}`.
        words = _SPECIAL.sub("", raw)
        return _of_words(words)._replace(raw=raw) if _LEAKED_WORDS.match(words) else Channels(raw)
    reasoning: list[str] = []
    finals: list[Final] = []
    for message in _messages(ids):
        channel, text = _parsed(message)
        if channel == "final":
            finals.append(Final(text, message[-1] in ENDS))
        else:
            reasoning.append(text)
    return Channels(raw, _joined(reasoning), tuple(finals))


def of_text(text: str, reasoning: str | None, is_cut: bool) -> Channels:
    """The channels of a chat completion: its text, and the reasoning that the server separated. Never raises."""
    text, before = printable(text), [printable(reasoning or "")]
    if not text.strip():
        # Some servers take the answer for reasoning. A chain of thought that only quotes one is no answer.
        is_answer = reasoning is not None and not is_cut and is_json(before[0])
        return Channels(text, _joined(before), (Final(before[0]),) if is_answer else (), is_leaked=True)
    if _LEAKED_TOKENS.match(text):
        channels = of_ids(harmony_encoding().encode(text.strip(), allowed_special="all"))
        channels = _leaked(text, channels.reasoning, channels.finals)
    elif _LEAKED_WORDS.match(text):
        channels = _of_words(text)
    else:
        channels = _of_tags(text)
    return channels._replace(raw=text, reasoning=_joined([*before, channels.reasoning or ""]))


def is_json(text: str) -> bool:
    """Whether a text, code fences aside, is one complete JSON value."""
    try:
        json.loads(unfenced(text), strict=False)
    except (ValueError, RecursionError):
        return False
    return True


def unfenced(text: str) -> str:
    """A text without the code fences around all of it."""
    text = text.strip()
    if len(text) >= 6 and text.startswith("```") and text.endswith("```"):
        return _LANGUAGE.sub("", text[3:-3]).strip()
    return text


def printable(text: str) -> str:
    """Text that UTF-8, and so Parquet, can hold: lone surrogates become U+FFFD."""
    return _SURROGATE.sub("\ufffd", text)


def _messages(ids: Sequence[int]) -> Iterator[list[int]]:
    """The ids of each message: a start begins one, an end ends one. So what breaks one message breaks no other."""
    message: list[int] = []
    for token in ids:
        if token == START and message:
            yield message
            message = []
        message.append(token)
        if token in ENDS:
            yield message
            message = []
    if message:
        yield message


def _parsed(message: list[int]) -> tuple[str | None, str]:
    """Channel and text of one message; no channel and no text if it is malformed."""
    from openai_harmony import Role

    if MESSAGE not in message:
        return None, ""
    role = None if message[0] == START else Role.ASSISTANT  # the prompt ends with the first message's start and role
    try:
        (parsed,) = harmony_encoding().parse_messages_from_completion_tokens(message, role, strict=False)
    except Exception:  # see of_ids
        return None, ""
    text = "".join(getattr(part, "text", "") or "" for part in parsed.content)
    return parsed.channel if parsed.author.role is Role.ASSISTANT else None, printable(text)


def _of_words(text: str) -> Channels:
    """The channels of `analysisWe must … assistantfinal{…}`: harmony without its special tokens."""
    first, *rest = _CHANNEL_WORD.split(f"assistant{text.strip().removeprefix('assistant')}")[1:]
    parts = list(zip([first, *rest[1::2]], rest[::2], strict=True))
    finals = (Final(_FORMAT_WORD.sub("", part, count=1)) for channel, part in parts if channel == "final")
    reasoning = [part for channel, part in parts if channel != "final"]
    return _leaked(text, _joined(reasoning), tuple(finals))


def _leaked(text: str, reasoning: str | None, finals: tuple[Final, ...]) -> Channels:
    """Channels found in a text. A final message must end it: one before reasoning may be quoted from the content."""
    bare = _SPECIAL.sub("", text).rstrip()
    if finals and not bare.endswith(_SPECIAL.sub("", finals[-1].text).strip()):
        finals = ()
    return Channels(text, reasoning, finals, is_leaked=True)


def _of_tags(text: str) -> Channels:
    """The channels of `<think>…</think>…`; a template may have written the first tag. All is final without tags.

    A second closing tag, or one after what looks like an answer, may be quoted from the content: then nothing is final.
    """
    if is_json(text):
        return Channels(text, finals=(Final(text),))  # a tag in it is quoted
    is_opened = _THINK_OPENS.match(text.lstrip()) is not None
    close = _THINK_CLOSES.search(text)
    if close is None:
        is_final = not _TAG.match(text) and not _THINK_OPENS.search(text)
        return Channels(text, None, (Final(text),)) if is_final else Channels(text, _joined([text]))
    thought, final = text[: close.start()], text[close.end() :]
    is_quoted = not is_opened and (_ANSWER.match(thought) or _ANSWER_KEY.search(thought))
    if is_quoted or (_THINK_CLOSES.search(final) and not is_json(final)):
        return Channels(text, _joined([text]))
    return Channels(text, _joined([thought]), (Final(final),), is_leaked=True)


def _joined(parts: list[str]) -> str | None:
    texts = (_THINK_OPENS.sub("", part).strip() for part in parts)
    return "\n".join(text for text in texts if text) or None
