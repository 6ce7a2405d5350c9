"""A folder with label tables as a draw leaves them, and consoles over it, without Spark."""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from safeguard_spark.config.load import build_config
from safeguard_spark.policy.document import Policy, parse_policy
from safeguard_spark.review.app import build_app
from safeguard_spark.review.console import Console
from safeguard_spark.review.tables import LabelTables
from safeguard_spark.review.users import KEY_FILE
from safeguard_spark.schema import DECISIONS, REVIEW_ITEMS
from tests.build import policy_text

START = 1_790_000_000.0
PROXY = "127.0.0.1"
HEADER = "X-Signed-In"
RULES = [
    {"id": "M1", "category": "counterfeit", "title": "Counterfeit goods", "severity": "high"},
    {"id": "M2", "category": "weapons", "title": "Weapons", "severity": "low"},
]
TEXT = policy_text(rules={}, text="No replicas, no rifles.").replace("rules: []", f"rules: {json.dumps(RULES)}")
POLICY = parse_policy(TEXT)


class Clock:
    """Seconds that pass when a test says so, and a millisecond each time it is read: decisions have an order."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


class World:
    """Tables in a folder, a policy in another, and a clock."""

    def __init__(self, folder: Path, output: Path | None = None) -> None:
        self.folder, self.clock = folder, Clock()
        self.output = output or folder / "tables"
        self.output.mkdir(exist_ok=True)
        self.tables = LabelTables(str(self.output))
        (self.output / "_review").mkdir(exist_ok=True)
        (self.output / "_review" / KEY_FILE).write_text(
            "5a" * 32
        )  # the same pseudonyms, and so calibrations, each time
        self.add_policy(TEXT)

    def add_policy(self, text: str) -> Policy:
        policy = parse_policy(text)
        file = self.folder / "policies" / policy.name / policy.version / "policy.md"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return policy

    def config(self, **review: Any) -> dict[str, Any]:
        """Configuration values."""
        return {
            "policies": str(self.folder / "policies"),
            "output": str(self.output),
            "engine": {"kind": "scripted", "args": {"words": {"replica": "M1"}}},
            "review": {"second_share": 0.0, **review},
        }

    def users(self, **roles: str) -> dict[str, Any]:
        """The settings of a console behind a proxy."""
        return {"user_header": HEADER, "users": roles}

    def draw(self, *texts: str, **columns: Any) -> list[str]:
        """Add an item for each text; `columns` are those of every row. Returns the items' ids."""
        return self.draw_rows({"content": json.dumps({"text": text}), **columns} for text in texts)

    def draw_rows(self, rows: Iterable[dict[str, Any]]) -> list[str]:
        """Add items; columns that a row lacks are those of a safe label in the estimating sample."""
        self.tables.create(REVIEW_ITEMS)
        start = len(self.rows(REVIEW_ITEMS))
        made = [item_row(start + number, row) for number, row in enumerate(rows)]
        self.tables.append(REVIEW_ITEMS, made)
        return [row["item_id"] for row in made]

    def rows(self, table: Any) -> list[dict[str, Any]]:
        """The rows of a table."""
        opened = self.tables.open(table)
        return [] if opened is None else list(opened.to_pyarrow_table().to_pylist())

    @property
    def decisions(self) -> list[dict[str, Any]]:
        """The rows of `decisions`, oldest first."""
        return sorted(self.rows(DECISIONS), key=lambda row: row["decided_at"])

    @contextmanager
    def console(self, **review: Any) -> Iterator[Console]:
        """A console over the tables."""
        console = Console(build_config(self.config(**review)), self.clock)
        try:
            yield console
        finally:
            console.close()

    @contextmanager
    def serving(self, **review: Any) -> Iterator["Desk"]:
        """A console that serves; its decisions are in the table when it ends."""
        with self.console(**review) as console, Desk(console) as desk:
            yield desk


def item_row(number: int, columns: dict[str, Any]) -> dict[str, Any]:
    """A row of `review_items`."""
    purpose = columns.get("purpose", "estimate")
    of_estimate = {"stratum": "unflagged", "stratum_size": 1_000, "inclusion_probability": 0.1}
    return {
        "item_id": f"{number:064x}", "sample_id": "s1", "purpose": purpose, "collection": "posts",
        "content_id": f"p{number}", "content_hash": f"{number:064x}", "policy": POLICY.name,
        "policy_version": POLICY.version, "policy_hash": POLICY.policy_hash, "labeler": "demo/low",
        "labeler_hash": "1" * 64, "work_key": f"{number:064x}", "outcome": "labelled", "violation": False,
        "category": None, "rule_ids": [], "confidence": "high", "labelled_at": datetime.fromtimestamp(START, UTC),
        "drawn_at": datetime.fromtimestamp(START, UTC), "rationale": "The model wrote this rationale.",
        **(of_estimate if purpose == "estimate" else {}), **columns,
    }  # fmt: skip


FLAGGED = {"violation": True, "category": "counterfeit", "rule_ids": ["M1"], "stratum": "flagged"}


class Desk:
    """A console and the people in front of it."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.app = build_app(console, append_every_s=3600)

    def person(self, name: str | None = None, peer: str = PROXY) -> "Person":
        """A person whom the proxy names, or the only one there is."""
        client = TestClient(
            self.app, base_url="http://127.0.0.1", follow_redirects=True, client=(peer, 1), raise_server_exceptions=True
        )
        return Person(client, {HEADER: name} if name else {})

    def __enter__(self) -> "Desk":
        self._running = TestClient(self.app)
        self._running.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._running.__exit__()


class Person:
    """A browser without scripts: it sends the forms that it was shown."""

    def __init__(self, client: TestClient, headers: dict[str, str]) -> None:
        self.client, self.headers = client, headers
        self.status, self.html = 0, ""

    def get(self, path: str) -> str:
        """The page at a path."""
        return self._keep(self.client.get(path, headers=self.headers))

    def post(self, path: str, headers: dict[str, str] | None = None, **fields: Any) -> str:
        """Send a form with the token of the page that is shown."""
        form = {"token": self.hidden("token"), **fields}
        return self._keep(self.client.post(path, data=form, headers={**self.headers, **(headers or {})}))

    def hidden(self, name: str) -> str:
        """The value of a hidden field of the page."""
        match = re.search(rf'name="{name}" value="([^"]*)"', self.html)
        return unescape(match[1]) if match else ""

    def decide(self, answer: str, *rules: str, reason: str = "", action: str = "decide") -> str:
        """Answer the item that is shown."""
        path = re.findall(r'action="(/[^"]*)" id="decide"', self.html)[0]
        fields = {"item_id": self.hidden("item_id"), "decision_id": self.hidden("decision_id")}
        return self.post(path, **fields, answer=answer, rule=list(rules), reason=reason, action=action)

    def next(self) -> str:
        """Go on to the next item."""
        return self.post("/queue/market", item_id=self.hidden("item_id"), action="next")

    def undo(self) -> str:
        """Take back the last decision."""
        return self.post("/queue/market", action="undo")

    @property
    def left(self) -> int:
        """The count of items that are left, as shown."""
        return int(re.findall(r"<strong>([\d,]+)</strong> left", self.html)[0].replace(",", ""))

    @property
    def content(self) -> str:
        """The content that is shown, as text."""
        shown = self.html.partition('id="content-text"')[2].partition("</section>")[0]
        return unescape(re.sub(r"<[^>]*>", "", shown.partition(">")[2])).strip()

    def _keep(self, response: Any) -> str:
        self.status, self.html = response.status_code, response.text
        self.response = response
        return self.html
