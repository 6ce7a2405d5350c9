"""Users: who sends a request, what they may do, and the pseudonym under which their decisions are kept."""

import contextlib
import getpass
import hashlib
import hmac
import ipaddress
import os
import secrets
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from safeguard_spark.config.review import ReviewConfig, Role
from safeguard_spark.errors import ConfigError

KEY_FILE, KEY_BYTES = "pseudonyms.key", 32
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class User:
    """A person. `reviewer` is their pseudonym."""

    name: str
    role: Role
    reviewer: str

    @property
    def may_author(self) -> bool:
        """Whether they may search, try and read policies with everything in them."""
        return self.role in (Role.author, Role.lead)

    @property
    def may_review(self) -> bool:
        """Whether they may judge contents."""
        return self.role in (Role.reviewer, Role.lead)

    @property
    def may_lead(self) -> bool:
        """Whether they may adjudicate and see how reviewers agree."""
        return self.role is Role.lead


class RefusedError(Exception):
    """A request from nobody that the console knows; the message is for them."""


@dataclass(frozen=True)
class Users:
    """Names the sender of a request. `key` is the secret of pseudonyms and tokens."""

    config: ReviewConfig
    key: bytes

    def __post_init__(self) -> None:
        """Raises ConfigError if strangers could reach the console without a name."""
        if not is_loopback(self.config.host) and not self.config.user_header:
            raise ConfigError(
                f"review.host={self.config.host} can be reached from other machines. Put a proxy in front that signs "
                "users in, and name its header as review.user_header; or leave review.host at 127.0.0.1."
            )
        if self.config.user_header and not self.config.users:
            raise ConfigError("review.user_header is set and review.users is empty: give the users and their roles.")

    def sender(self, names: Sequence[str], peer: str) -> User:
        """The user of a request from an address; `names` are the values of the proxy's header. Raises RefusedError."""
        if not self.config.user_header:
            return self._user(_own_name(), Role.lead)
        if not _is_listed(peer, self.config.proxies):
            raise RefusedError("Open the console through its proxy, which signs you in.")
        roles = {unicodedata.normalize("NFC", name): role for name, role in self.config.users.items()}
        spellings = _spellings(names[0]) if len(names) == 1 else ()  # two values: one of them is not the proxy's
        name = next((name for name in spellings if name in roles), "")
        role = roles.get(name)
        if role is None:
            raise RefusedError("You have no role in this console. Ask the person who runs it to add you.")
        return self._user(name, role)

    def _user(self, name: str, role: Role) -> User:
        return User(name, role, self.digest(f"reviewer {name}")[:16])

    def digest(self, text: str) -> str:
        """HMAC-SHA256 of a text, lower-case hex."""
        return hmac.new(self.key, text.encode(), hashlib.sha256).hexdigest()


def _own_name() -> str:
    """The name of the person who started the console; in a container the user may have none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())


def _spellings(value: str) -> Iterator[str]:
    """What a header's value may mean: its bytes were read as Latin-1, and most proxies send UTF-8."""
    yield value.strip()
    with contextlib.suppress(UnicodeError):
        yield unicodedata.normalize("NFC", value.encode("latin-1").decode()).strip()


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def load_key(folder: Path) -> bytes:
    """The secret of a console, made when it first starts. Whoever has it can tell which pseudonym is whose.

    Raises ConfigError for a file that holds no such secret, OSError.
    """
    file = folder / KEY_FILE
    folder.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        partial = folder / f".{KEY_FILE}"
        partial.unlink(missing_ok=True)
        partial.touch(mode=0o600)
        partial.write_text(secrets.token_hex(KEY_BYTES), encoding="ascii")
        partial.rename(file)
    try:
        key = bytes.fromhex(file.read_text(encoding="ascii"))
    except ValueError:
        key = b""
    if len(key) < KEY_BYTES:  # of a short key anybody finds out whose pseudonym is whose
        raise ConfigError(
            f"{file} has to have {2 * KEY_BYTES} hexadecimal digits. Restore it from a backup; or delete it, and every "
            "reviewer gets a new pseudonym."
        )
    return key


def _is_listed(peer: str, proxies: tuple[str, ...]) -> bool:
    return peer in proxies or (is_loopback(peer) and any(is_loopback(proxy) for proxy in proxies))
