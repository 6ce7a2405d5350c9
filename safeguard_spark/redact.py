"""Redact: remove the secrets of a configuration before it is logged or stored."""

import re
from typing import Any

HIDDEN = "***"
# `HF_TOKEN`, `fs.s3a.secret.key` and `authToken`, but neither `tokenizer` nor `max_tokens`.
_NAME = re.compile(r"password|passwd|secret|credential|(?:token|key)(?![a-z])", re.IGNORECASE)
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_USER = re.compile(r"(?<=://)(?!/)\S*@")


def without_password(text: str) -> str:
    """A URI, or a sentence with one, without the user and password before the host.

    A password may contain `/` or `@`, so everything up to the last `@` is removed.
    """
    return _USER.sub("", text)


def redacted(value: Any) -> Any:
    """A configuration's plain values without secrets: texts whose key names a secret, and passwords in URIs.

    `api_key_env` and other keys ending in `_env` hold the name of a variable, which is not a secret. One that does not
    look like such a name is hidden: it may be the secret itself, by mistake.
    """
    if isinstance(value, dict):
        return {key: HIDDEN if _is_secret(str(key), inner) else redacted(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(inner) for inner in value]
    return without_password(value) if isinstance(value, str) else value


def _is_secret(name: str, value: Any) -> bool:
    if not isinstance(value, str) or not value or not _NAME.search(name):
        return False
    return not (name.endswith("_env") and _VARIABLE.fullmatch(value))
