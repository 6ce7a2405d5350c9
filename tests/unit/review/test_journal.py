"""Every decision is in the table once, though people race, consoles are killed, and rows are erased or come later."""

import contextlib
import http.client
import random
import signal
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from deltalake.exceptions import DeltaError

from safeguard_spark.config.load import build_config
from safeguard_spark.errors import ConfigError, SafeguardError
from safeguard_spark.review.console import REFRESH_S, Console
from safeguard_spark.review.erasure import clean_console
from safeguard_spark.review.journal import append_new, synchronize
from safeguard_spark.review.queue import Answer, NotYoursError
from safeguard_spark.review.tables import select
from safeguard_spark.review.users import KEY_FILE
from safeguard_spark.schema import DECISIONS, REVIEW_ITEMS
from tests.unit.review.browser import Browser, Process
from tests.unit.review.world import FLAGGED, HEADER, World

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("seed", range(20))
def test_two_people_who_race_decide_every_item_once(world: World, seed: int) -> None:
    ids = world.draw(*(f"post {number}" for number in range(200)), **FLAGGED)
    chance = random.Random(seed)
    with world.console(**world.users(ada="reviewer", ben="reviewer")) as console:
        people = {name: console.users.sender([name], "127.0.0.1").reviewer for name in ("ada", "ben")}
        steps, undone = 0, 0
        while any(console.queue.left(reviewer, "market") for reviewer in people.values()):
            steps += 1
            assert steps < 5_000
            reviewer = people[chance.choice(("ada", "ben"))]
            world.clock.now += chance.choice((1, 5, 20, 1_000) if chance.random() < 0.02 else (1, 5))
            _step(console, reviewer, chance)
            undone += chance.random() < 0.01 and console.queue.undo(reviewer) is not None
            if chance.random() < 0.05:
                append_new(console.journal, console.tables)
        append_new(console.journal, console.tables)
    rows = world.decisions
    withdrawn = {row["withdraws"] for row in rows}
    standing = [r for r in rows if r["answer"] != "withdrawn" and r["decision_id"] not in withdrawn]
    assert len({row["decision_id"] for row in rows}) == len(rows)
    by_item = {item: {r["reviewer"] for r in standing if r["item_id"] == item} for item in ids}
    assert {len(reviewers) for reviewers in by_item.values()} == {1}
    assert undone == sum(row["answer"] == "withdrawn" for row in rows)
    assert len({row["reviewer"] for row in standing}) == 2


def _step(console: Any, reviewer: str, chance: random.Random) -> None:
    """What a person may do next: open an item, decide it, reload, or leave it."""
    current = console.queue.current(reviewer)
    if current is None or current.decision_id or chance.random() < 0.1:
        current = console.queue.take(reviewer, "market")
    if current is None or chance.random() < 0.3:
        return
    answer = Answer(f"{chance.getrandbits(128):032x}", "violation", ("M1",))
    template = console.items.find(current.item_id).template
    for _ in range(chance.choice((1, 1, 2))):  # a form may be sent twice
        try:
            console.queue.decide(reviewer, current, answer, template)
        except NotYoursError:
            return


def test_a_kill_between_journal_and_table_loses_and_repeats_nothing(world: World) -> None:
    ids = world.draw(*(f"post {number}" for number in range(60)))
    config = world.folder / "run.yaml"
    config.write_text(yaml.safe_dump(world.config(port=0)))
    chance, acknowledged = random.Random(4), set[str]()
    for sign in (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM):
        console = Process(config, append_every_s=0.05)
        person = Browser(console.url)
        person.get("queue/market")
        for _ in range(chance.randint(8, 12)):
            acknowledged.add(person.decide("safe"))
            person.next()
        console.end(sign)  # at some moment of an append every 50 ms
    rows = world.decisions
    assert sorted(row["item_id"] for row in rows) == sorted(acknowledged) and len(acknowledged) >= 40
    assert acknowledged <= set(ids) and len({row["decision_id"] for row in rows}) == len(rows)


def test_two_people_who_race_while_the_console_is_killed_decide_every_item_once(world: World) -> None:
    ids = world.draw(*(f"post {number}" for number in range(120)))
    config = world.folder / "run.yaml"
    config.write_text(yaml.safe_dump(world.config(port=0, **world.users(ada="reviewer", ben="reviewer"))))
    acknowledged: list[str] = []

    def review(url: str, name: str) -> None:
        person = Browser(url, {HEADER: name})
        with contextlib.suppress(OSError, http.client.HTTPException):  # the console was killed
            person.get("queue/market")
            while person.has_item:
                if not person.is_judged:  # else it was recorded, and the console was killed before it could say so
                    acknowledged.append(person.decide("safe"))
                person.next()

    for enough, sign in ((25, signal.SIGKILL), (50, signal.SIGKILL), (75, signal.SIGKILL), (1_000, signal.SIGTERM)):
        console = Process(config, append_every_s=0.05)
        people = [threading.Thread(target=review, args=(console.url, name)) for name in ("ada", "ben")]
        for person in people:
            person.start()
        while len(acknowledged) < enough and any(person.is_alive() for person in people):
            time.sleep(0.01)
        if sign == signal.SIGKILL:
            console.end(sign)  # in the middle of whatever it does
        for person in people:
            person.join()
        if sign == signal.SIGTERM:
            console.end(sign)
    rows = world.decisions
    assert len({row["decision_id"] for row in rows}) == len(rows)
    assert sorted(row["item_id"] for row in rows) == sorted(ids)  # once each, whether it was acknowledged or not
    assert set(acknowledged) <= set(ids) and len(acknowledged) == len(set(acknowledged)) >= 110
    assert len({row["reviewer"] for row in rows}) == 2


