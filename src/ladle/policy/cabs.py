"""`CABS`: the batch follows learning rate, variance and loss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ladle.core.decision import Decision, Progress
from ladle.core.errors import RunError, must
from ladle.core.moments import Moments
from ladle.core.noise import student_t
from ladle.policy.averages import absorb, mean_of, moments_of
from ladle.policy.change import Memory
from ladle.policy.move import Wanted, follow_wanted
from ladle.policy.range import Range, require_range
from ladle.policy.refuse import require_between

if TYPE_CHECKING:
    from ladle.core.plan import Plan


@dataclass(frozen=True)
class CABS:
    """The batch couples to rate and loss.

        B = lr * tr(Sigma) / loss

    For SGD without momentum, and losses whose best value is about zero (Balles, Romero and Hennig 2017, arXiv
    1612.05086). `lr`: the rate that the run begins with, which does not follow the size: it would drive it. What is
    multiplied is the rate in force, with its schedule, wherever a run tells it. Raises `RunError` where the loss is
    negative.

    >>> CABS(Range(16, 2048, micro_size=256), lr=0.1).lr
    0.1
    """

    sizes: Range
    lr: float

    needs: ClassVar = ("noise",)
    made_for: ClassVar = ("sgd",)

    def __post_init__(self) -> None:
        require_range(self.sizes)
        require_between("lr", self.lr, 0, 1e9, why="the size is proportional to it", above=True)

    def asked(self, sums: Moments, loss: float, lr: float) -> Wanted:
        """The size from the summed moments, the mean loss and the rate; the interval is that of tr Sigma."""
        if loss < 0:
            why, remedy = "the size is a rate times a variance over it", "another policy, such as 'noise 32..1024'"
            raise RunError(must("train_loss", "not be negative", loss, why, remedy))
        if sums.count < 2 or not math.isfinite(loss):
            return Wanted(math.nan, 0.0, math.nan)
        s = sums.trace / sums.count
        error = math.sqrt(max(sums.trace_sq / sums.count - s * s, 0.0) / (sums.count - 1))
        spread = student_t(self.sizes.confidence, sums.count - 1) * error
        factor = lr / max(loss, 1e-30)
        return Wanted(*(factor * max(end, 0.0) for end in (s, s - spread, s + spread)))

    def init(self, plan: Plan | None) -> Memory:
        return self.sizes.begin(plan)

    def decide(self, memory: Memory, progress: Progress) -> tuple[Memory, Decision]:
        memory = absorb(self.sizes, memory, progress, also=("train_loss",))
        sums, loss = moments_of(memory), mean_of(memory, "train_loss")
        lr = progress.reading.get("lr", self.lr)
        wanted = self.asked(sums, loss, lr)
        trace = sums.trace / (sums.count or math.nan)
        inputs = {"trace": trace, "train_loss": loss, "lr": lr, "asked": wanted.value}
        why = f"rate x variance / loss is {wanted.value:.3g} ({wanted.low:.3g} to {wanted.high:.3g})"
        how: dict[str, Any] = {"kind": "cabs", "why": why, "inputs": inputs}
        return follow_wanted(self.sizes, memory, progress, wanted, **how)
