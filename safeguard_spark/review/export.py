"""Export: what people decided, for golden sets, for a policy's cases, and for those who appealed. Without Spark."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from safeguard_spark.authoring.cases import Case, CaseTurn, dump_cases
from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import ConfigError, TableError
from safeguard_spark.review.decisions import Decision, resolve
from safeguard_spark.review.items import APPEAL, CALIBRATION, Item
from safeguard_spark.review.journal import EXPORTS
from safeguard_spark.review.tables import LabelTables, console_folder, folder_error, select, to_rows
from safeguard_spark.schema import DECISIONS, GOLD, REVIEW_ITEMS
from safeguard_spark.suggest import did_you_mean
from safeguard_spark.terminal import counted
from safeguard_spark.whole_files import write_files


class Target(StrEnum):
    """What decisions are exported for."""

    gold = "gold"
    cases = "cases"
    appeals = "appeals"


class Decided(NamedTuple):
    """An item, and what people made of it: the adjudication, else the first person's last decision."""

    item: Item
    final: Decision


class Text(NamedTuple):
    """The text of a file, and how many rows it has."""

    text: str
    rows: int


class Exported(NamedTuple):
    """What was exported: where to, and how many of what."""

    target: Target
    files: tuple[str, ...]
    rows: int
    disputed: int  # items on which two people differ, which are left out until a lead has adjudicated

    @property
    def text(self) -> str:
        """For people."""
        what = {
            Target.gold: "decided contents in the table",
            Target.cases: "overturned labels as drafts for cases.yaml: read them, and copy those that you keep from",
            Target.appeals: "decided appeals in",
        }[self.target]
        nothing = {
            Target.gold: "No content has a decision of yes or no yet.",
            Target.cases: "No label is overturned yet.",
            Target.appeals: "No appeal is decided yet.",
        }[self.target]
        lines = [f"{self.rows:,} {what} {', '.join(self.files)}." if self.files else nothing]
        if self.disputed:
            lines.append(
                counted(self.disputed, "item is", "items are")
                + " left out: two people differ, and no lead has adjudicated."
            )
        return "\n".join(lines)


def export_decisions(config: RunConfig, target: Target, policy: str | None = None) -> Exported:
    """Export what people decided, of one policy or of all. What an earlier export wrote is replaced.

    Gold is a table next to the labels; cases and appeals are files in the folder `exports` of the console, from which
    an erasure removes them. Raises ConfigError, TableError.
    """
    tables = LabelTables(config.output)
    everything = list(_decided(tables, policy if target is not Target.gold else None))
    disputed = sum(final is None for _, final in everything)
    decided = [Decided(item, final) for item, final in everything if final is not None]
    if target is Target.gold:
        rows = _gold(decided)  # of every policy: the table is written as a whole
        if rows or tables.open(GOLD):  # what was taken back since leaves the table too
            tables.replace(GOLD, rows)
        return Exported(target, (tables.path(GOLD),) if rows else (), len(rows), disputed)
    folder = console_folder(config, tables) / EXPORTS
    texts, ending = (_cases(decided), "yaml") if target is Target.cases else (_appeals(decided), "jsonl")
    try:
        files = _files(target, folder, ending, texts, policy)
    except OSError as error:
        raise folder_error(folder, error) from error
    return Exported(target, files, sum(text.rows for text in texts.values()), disputed)


def _decided(tables: LabelTables, policy: str | None) -> Iterator[tuple[Item, Decision | None]]:
    """Every decided item, of one policy or of all, with its final decision: None if two people differ and no lead has
    adjudicated. Raises ConfigError for a policy of which there is no item."""
    items, decisions = tables.open(REVIEW_ITEMS), tables.open(DECISIONS)
    if items is None or decisions is None:
        raise TableError(f"There are no decisions in {tables.output}: draw items with `safeguard review sample`.")
    by_item: dict[str, list[Decision]] = defaultdict(list)
    for row in to_rows(select(decisions)):
        by_item[row["item_id"]].append(Decision.of(row))
    rows = to_rows(select(items))
    if policy is not None and policy not in (names := {row["policy"] for row in rows}):
        raise ConfigError(f"--policy {policy}: no item is of it. {did_you_mean(policy, names, 'Policies with items')}")
    for row in rows:
        if policy is not None and row["policy"] != policy:
            continue
        resolved = resolve(by_item.get(row["item_id"], ()))
        if resolved.final is not None and row["purpose"] != CALIBRATION:
            yield Item(row), None if resolved.needs_adjudication else resolved.final