def test_a_console_that_dies_with_decisions_appends_them_when_it_is_back(world: World) -> None:
    world.draw("a", "b", "c")
    config = world.folder / "run.yaml"
    config.write_text(yaml.safe_dump(world.config(port=0)))
    console = Process(config, append_every_s=3600)
    person = Browser(console.url)
    person.get("queue/market")
    item = person.decide("safe")
    console.end(signal.SIGKILL)
    assert world.decisions == []
    console = Process(config, append_every_s=3600)
    Browser(console.url).get("queue")
    console.end(signal.SIGINT)
    assert [row["item_id"] for row in world.decisions] == [item]


def test_only_one_process_serves(world: World) -> None:
    with world.console(), pytest.raises(ConfigError, match="Another console"), world.console():
        pass


def test_a_console_without_its_journal_takes_the_decisions_from_the_table(world: World) -> None:
    world.draw("a", "b", "c")
    with world.serving() as desk:
        ada = desk.person()
        ada.get("/queue/market")
        ada.decide("safe")
        world.clock.now += 1
        ada.decide("violation", "M1", reason="r")
        world.clock.now += 1
        ada.undo()
        ada.next()
        assert ada.left == 2
    for file in (world.output / "_review").glob("journal.db*"):
        file.unlink()
    before = world.decisions
    world.clock.now += 1
    with world.serving() as desk:
        ada = desk.person()
        ada.get("/queue/market")
        assert ada.left == 2 and ada.content == "b"
        ada.decide("safe")
    assert world.decisions[: len(before)] == before and len(world.decisions) == len(before) + 1


def test_what_is_erased_from_the_table_leaves_the_journal_to_the_last_byte(world: World) -> None:
    world.draw("a", "b")
    reason = "quoted-" + "q" * 40
    with world.serving() as desk:
        ada = desk.person()
        ada.get("/queue/market")
        ada.decide("safe", reason=reason)
        ada.next()
        ada.decide("safe", reason="another")
    table = world.tables.open(DECISIONS)
    assert table
    table.delete("content_id = 'p0'")
    with world.console() as console:
        assert [d.content_id for d in console.journal.decisions()] == ["p1"]
    folder = world.output / "_review"
    assert not any(reason.encode() in file.read_bytes() for file in folder.iterdir())
    assert any(b"another" in file.read_bytes() for file in folder.iterdir())


@pytest.mark.parametrize("is_serving", [True, False])
def test_a_decision_about_what_was_erased_before_it_was_appended_never_comes_back(
    world: World, is_serving: bool
) -> None:
    world.draw("a", "b")
    reason = "quoted-" + "q" * 40
    with world.console() as console:
        for made in ("1", "2"):
            decide_next(console, made, reason=reason if made == "1" else "")
        for table in (world.tables.open(REVIEW_ITEMS), world.tables.open(DECISIONS)):
            assert table
            table.delete("content_id = 'p0'")
        if is_serving:
            assert append_new(console.journal, console.tables) == 1
    clean_console(build_config(world.config()))
    with world.console() as console:
        append_new(console.journal, console.tables)
        assert [made.decision_id for made in console.journal.decisions()] == ["2"]
    assert [row["decision_id"] for row in world.decisions] == ["2"]
    assert not any(reason.encode() in file.read_bytes() for file in (world.output / "_review").iterdir())


@pytest.mark.parametrize("before", [0, 1])
def test_a_journal_from_a_backup_loses_no_decision_though_something_was_erased_since(world: World, before: int) -> None:
    world.draw("a", "b", "c", "d")
    file = world.output / "_review" / "journal.db"
    for made in range(4):
        with world.console() as console:
            if made:
                decide_next(console, str(made))
                append_new(console.journal, console.tables)
        if made == before:
            backup = file.read_bytes()
    table = world.tables.open(DECISIONS)
    assert table
    table.delete("decision_id = '2'")
    file.write_bytes(backup)
    with world.console() as console:
        decide_next(console, "new")
        assert append_new(console.journal, console.tables) == 1
        synchronize(console.journal, console.tables)
        assert [made.decision_id for made in console.journal.decisions()] == ["1", "3", "new"]
    assert [row["decision_id"] for row in world.decisions] == ["1", "3", "new"]


