"""Draws: what a draw of review items is asked for, and what it gave. Pure."""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from safeguard_spark.errors import ConfigError
from safeguard_spark.keys import sha256
from safeguard_spark.labelling.content import Content
from safeguard_spark.review.sampling import FLAGGED_SHARE, ReviewStratum, probabilities, sample_size
from safeguard_spark.terminal import counted

ESTIMATE, CALIBRATION = "estimate", "calibration"
HALF_WIDTH = 0.003  # of the interval that a sample is drawn for by default: 0.3 points
QUEUE_SIZE = 200


class FindingQueue(StrEnum):
    """Items that are looked for because they may be wrong; they never enter a rate. The first that fits names them."""

    appeal = "appeal"
    newly_caught = "newly_caught"
    escalated = "escalated"
    disagreement = "disagreement"
    unreadable = "unreadable"
    low_confidence = "low_confidence"
    screened = "screened"


@dataclass(frozen=True)
class DrawRequest:
    """What to draw.

    `half_width` or `size` ask for an estimating sample, `queues` for up to `queue_size` items each, appeals excepted,
    all of which are drawn. `appeals` is a table's name or path, `plan_id` a plan of `relabel plan`, `calibration` a
    golden set of which up to `queue_size` contents with a known answer are drawn.
    """

    half_width: float | None = None
    size: int | None = None
    share: float = FLAGGED_SHARE
    queues: tuple[FindingQueue, ...] = ()
    queue_size: int = QUEUE_SIZE
    appeals: str | None = None
    plan_id: str | None = None
    calibration: str | None = None
    scope: str = "all"
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises ConfigError for what does not fit together."""
        if self.half_width is not None and self.size is not None:
            raise ConfigError("Give either --half-width or --size: one follows from the other.")
        if self.half_width is not None and not 0 < self.half_width < 0.5:
            raise ConfigError(f"--half-width {self.half_width} is no share. Write 0.003 for 0.3 points on either side.")
        if not 0 < self.share < 1:
            raise ConfigError(f"--flagged-share {self.share}: a share is above 0 and below 1.")
        for queue, option, value in (
            (FindingQueue.appeal, "--appeals TABLE", self.appeals),
            (FindingQueue.newly_caught, "--plan PLAN_ID", self.plan_id),
        ):
            if (queue in self.queues) != (value is not None):
                raise ConfigError(f"--queue {queue} and {option} need each other.")

    @property
    def has_estimate(self) -> bool:
        """Whether it asks for an estimating sample."""
        return self.half_width is not None or self.size is not None

    def rates(self, contents: dict[ReviewStratum, int]) -> dict[ReviewStratum, float]:
        """With which probability a content of each stratum is drawn. Raises ConfigError if no sample is enough."""
        if not self.has_estimate:
            return dict.fromkeys(contents, 0.0)
        size = self.size or sample_size(float(self.half_width or 0), contents, self.share)
        if size is None:
            raise ConfigError(
                f"No sample of {sum(contents.values()):,} contents shows their rate within {self.half_width:.3%} on "
                "either side. Give a larger --half-width, or the number of items as --size."
            )
        return probabilities(size, contents, self.share)

    def sample_id(self, **tables: Any) -> str:
        """The identity of the draw: the same request on the same tables draws the same items."""
        request = {name: value for name, value in self.__dict__.items() if (name, value) != ("calibration", None)}
        return f"s{sha256({**request, **tables})[:11]}"


@dataclass(frozen=True)
class Draw:
    """What a draw gave. `items`: by purpose, how many it has. `added`: how many of these are new in the table.

    `lost` are labels whose content is not in the source any more or has changed since, and `lost_appeals` appeals about
    such contents, or about contents without a label. `unknown_policy_appeals` name no policy with labels here,
    `repeated_appeals` are further rows of an appeal id that say something else, and `undated_appeals` are drawn, but
    have no time that can be read.
    """

    sample_id: str
    ref: str
    labeler: str
    contents: dict[ReviewStratum, int]
    items: dict[str, int]
    added: int
    lost: int
    is_planned: bool = False  # a dry run: nothing was added
    lost_appeals: int = 0
    unknown_policy_appeals: int = 0
    repeated_appeals: int = 0
    undated_appeals: int = 0

    def to_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return {**self.__dict__, "status": "planned" if self.is_planned else "complete"}

    @property
    def text(self) -> str:
        """For people."""
        total = sum(self.contents.values())
        flagged = self.contents[ReviewStratum.flagged]
        lines = [f"{self.ref} by {self.labeler}: {counted(total, 'content', 'contents')}, {flagged:,} of them flagged."]
        about = "about " if self.is_planned else ""
        if ESTIMATE in self.items:
            lines.append(
                f"Estimating sample {self.sample_id}: {about}{counted(self.items[ESTIMATE], 'item', 'items')}."
            )
        queues = [f"{name} {count:,}" for name, count in self.items.items() if name not in (ESTIMATE, CALIBRATION)]
        if queues:
            lines.append(f"Queues that find errors, and never enter a rate: {', '.join(queues)}.")
        if CALIBRATION in self.items:
            lines.append(
                f"Calibration items, which have a known answer and never enter a rate: {self.items[CALIBRATION]:,}."
            )
        name = self.ref.partition("@")[0]
        appeals = ("appeal is", "appeals are")
        for count, one, several, rest in (
            (self.lost, "label is", "labels are", "left out: the content is not in the source, or has changed."),
            (
                self.lost_appeals,
                *appeals,
                "left out: the content is not in the source, or has no label.",
            ),
            (
                self.unknown_policy_appeals,
                *appeals,
                "left out: the policy is none that was ever active here. Write its name, with or without "
                f"a version: {name} or {self.ref}.",
            ),
            (
                self.repeated_appeals,
                *appeals,
                "left out: another one has the same appeal_id. Give every appeal an id of its own.",
            ),
            (
                self.undated_appeals,
                "appeal has",
                "appeals have",
                "no time that can be read, so the hours to a decision count from this draw. Write "
                "appealed_at as a timestamp, or as 2026-11-01T09:30:00Z.",
            ),
        ):
            if count:
                lines.append(f"{counted(count, one, several)} {rest}")
        known = sum(self.items.values()) - self.added
        if self.is_planned or not any(self.items.values()):
            lines.append("Nothing was added.")
        elif known:
            lines.append(
                f"{counted(self.added, 'item was', 'items were')} added; {known:,} of this draw were there already."
            )
        else:
            lines.append(f"{counted(self.added, 'item was', 'items were')} added: safeguard review serve shows them.")
        return "\n".join(lines)


def content_json(content: Content) -> str:
    """A content as the column `content` of `review_items` has it."""
    if content.invalid:
        return json.dumps({"invalid": content.invalid})
    if content.turns is not None:
        return json.dumps({"turns": [list(turn) for turn in content.turns]}, ensure_ascii=False)
    return json.dumps({"text": content.text}, ensure_ascii=False)
