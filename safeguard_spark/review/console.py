"""Console: what the screens share: tables, items, queue, policies, users, and how a page is rendered."""

import threading
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import PolicyError
from safeguard_spark.policy.document import Policy, load_policy
from safeguard_spark.policy.ref import policy_file
from safeguard_spark.review.characters import parts
from safeguard_spark.review.items import Item, Items
from safeguard_spark.review.journal import Journal, synchronize
from safeguard_spark.review.queue import Clock, ReviewQueue
from safeguard_spark.review.tables import LabelTables, console_folder, folder_error
from safeguard_spark.review.users import User, Users, load_key

HERE = Path(__file__).parent
REFRESH_S = 15.0  # how old what the console knows of the tables may be


class Console:
    """Everything of one console. Open it once; a second one on the same folder is refused."""

    def __init__(self, config: RunConfig, clock: Clock) -> None:
        """Read the tables. Raises ConfigError, TableError."""
        self.config, self.clock = config, clock
        self.tables = LabelTables(config.output)
        self.folder = console_folder(config, self.tables)
        try:
            self.users = Users(config.review, load_key(self.folder))
            self.journal = Journal(self.folder)
        except OSError as error:
            raise folder_error(self.folder, error) from error
        self.items = Items(self.tables)
        self.queue = ReviewQueue(self.journal, clock)
        self.engine_lock = threading.Lock()
        self._refreshed_at = -REFRESH_S
        self._decisions_version: int | None = None
        self.refresh()

    def refresh(self) -> None:
        """Read items and decisions again, if their tables have changed and the last time is a while ago."""
        if abs(self.clock() - self._refreshed_at) < REFRESH_S:  # the clock may be set back
            return
        self._refreshed_at = self.clock()
        self._decisions_version = synchronize(self.journal, self.tables, self._decisions_version)
        if self.items.refresh():
            self.queue.load(self.items.entries(self.config.review.second_share))

    def policy(self, name: str, version: str) -> Policy | None:
        """A policy version of the policies folder; None if it cannot be read."""
        file = policy_file(self.config.policies, name, version)
        try:
            return _policy(file, file.stat().st_mtime_ns)
        except (PolicyError, OSError):
            return None

    def policy_of(self, item: Item) -> Policy | None:
        """The policy of an item; None if its file is not here or has changed since."""
        policy = self.policy(item.policy, item.policy_version)
        return policy if policy and policy.policy_hash == item.policy_hash else None

    def close(self) -> None:
        """Let another process open it."""
        self.journal.close()


@lru_cache(maxsize=256)
def _policy(file: Path, _modified: int) -> Policy:
    return load_policy(file)


_TEMPLATES = Environment(
    loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
    lstrip_blocks=True,
)  # fmt: skip
_TEMPLATES.globals["parts"] = parts


def user_of(request: Request) -> User:
    """The sender of a request."""
    user: User = request.state.user
    return user


def console_of(request: Request) -> Console:
    """The console of a request, up to date."""
    console: Console = request.app.state.console
    console.refresh()
    return console


def field(request: Request, name: str, default: str = "") -> str:
    """A field of the request's form."""
    values: Sequence[str] = request.state.form.get(name, [default])
    return values[-1]


def fields(request: Request, name: str) -> tuple[str, ...]:
    """Every value of a field of the request's form."""
    return tuple(request.state.form.get(name, ()))


def page(request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """A rendered page."""
    shared = {"user": user_of(request), "token": request.state.token, "path": request.url.path}
    return HTMLResponse(_TEMPLATES.get_template(template).render(**shared, **values), status)


def refuse(request: Request, message: str, status: int = 403) -> Response:
    """A page that says why there is nothing to see."""
    return page(request, "message.html", status=status, title="Not here", message=message)


def see_other(path: str) -> Response:
    """Show another page after a form."""
    return RedirectResponse(path, 303)


def rules_of(policy: Policy | None, also: Iterable[str] = ()) -> list[dict[str, Any]]:
    """The rules of a policy for a form, the first nine with a key; ids that it lacks are added without a title."""
    rules = [
        {"id": rule.id, "category": rule.category, "title": rule.title, "severity": rule.severity.value}
        for rule in (policy.rules if policy else ())
    ]
    known = {rule["id"] for rule in rules}
    rules += [{"id": id, "category": "", "title": "", "severity": ""} for id in also if id not in known]
    return [{**rule, "key": str(number) if number <= 9 else ""} for number, rule in enumerate(rules, 1)]
