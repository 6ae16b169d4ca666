"""`Observation`: what was measured, as sums and counts that can be merged. Means are taken once, in `read`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ladle.core.moments import PREFIX, Moments
from ladle.core.noise import estimate

METRIC = "metric/"
"""Prefix of the sums of per-example metrics: `metric/accuracy` becomes `train_accuracy`."""

OWN_WEIGHT = "weight/"
"""Prefix of metrics that others are divided by: `metric/loss/a` is divided by `metric/weight/a`, if that is there."""


CLIPPED = "clipped"
"""The sum of updates whose gradient was shortened."""


@dataclass(frozen=True)
class Observation:
    """Sums over the updates of a window, as one vector so that the host reads the device once.

    `values` is `f32[len(names)]`, on the device or on the host. The names:

    - `loss`: sum of weight times per-example loss; `weight`: sum of weights.
    - `updates`: updates applied. `refused`: updates whose gradient was not finite and was therefore not applied.
    - `skipped`, `scale_log2`: where a model computes in float16: updates that overflowed at their loss scale and were
      left out, and the sum of log2 of it over updates begun.
    - `grad_sq`: sum over updates of |g|^2, g the gradient of the update.
    - `metric/NAME`: sum of weight times per-example metric. `metric/KIND/PART` is of a part of the examples where there
      is a `metric/weight/PART`, the sum of their weights: its mean is `train_KIND/PART`.
    - `clipped`: updates whose gradient a bound has changed, where there is one; the reading is their share.
    - `noise/...`: the sums that `ladle.noise.Moments` names, from updates with at least two micro-batches.

    >>> a = Observation(("loss", "weight"), np.array([3.0, 2.0]))
    >>> a.merge(Observation(("loss", "weight"), np.array([1.0, 2.0]))).read()["train_loss"]
    1.0
    """

    names: tuple[str, ...] = ()
    values: Any = ()

    def merge(self, other: Observation) -> Observation:
        """Both windows as one, without reading the device. An empty observation is the neutral element."""
        if not self.names:
            return other
        if not other.names:
            return self
        if self.names != other.names:
            raise ValueError(f"observations of different things cannot be merged: {self.names} and {other.names}")
        return Observation(self.names, self.values + other.values)

    def sums(self) -> dict[str, float]:
        """Plain numbers: the one read of the device."""
        return dict(zip(self.names, np.asarray(self.values, np.float64).tolist(), strict=True))

    def moments(self) -> Moments:
        """The gradient moments in it."""
        return Moments.from_sums(self.sums())

    @property
    def begun(self) -> int:
        """Updates begun: applied, skipped or refused. A step may end its window at a refused one."""
        sums = self.sums()
        return round(sum(sums.get(name, 0.0) for name in ("updates", "refused", "skipped")))

    def read(self, population: int | None = None) -> dict[str, float]:
        """Plain means, and the gradient moments as the sums they are. The one place where sums are divided.

        - `population`: rows of a finite data set, whose gradient is then the one that moments are of; None for that of
          the distribution behind the examples.
        """
        sums = self.sums()
        weight, updates = sums.get("weight", 0.0), sums.get("updates", 0.0)
        reading = {"refused": sums.get("refused", 0.0)}
        if "skipped" in sums:  # Their mean scale is that of its logarithm: it moves by factors of two.
            reading |= {"skipped": sums["skipped"], "loss_scale": 2 ** (sums["scale_log2"] / max(self.begun, 1))}
        if weight > 0:
            reading["train_loss"] = sums["loss"] / weight
            metrics = {name.removeprefix(METRIC): value for name, value in sums.items() if name.startswith(METRIC)}
            reading |= {"train_" + name: value for name, value in means(metrics, weight).items()}
        if updates > 0:
            reading["grad_norm"] = math.sqrt(max(sums.get("grad_sq", 0.0), 0.0) / updates)
            if CLIPPED in sums:
                reading[CLIPPED] = sums[CLIPPED] / updates
        moments = Moments.from_sums(sums)
        if moments.count > 0:
            moments = moments if population is None else moments.of_population(population)
            reading |= {PREFIX + name: value for name, value in vars(moments).items()}
        if moments.count >= 2:
            noise = estimate(moments)
            reading |= {"noise_scale": noise.value, "noise_scale_low": noise.low, "noise_scale_high": noise.high}
        return reading


def means(metrics: Mapping[str, float], weight: float) -> dict[str, float]:
    """Sums of metrics over their weight: that of all examples, or of their part (`OWN_WEIGHT`); no part, no mean.

    >>> means({"accuracy": 6.0, "loss/a": 3.0, "loss/b": 0.0, "weight/a": 2.0, "weight/b": 0.0}, weight=8.0)
    {'accuracy': 0.75, 'loss/a': 1.5}
    """
    divisors = {name: metrics.get(OWN_WEIGHT + name.partition("/")[2], weight) for name in metrics}
    told = (name for name in metrics if not name.startswith(OWN_WEIGHT) and divisors[name] > 0)
    return {name: metrics[name] / divisors[name] for name in told}
