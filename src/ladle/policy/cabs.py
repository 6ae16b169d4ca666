"""`CABS`: the batch follows learning rate, variance and loss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ladle.core.decision import Decision, Progress
from ladle.core.errors import RunError, must
from ladle.core.moments import Moments
from ladle.core.noise import student_t
from ladle.core.traits import Traits
from ladle.policy.change import Reason
from ladle.policy.follow import Following, watch
from ladle.policy.move import Wanted
from ladle.policy.range import Range, require_range
from ladle.policy.refuse import require_between

if TYPE_CHECKING:
    from ladle.core.plan import Plan


@dataclass(frozen=True)
class CABS:
    """Couples the batch to rate and loss.

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

    @property
    def traits(self) -> Traits:
        return Traits(("noise",), self.sizes.smallest, self.sizes.largest, made_for=("sgd",), lr=self.lr, limit="sizes")

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

    def init(self, plan: Plan | None) -> Following:
        return Following.begin(self.sizes, plan)

    def decide(self, memory: Any, progress: Progress) -> tuple[Following, Decision]:
        kept = watch(memory, self.sizes, progress, also=("train_loss",))
        sums, loss = kept.averages.moments, kept.averages.mean("train_loss")
        lr = progress.reading.get("lr", self.lr)
        wanted = self.asked(sums, loss, lr)
        trace = sums.trace / (sums.count or math.nan)
        inputs = {"trace": trace, "train_loss": loss, "lr": lr, "asked": wanted.value}
        why = f"rate x variance / loss is {wanted.value:.3g} ({wanted.low:.3g} to {wanted.high:.3g})"
        return kept.follow(self.sizes, wanted, progress, Reason("cabs", why, inputs))
