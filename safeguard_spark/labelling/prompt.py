"""Prompt: a policy and a content in the form the model reads, in two dialects.

Harmony renders to token ids with oss-harmony. The content is encoded as plain text, so control-token strings in it
stay text. As a second check the special ids of every prompt are counted, and must be the template's own.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from safeguard_spark.labelling.content import Content
from safeguard_spark.policy.document import Effort

PROMPT_VERSION = 1
TEMPLATE_SPECIALS = 10  # [start, message, end] for system, developer and user, then the assistant's start

# The tokenizer's time grows with the square of the length of a run without boundaries: 70 s for 262,144 letters a. So a
# text is encoded in slices that end where the tokenizer would end a token anyway. Only a run that is longer than a
# slice is cut elsewhere. (Of a million letters without a boundary the tokenizer's stack overflows.)
SLICE = 1024
_BOUNDARY = r"(?:(?<=[^\W_])(?=[\s.,;:!?()，。！？、])|(?<=[a-z])(?=[A-Z0-9])|(?<=[0-9])(?=[A-Za-z]))"
_SLICES = re.compile(rf".{{1,{SLICE}}}{_BOUNDARY}|.{{1,{SLICE}}}", re.DOTALL)


class Prompt(NamedTuple):
    """The input of one model call. `token_ids` is None in the chat dialect."""

    policy_text: str
    user_text: str
    token_ids: list[int] | None = None

    @property
    def messages(self) -> list[dict[str, str]]:
        """Chat messages: the policy as system, the content as user."""
        return [{"role": "system", "content": self.policy_text}, {"role": "user", "content": self.user_text}]


class TooLongError(ValueError):
    """A prompt is longer than allowed. The message says the limit."""


class InjectionError(ValueError):
    """A rendered prompt has a special token that is not the template's. This should never happen."""


def user_text(content: Content) -> str:
    """The user message: the text itself, or the turns, indented so that no text can imitate the header of a turn."""
    if content.turns is None:
        return content.text or ""
    count = len(content.turns)
    lines = [f"Conversation of {count} turn{'s' if count != 1 else ''}. Judge the last turn; the others are context."]
    for number, turn in enumerate(content.turns, 1):
        lines.append(f"[{number}] {_one_line(turn.role)}:")
        lines.extend("  " + line for line in (turn.text or "").splitlines() or [""])
    return "\n".join(lines)


def chat(body: str, content: Content) -> Prompt:
    """The prompt in the chat dialect."""
    return Prompt(body, user_text(content))


def harmony(body: str, effort: Effort, content: Content, limit: int | None = None) -> Prompt:
    """The prompt in the harmony dialect, up to and including `<|start|>assistant`.

    Raises TooLongError for more than `limit` tokens, without encoding much more than those, and InjectionError.
    """
    text = user_text(content)
    prefix, tail = _frame(body, effort)
    ids = list(prefix)
    for piece in _encoded(text):
        ids += piece
        if limit is not None and len(ids) + len(tail) > limit:
            raise TooLongError(f"over {limit} prompt tokens")
    ids += tail
    specials = sum(1 for token in ids if token >= _first_special())
    if specials != TEMPLATE_SPECIALS:
        raise InjectionError(f"{specials} special tokens where the template has {TEMPLATE_SPECIALS}")
    return Prompt(body, text, ids)


def count_tokens(text: str) -> int:
    """How many harmony tokens a text has; strings that look like control tokens count as plain text."""
    return sum(map(len, _encoded(text)))


def prefix_tokens(body: str, effort: Effort) -> int:
    """Number of tokens that every harmony prompt of a policy has before and after the content."""
    return sum(len(part) for part in _frame(body, effort))


def _encoded(text: str) -> Iterator[list[int]]:
    """The ids of a text, slice by slice. No special token is allowed: control-token strings in it stay text."""
    encoding = harmony_encoding()
    slices = (text,) if len(text) <= SLICE else (match[0] for match in _SLICES.finditer(text))
    for piece in slices:
        yield encoding.encode(piece, disallowed_special=())


@lru_cache(maxsize=1)
def harmony_encoding() -> Any:
    """oss-harmony's encoding with its embedded vocabulary, once per process (0.3 s; it cannot be pickled)."""
    from openai_harmony import HarmonyEncodingName, load_harmony_encoding

    return load_harmony_encoding(HarmonyEncodingName.HARMONY_GPT_OSS)


@lru_cache(maxsize=1)
def _first_special() -> int:
    """The lowest special id. Special ids are at the top of the vocabulary: every id from this one on is special."""
    encoding = harmony_encoding()
    return min(int(encoding.encode(token, allowed_special="all")[0]) for token in encoding.special_tokens_set)


@lru_cache(maxsize=64)
def _frame(body: str, effort: Effort) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Ids before and after the user's text. Rendered once: the prefix is the same for every content of a policy."""
    from openai_harmony import Conversation, DeveloperContent, Message, Role

    encoding = harmony_encoding()
    developer = DeveloperContent.new().with_instructions(body)
    head = [_system_message(effort), Message.from_role_and_content(Role.DEVELOPER, developer)]
    empty = Message.from_role_and_content(Role.USER, "")
    ids = encoding.render_conversation_for_completion(Conversation.from_messages([*head, empty]), Role.ASSISTANT)
    tail = 1 + 2  # <|end|>, then <|start|>assistant
    return tuple(ids[:-tail]), tuple(ids[-tail:])


def _system_message(effort: Effort) -> Any:
    from openai_harmony import Message, ReasoningEffort, Role, SystemContent

    system = SystemContent.new().with_reasoning_effort(ReasoningEffort(effort.value.capitalize()))
    return Message.from_role_and_content(Role.SYSTEM, system)


def _one_line(role: str | None) -> str:
    return " ".join((role or "unknown").split())[:40] or "unknown"