def _gold(decided: Iterable[Decided]) -> list[dict[str, Any]]:
    """One row per content and policy version: of several items about one, the one that was decided last."""
    newest: dict[tuple[str, ...], dict[str, Any]] = {}
    for item, final in sorted(decided, key=lambda pair: pair.final.decided_at):
        if final.violation is None:
            continue
        row = {name: item.row[name] for name in GOLD.names if name in item.row}
        key = (item.collection, item.content_id, item.policy, item.policy_version)
        turns = [turn._asdict() for turn in item.turns]
        newest[key] = row | {
            "violation": final.violation,
            "rule_ids": list(final.rule_ids),
            "model_violation": item.violation,
            "stage": final.stage,
            "decided_at": final.decided_at,
            "text": None if item.is_conversation else turns[-1]["text"],
            "conversation": json.dumps(turns, ensure_ascii=False) if item.is_conversation else None,
        }
    return list(newest.values())


def _cases(decided: Iterable[Decided]) -> dict[str, Text]:
    """By `policy-version` the overturned labels as a cases file."""
    cases: dict[str, dict[str, Case]] = defaultdict(dict)
    for item, final in decided:
        turns = item.turns
        if final.violation is None or not item.differs_from(final) or item.invalid or turns[-1].text is None:
            continue
        conversation = tuple(CaseTurn(role=turn.role or "", text=turn.text or "") for turn in turns)
        cases[f"{item.policy}-{item.policy_version}"][item.content_hash] = Case(
            id=f"review-{item.item_id[-12:]}",
            text=None if item.is_conversation else turns[-1].text,
            conversation=conversation if item.is_conversation else None,
            violation=final.violation,
            rules=final.rule_ids,
            why=final.reason or "",
        )
    return {name: Text(dump_cases(tuple(by_hash.values())), len(by_hash)) for name, by_hash in cases.items()}


def _appeals(decided: Iterable[Decided]) -> dict[str, Text]:
    """By policy the decided appeals, as JSON lines."""
    lines: dict[str, list[str]] = defaultdict(list)
    for item, final in decided:
        if item.purpose != APPEAL or final.violation is None:
            continue
        about = ("appeal_id", "collection", "content_id", "policy", "policy_version")
        moments = {"appealed_at": item.appealed_at, "decided_at": final.decided_at}
        times = {name: moment and moment.isoformat() for name, moment in moments.items()}
        answer = {"overturned": item.violation is not None and item.violation != final.violation}
        answer |= {"violation": final.violation, "rule_ids": list(final.rule_ids), "reason": final.reason}
        line = {**{name: item.row[name] for name in about}, **times, **answer}
        lines[item.policy].append(json.dumps(line, ensure_ascii=False) + "\n")
    return {name: Text("".join(sorted(of_policy)), len(of_policy)) for name, of_policy in lines.items()}


def _files(target: Target, folder: Path, ending: str, texts: dict[str, Text], policy: str | None) -> tuple[str, ...]:
    """Write the files; those of an earlier export, of the policy or of all, that are not written again are deleted."""
    if texts:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_files({folder / f"{target}-{name}.{ending}": text for name, (text, _) in texts.items()}, mode=0o600)
    files = tuple(str(folder / f"{target}-{name}.{ending}") for name in texts)
    for file in folder.glob(f"{target}-*.{ending}"):
        name = file.stem.removeprefix(f"{target}-")
        its_policy = name.rpartition("-")[0] if target is Target.cases else name  # no version has a hyphen
        if policy in (None, its_policy) and str(file) not in files:
            file.unlink()
    return files
