"""Where an endpoint is, as configuration names it, and the key it asks for."""

import os
import urllib.request
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from safeguard_spark.errors import ConfigError

LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Address(NamedTuple):
    """`base` is what paths are put after, without `/v1`; `socket` a Unix socket's path; `shown` what people read."""

    base: str
    socket: str | None
    shown: str
    proxy: str | None = None


def address(url: str) -> Address:
    """The address of `engine.url`: `unix:/path`, or `http(s)://host[:port][/path]`, with or without `/v1` at its end.

    Raises ConfigError.
    """
    if url.startswith("unix:"):
        path = url.removeprefix("unix:")
        path = path.removeprefix("//") if path.startswith("///") else path
        if not path:
            raise ConfigError("engine.url unix: needs the socket's path, for example unix:/run/engine.sock.")
        return Address("http://localhost", path, f"unix:{path}")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError("engine.url must be http://host:port, https://host or unix:/path.")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError("engine.url holds more than an address: a key belongs in engine.api_key_env's variable.")
    base = url.rstrip("/").removesuffix("/v1").rstrip("/")
    return Address(base, None, base, None if host in LOOPBACK else _proxy(parts.scheme, host))


def _proxy(scheme: str, host: str) -> str | None:
    return None if urllib.request.proxy_bypass(host) else urllib.request.getproxies().get(scheme)


def api_key(variable: str | None, environ: Mapping[str, str] = os.environ) -> str | None:
    """The key in the environment variable that `engine.api_key_env` names; None without one. Raises ConfigError."""
    if not variable:
        return None
    key = environ.get(variable, "").strip()
    if not key:
        raise ConfigError(
            f"The environment variable {variable}, named by engine.api_key_env, is not set where the engine is asked: "
            "set it on the driver and on every executor."
        )
    if not key.isprintable() or not key.isascii():
        raise ConfigError(f"The environment variable {variable} holds something that cannot be an API key.")
    return key
