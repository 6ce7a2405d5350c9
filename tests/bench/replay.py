"""A logits processor that makes any model answer `workload.script`: loaded by the engine, the same for every contender.

The model does all its work; only which token is sampled is decided here. So a batch costs the usual time and ends where
the workload decides. vLLM: `--logits-processors tests.bench.replay:Replay`.
"""

from typing import Any

import torch
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor, MoveDirectionality

from tests.bench.workload import script

NAME = "tests.bench.replay:Replay"
CERTAIN = 1e9


class Replay(LogitsProcessor):
    """Makes each request's next scripted token the most likely."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        self._device = device
        self._rows: dict[int, tuple[list[int], list[int]]] = {}  # by row of the batch: script, output so far

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        if batch_update is None:
            return
        for row in batch_update.removed:
            self._rows.pop(row, None)
        for row, _, prompt, output in batch_update.added:
            self._rows[row] = (script(prompt or ()), output)
        for one, other, direction in batch_update.moved:
            moved, swapped = self._rows.pop(one, None), self._rows.pop(other, None)
            if moved is not None:
                self._rows[other] = moved
            if swapped is not None and direction is MoveDirectionality.SWAP:
                self._rows[one] = swapped

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        if self._rows:
            winners = [tokens[min(len(output), len(tokens) - 1)] for tokens, output in self._rows.values()]
            logits[list(self._rows), winners] = CERTAIN
        return logits
