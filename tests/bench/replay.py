"""A logits processor that makes any model say `workload.script`: loaded by the engine, the same for every contender.

The model does all its work; only which token wins is decided here, so a batch costs what it costs and ends where the
workload says. vLLM: `--logits-processors tests.bench.replay:Replay`.
"""

from typing import Any

import torch
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor, MoveDirectionality

from tests.bench.workload import script

NAME = "tests.bench.replay:Replay"
CERTAIN = 1e9


class Replay(LogitsProcessor):
    """Lets each request's next scripted token win."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        self._device = device
        self._rows: dict[int, tuple[list[int], list[int]]] = {}  # by place in the batch: script, output so far

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        if batch_update is None:
            return
        for place in batch_update.removed:
            self._rows.pop(place, None)
        for place, _, prompt, output in batch_update.added:
            self._rows[place] = (script(prompt or ()), output)
        for one, other, direction in batch_update.moved:
            moved, swapped = self._rows.pop(one, None), self._rows.pop(other, None)
            if moved is not None:
                self._rows[other] = moved
            if swapped is not None and direction is MoveDirectionality.SWAP:
                self._rows[one] = swapped

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        if self._rows:
            tokens = [said[min(len(output), len(said) - 1)] for said, output in self._rows.values()]
            logits[list(self._rows), tokens] = CERTAIN
        return logits
