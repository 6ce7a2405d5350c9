"""Train the demo model from scratch: `python -m tools.demo_model.train --out FOLDER`. Needs torch (the cpu extra).

Eight stages, each until it is learned or its steps are spent: copying a few tokens, copying all, recall, naming the
topics of bare sentences, then of whole contents (mixed with recall, so that it is not forgotten), brief policies, full
policies (mixed with naming), and verdicts at once, without an analysis (mixed with whole answers).
Fixed seeds; regular checkpoints, from which the same command continues. With other work on the machine, set
OMP_WAIT_POLICY=passive: threads that spin while they wait for a core cost a factor of ten.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from safeguard_spark.demo import weights
from tools.demo_model import lessons, network
from tools.demo_model.vocabulary import Compact, trained_tokens

SEED = 7
RATE = 2e-3
FEW = 128  # copying starts with this few rows, each seen often
EVERY = 25  # steps between two lines of the log
COPYING_ENOUGH = 0.9  # one token in 23, where the rotation wraps, cannot be known
RECALL_ENOUGH = 0.95
NAMING_ENOUGH = 0.96  # of topics
# Contents of which only the topic is learned, mixed into a batch of whole answers, and the weight of their loss.
MIXED_IN, MIXED_IN_WEIGHT = 32, 0.2
ANSWERS_ENOUGH = 0.93  # of brief policies' completions
ANSWERS_WEIGHT = 3.0  # of whole answers, in the stage of glances
LAST, GLANCE_STEPS = 8, 1300
GLANCE_RATE = 0.5  # of the rate of the other stages


class Score(NamedTuple):
    """A step's loss, and the share of its answers (of its tokens, in stages 1 to 3) that were all right."""

    loss: Any
    right: float