def decide_next(console: Console, decision_id: str, reason: str = "") -> None:
    """A person decides the next item."""
    open_item = console.queue.take("r", "market")
    item = console.items.find(open_item.item_id) if open_item else None
    assert open_item and item
    console.queue.decide("r", open_item, Answer(decision_id, "safe", reason=reason), item.template)


def test_a_console_reads_the_table_again_only_after_commits_of_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.draw("a", "b", "c")
    read = list[str]()

    def spy(table: Any, *args: Any) -> Any:
        read.append(Path(str(table.table_uri)).name)
        return select(table, *args)

    with world.console() as console:
        monkeypatch.setattr("safeguard_spark.review.journal.select", spy)
        for made in ("1", "2"):
            decide_next(console, made)
            append_new(console.journal, console.tables)
            world.clock.now += REFRESH_S
            console.refresh()
        assert set(read) == {"review_items"}
        table = world.tables.open(DECISIONS)
        assert table
        table.delete("decision_id = '1'")
        decide_next(console, "3")
        append_new(console.journal, console.tables)
        world.clock.now += REFRESH_S
        console.refresh()
        assert "decisions" in read
        assert [made.decision_id for made in console.journal.decisions()] == ["2", "3"]


def test_a_clock_that_is_set_back_hides_no_new_item(world: World) -> None:
    world.draw("a")
    with world.console() as console:
        world.draw("b")
        world.clock.now -= 3600
        console.refresh()
        assert console.queue.left("r", "market") == 2


def test_a_console_that_runs_notices_an_erasure_after_a_refresh_that_found_no_change(world: World) -> None:
    world.draw("a", "b")
    with world.console() as console:
        for item_id in ("0" * 64, f"{1:064x}"):
            item = console.items.find(item_id)
            assert item
            made = replace(item.template, decision_id=item_id, reviewer="r", decided_at=datetime.now(UTC))
            console.journal.insert(made, is_again=False)
        append_new(console.journal, console.tables)
        for expected in (2, 2, 1, 1):
            if expected == 1:
                table = world.tables.open(DECISIONS)
                assert table
                table.delete("content_id = 'p0'")
            world.clock.now += REFRESH_S
            console.refresh()
            assert len(console.journal.decisions()) == expected


def test_appending_twice_or_with_nothing_to_append_changes_nothing(world: World) -> None:
    world.draw("a")
    with world.serving() as desk:
        ada = desk.person()
        ada.get("/queue/market")
        ada.decide("safe")
        journal, tables = desk.console.journal, desk.console.tables
        assert [append_new(journal, tables) for _ in range(3)] == [1, 0, 0]
        synchronize(journal, tables)
        assert append_new(journal, tables) == 0
    assert len(world.decisions) == 1


def test_a_table_that_cannot_be_written_costs_no_decision(world: World) -> None:
    world.draw("a")
    with world.console() as console:
        decide_next(console, "0" * 32)
        folder = world.output / "decisions"
        folder.rename(world.output / "elsewhere")
        folder.write_text("not a table")
        with pytest.raises((DeltaError, SafeguardError, OSError)):
            append_new(console.journal, console.tables)
        folder.unlink()
        (world.output / "elsewhere").rename(folder)
        assert append_new(console.journal, console.tables) == 1


def test_a_console_that_cannot_start_says_what_to_do(world: World, tmp_path: Path) -> None:
    world.draw("a bicycle")
    folder = world.output / "_review"
    key = (folder / KEY_FILE).read_text()

    def refused(words: str, **changes: Any) -> None:
        values = world.config(folder=changes.pop("folder", str(folder))) | changes
        with pytest.raises(SafeguardError, match=words):
            Console(build_config(values), world.clock)

    refused("is no folder. Name the output", output=str(tmp_path / "nothing"))
    assert not (tmp_path / "nothing").exists()
    file = tmp_path / "file"
    file.write_text("x")
    refused("is no folder", output=str(file))
    for unwritable in ("/proc/nothing", str(file / "below")):
        refused("cannot write to .* Name a folder of this machine", folder=unwritable)
    for wrong in ("", "zz", key[:-2], "\u00e9"):
        (folder / KEY_FILE).write_text(wrong)
        refused("64 hexadecimal digits")
    (folder / KEY_FILE).write_text(key)
    (folder / "journal.db").write_text("no database " * 100)
    refused(r"journal.db cannot be used \(file is not a database\)")
    (folder / "journal.db").unlink()
    (world.output / "decisions").symlink_to("/proc/nothing")
    refused("decisions cannot be (created|read)")
    (world.output / "decisions").unlink()
    with world.console() as console:  # nothing is left locked
        assert console.queue.left("ada", "market") == 1
        refused("Another console uses")
