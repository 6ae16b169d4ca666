"""Batches that follow a gradient statistic, up and down: the noise scale, CABS, gradient diversity.

s = tr Sigma, q = |G|^2, phi = s/q the noise scale, B the batch:

| policy | asks for |
|---|---|
| `NoiseFollow` | B = scale phi |
| `CABS` | B = rate s / loss |
| `DiveBatch` | B = delta (1 + phi) |
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ladle.core.decision import Decision, Progress
from ladle.core.errors import RunError, must
from ladle.core.moments import Moments
from ladle.core.noise import student_t
from ladle.policy.adaptive import (
    Range,
    Wanted,
    absorb,
    follow_wanted,
    mean_of,
    moments_of,
    noise_of,
    numbers,
    require_between,
    require_range,
    said,
)
from ladle.policy.change import AnyCoupling, Memory, require_coupling

if TYPE_CHECKING:
    from ladle.core.plan import Plan


@dataclass(frozen=True)
class NoiseFollow:
    """The batch is `scale` times the gradient noise scale.

        B = scale * tr(Sigma) / |G|^2

    At scale 1 a run takes twice the least number of steps and twice the least number of examples: the bend of their
    trade-off (McCandlish et al. 2018, arXiv 1812.06162). `sizes`: bounds and pace. `coupling` as in `Steps`.

    >>> policy = NoiseFollow(Range(32, 1024, micro_size=256), coupling="square root")
    >>> memory, before = policy.decide(policy.init(None), Progress())
    >>> pairs = Moments.from_pairs([93.0, 92.0, 94.0] * 9, [0.3, 0.31, 0.29] * 9, 12_800)
    >>> reading = {f"noise/{name}": value for name, value in vars(pairs).items()}
    >>> policy.decide(memory, Progress(12_800, reading=reading))[1].reason
    'batch size 32 -> 64, learning rate x1 -> x1.41421: noise scale 310 (306 to 315) at 12,800 examples (noise)'
    """

    sizes: Range
    scale: float = 1.0
    coupling: AnyCoupling = "none"

    needs: ClassVar = ("noise",)

    def __post_init__(self) -> None:
        require_range(self.sizes)
        require_between("scale", self.scale, 0, 1e6, why="it multiplies the noise scale", above=True)
        require_coupling(self.coupling)

    def init(self, plan: Plan | None) -> Memory:
        return self.sizes.begin(plan)

    def decide(self, memory: Memory, progress: Progress) -> tuple[Memory, Decision]:
        memory = absorb(self.sizes, memory, progress)
        noise = noise_of(self.sizes, memory)
        how: dict[str, Any] = {"kind": "noise", "why": said(noise), "inputs": numbers(noise)}
        wanted = Wanted.of(noise, self.scale)
        return follow_wanted(self.sizes, memory, progress, wanted, coupling=self.coupling, **how)


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


@dataclass(frozen=True)
class DiveBatch:
    """The batch follows how diverse the gradients of the examples are.

        B = delta * n * Delta        Delta = sum_i |g_i|^2 / |sum_i g_i|^2,  so  n Delta = 1 + tr(Sigma)/|G|^2  exactly

    Chen, Wang and Sundaram 2025: delta 0.1 to 1, the rate linear in the batch, and once an epoch. That last is
    `Range(every=rows)`: by default it may move at every window.

    >>> DiveBatch(Range(32, 1024, micro_size=256), delta=0.5).coupling
    'linear'
    """

    sizes: Range
    delta: float = 0.5
    coupling: AnyCoupling = "linear"

    needs: ClassVar = ("noise",)

    def __post_init__(self) -> None:
        require_range(self.sizes)
        require_between("delta", self.delta, 0, 1e6, why="it multiplies the diversity", above=True)
        require_coupling(self.coupling)

    def init(self, plan: Plan | None) -> Memory:
        return self.sizes.begin(plan)

    def decide(self, memory: Memory, progress: Progress) -> tuple[Memory, Decision]:
        memory = absorb(self.sizes, memory, progress)
        noise = noise_of(self.sizes, memory)
        inputs = {**numbers(noise), "diversity": diversity(noise.value)}
        how: dict[str, Any] = {"kind": "divebatch", "why": said(noise), "inputs": inputs}
        wanted = Wanted.of(noise, self.delta, plus=1.0)
        return follow_wanted(self.sizes, memory, progress, wanted, coupling=self.coupling, **how)


def diversity(noise: float) -> float:
    """n Delta, the gradient diversity times the number of examples: 1 + noise scale.

    >>> diversity(399.0)
    400.0
    """
    return 1 + noise