class Trainer:
    """The weights, their optimizer, and the stage and step they have reached."""

    def __init__(self, folder: Path, compact: Compact) -> None:
        self.file, self.compact = folder / "checkpoint.pt", compact
        self.stage, self.step = 0, 0
        self.weights = network.initial(compact.rows, SEED)
        self.trained = [weight for weight in self.weights.values() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, lr=RATE, betas=(0.9, 0.98), weight_decay=0.01)
        if self.file.exists():
            self._load()

    def start_from(self, file: Path, stage: int) -> None:
        """Begin a stage with compact weights, unless there is a checkpoint."""
        if not self.file.exists():
            with torch.no_grad():
                for name, array in weights.load(file).arrays.items():
                    self.weights[name].copy_(torch.from_numpy(array))
            self.stage = stage

    def learn(self, score: Callable[[], Score], rate: float) -> float:
        """One step."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        result = score()
        self.optimizer.zero_grad()
        result.loss.backward()
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        self.step += 1
        return result.right

    def stage_until(
        self, number: int, steps: int, enough: float, score: Callable[[], Score], falls: bool, rate: float = 1.0
    ) -> None:
        """Run a stage for `steps`, or until the mean of the last few scores is `enough`. `rate` is relative."""
        if self.stage > number:
            return
        if self.stage < number:
            self.stage, self.step = number, 0
        recent: list[float] = []
        start = time.monotonic()
        while self.step < steps:
            warm = min(1.0, (self.step + 1) / 100)
            fall = max(0.02, 1 - self.step / steps) if falls else 1.0
            recent = [*recent[-EVERY + 1 :], self.learn(score, RATE * rate * warm * fall)]
            if self.step % EVERY == 0:
                mean = sum(recent) / len(recent)
                print(f"stage {number} step {self.step} right {mean:.3f} {time.monotonic() - start:.0f} s", flush=True)
                self._save()
                if mean >= enough:
                    break
        self.stage, self.step = number + 1, 0
        self._save()

    def _save(self) -> None:
        state = {"weights": self.weights, "optimizer": self.optimizer.state_dict(), "at": (self.stage, self.step)}
        torch.save(state, self.file.with_suffix(".new"))
        self.file.with_suffix(".new").replace(self.file)

    def _load(self) -> None:
        state = torch.load(self.file, weights_only=True)
        with torch.no_grad():
            for name, value in state["weights"].items():
                self.weights[name].copy_(value)
        self.optimizer.load_state_dict(state["optimizer"])
        self.stage, self.step = state["at"]


def plain_score(trainer: Trainer, batch: lessons.Plain) -> Score:
    """The score of stages 1 to 3: the share of right tokens."""
    rows, is_target = torch.from_numpy(batch.rows), torch.from_numpy(batch.is_target)[:, 1:]
    logits, target = network.plain(trainer.weights, rows)[:, :-1][is_target], rows[:, 1:][is_target]
    loss = torch.nn.functional.cross_entropy(logits, target)
    return Score(loss, float((logits.argmax(-1) == target).float().mean()))


def policy_score(trainer: Trainer, batch: lessons.Padded) -> Score:
    """The score of the later stages: the share of completions whose targets are all right."""
    tensors = [torch.from_numpy(np.asarray(part)) for part in batch]
    inputs, weight = network.Batch(*tensors[:5]), tensors[5][:, :, 1:]
    states = network.continued(trainer.weights, inputs)[:, :, :-1]
    is_target = weight > 0
    logits, target = network.logits(trainer.weights, states[is_target]), inputs.content[:, :, 1:][is_target]
    losses = torch.nn.functional.cross_entropy(logits, target, reduction="none") * weight[is_target]
    wrong = torch.zeros(is_target.shape, dtype=torch.bool)
    wrong[is_target] = logits.argmax(-1) != target
    return Score(losses.sum() / weight.sum(), float((~wrong.any(-1)).float().mean()))


def train(folder: Path, steps: int, threads: int, start: Path | None = None) -> None:
    """All stages, or the last alone from compact weights; writes the compact weights into `folder`."""
    torch.set_num_threads(threads)
    torch.manual_seed(SEED)
    folder.mkdir(parents=True, exist_ok=True)
    compact = Compact(trained_tokens(SEED))
    trainer, random = Trainer(folder, compact), np.random.default_rng(SEED)
    if start:
        trainer.start_from(start, LAST)
    few = min(FEW, compact.rows)

    def copy(rows: int) -> Score:
        return plain_score(trainer, lessons.copying(random, rows))

    trainer.stage_until(1, 1500, COPYING_ENOUGH, lambda: copy(few), falls=False)
    trainer.stage_until(2, 1500, COPYING_ENOUGH, lambda: copy(compact.rows), falls=False)
    trainer.stage_until(
        3, 600, RECALL_ENOUGH, lambda: plain_score(trainer, lessons.recall(random, compact)), falls=False
    )
    later = SEED * trainer.step  # so that a training that continues does not see the same lessons again
    teacher = lessons.Teacher(compact, SEED + 1 + later, brief=True)
    bare, named, mixed_in = teacher.naming(bare=True), teacher.naming(), teacher.naming(MIXED_IN)
    brief = teacher.batches()
    full_answers = lessons.Teacher(compact, SEED + 2 + later).batches()

    def name(batches: Iterator[lessons.Padded]) -> Score:
        recalled = plain_score(trainer, lessons.recall(random, compact, 8))
        score = policy_score(trainer, next(batches))
        return Score(score.loss + recalled.loss, score.right)

    def answer(batches: Iterator[lessons.Padded]) -> Score:
        score = policy_score(trainer, next(batches))
        return Score(score.loss + MIXED_IN_WEIGHT * policy_score(trainer, next(mixed_in)).loss, score.right)

    glances = [
        lessons.Teacher(compact, SEED + number + later, brief=number == 3, is_glance=True).batches()
        for number in (3, 4)
    ]

    def glance() -> Score:
        brief, full = (policy_score(trainer, next(batches)) for batches in glances)
        return Score(brief.loss + full.loss + ANSWERS_WEIGHT * answer(full_answers).loss, full.right)

    trainer.stage_until(4, 1200, NAMING_ENOUGH, lambda: name(bare), falls=False)
    trainer.stage_until(5, 1200, NAMING_ENOUGH, lambda: name(named), falls=False)
    trainer.stage_until(6, 600, ANSWERS_ENOUGH, lambda: answer(brief), falls=False)
    trainer.stage_until(7, steps, 1.1, lambda: answer(full_answers), falls=True)
    trainer.stage_until(LAST, GLANCE_STEPS, 1.1, glance, falls=True, rate=GLANCE_RATE)
    weights.save(folder / weights.FILE, compact.ids, {n: w.detach().numpy() for n, w in trainer.weights.items()})


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoint and the compact weights")
    parser.add_argument("--steps", type=int, default=1200, help="steps of the stage of full policies")
    parser.add_argument("--start", type=Path, help="compact weights with which to begin the last stage")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    train(options.out, options.steps, options.threads, options.start)


if __name__ == "__main__":
    main()
