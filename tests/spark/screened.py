"""A lake of posts of which a scripted engine flags those with a word, and screens made from its labels."""

import numpy as np

from safeguard_spark.policy.document import Policy
from safeguard_spark.screen.record import Screen
from safeguard_spark.spark.screen.make import train_screen
from tests.build import policy
from tests.spark.lake import Lake

POLICY: Policy = policy()
GOODS = ["teapot", "lamp", "chair", "bicycle", "novel", "carpet", "guitar", "mirror"]
TRACKED = {"tracking": {"enabled": True}}


def posts(count: int, *, start: int = 0, share: float = 0.1, new_kind: float = 0.0) -> list[tuple[str, str]]:
    """Posts `start` to `count`: a share with the word `replica`, and a share that says `rifle` and nothing else new."""
    random = np.random.default_rng(start)
    rows = []
    for number in range(start, count):
        kind, goods = random.random(), str(random.choice(GOODS))
        word = "replica" if kind < share else "rifle" if kind < share + new_kind else "nice"
        rows.append((f"p{number:06d}", f"a {word} {goods}, number {number}"))
    return rows


def trained(lake: Lake, target: float = 0.9) -> Screen:
    """A screen from the labels of the lake."""
    return train_screen(lake.spark, lake.config(**TRACKED), POLICY, target, critical=False)
