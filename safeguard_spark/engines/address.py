"""The address of an endpoint, from its configuration, and its API key."""

import os
import urllib.request
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from safeguard_spark.errors import ConfigError

LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Address(NamedTuple):
    """`base` is the URL before the path, without `/v1`; `socket` a Unix socket's path; `display` is for messages."""

    base: str
    socket: str | None
    display: str
    proxy: str | None = None


def parse_address(url: str) -> Address:
    """The address of `engine.url`: `unix:/path`, or `http(s)://host[:port][/path]`, with or without `/v1` at its end.

    Raises ConfigError.
    """
    if url.startswith("unix:"):
        path = url.removeprefix("unix:")
        path = path.removeprefix("//") if path.startswith("///") else path
        if not path:
            raise ConfigError("engine.url unix: needs the path of a socket, for example unix:/run/engine.sock.")
        return Address("http://localhost", path, f"unix:{path}")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError("engine.url must be http://host:port, https://host or unix:/path.")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(
            "engine.url contains more than an address. Put a key into an environment variable and its name into "
            "engine.api_key_env."
        )
    base = url.rstrip("/").removesuffix("/v1").rstrip("/")
    return Address(base, None, base, None if host in LOOPBACK else _proxy(parts.scheme, host))


def _proxy(scheme: str, host: str) -> str | None:
    return None if urllib.request.proxy_bypass(host) else urllib.request.getproxies().get(scheme)


def api_key(variable: str | None, environ: Mapping[str, str] = os.environ) -> str | None:
    """The key in the environment variable that `engine.api_key_env` names; None without one.

    Raises ConfigError, which does not repeat the name: it may be the key itself, by mistake.
    """
    if not variable:
        return None
    key = environ.get(variable, "").strip()
    if not key:
        raise ConfigError(
            "The environment variable that engine.api_key_env names is not set here. Set it on the driver and on every "
            "executor, and write its name, not the key, into engine.api_key_env."
        )
    if not key.isprintable() or not key.isascii():
        raise ConfigError(
            "The environment variable that engine.api_key_env names does not contain an API key. Use printable ASCII."
        )
    return key
