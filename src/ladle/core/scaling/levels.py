"""Regularisation that follows the batch size: a larger batch is less noisy, and noise regularises.

A level is named as a `Decision` names it in `hyper`: dropout, label_smoothing, weight_decay, gradient_noise. The
exponents are the user's: no rule for them is established. Only the noise that a larger batch lacks is arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ladle.core.errors import ArgumentError, must

GRADIENT_NOISE = "gradient_noise"
"""The constant that holds the variance of noise added to each coordinate of the mean gradient."""

NAMES = ("dropout", "label_smoothing", GRADIENT_NOISE, "weight_decay")


@dataclass(frozen=True)
class Level:
    """base * (size / reference) ** power, never above `most`.

    - `name`: dropout, label_smoothing, gradient_noise or weight_decay. `base`: its value at the reference size.

    Raises `ArgumentError` for another name, a negative level, a power or limit that is not a number, a dropout of 1.

    >>> Level("dropout", 0.1, power=0.5, most=0.3).at(256, reference=64), Level("dropout", 0.1, 0.5, 0.3).at(6400, 64)
    (0.2, 0.3)
    """

    name: str
    base: float
    power: float
    most: float = math.inf

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            why = "these are the levels that an update reads"
            raise ArgumentError(must("level", "be one of " + ", ".join(NAMES), self.name, why, "'dropout'"))
        if not 0 <= self.base < math.inf or not self.most >= 0 or not math.isfinite(self.power):
            got, why = (self.base, self.power, self.most), "a level is base * (size / reference) ** power"
            raise ArgumentError(must(self.name, "have a base, power and limit", got, why, "Level('dropout', 0.1, 0.5)"))
        if self.name in ("dropout", "label_smoothing"):
            top = 0.95 if self.most == math.inf else self.most
            if not max(self.base, top) < 1:
                got, why = max(self.base, top), "at 1 nothing of the example is left"
                raise ArgumentError(must(self.name, "stay below 1", got, why, "most=0.5"))
            object.__setattr__(self, "most", top)

    def at(self, size: float, reference: float) -> float:
        """The level at `size`."""
        return min(self.base * (size / reference) ** self.power, self.most)


@dataclass(frozen=True)
class AddedNoise:
    """Gradient noise that a larger batch lacks: variance per coordinate (1/reference - 1/size) trace / parameters.

    With it the mean gradient at `size` has the variance tr(Sigma) / reference of the reference size, spread evenly over
    the coordinates; at the reference size and below nothing is added. What it costs is the precision that the examples
    bought, so it is for experiments on generalisation, not for speed.

    - `trace`: tr(Sigma), as a noise scale reports it. `parameters`: coordinates of the gradient.

    >>> AddedNoise(trace=640.0, parameters=100).at(128, reference=64)
    0.05
    """

    trace: float
    parameters: int
    name: str = GRADIENT_NOISE

    def __post_init__(self) -> None:
        if not 0 <= self.trace < math.inf or self.parameters < 1:
            why = "variance is spread over the parameters"
            got = (self.trace, self.parameters)
            raise ArgumentError(
                must("gradient_noise", "have a trace and parameters", got, why, "AddedNoise(640.0, 100)")
            )

    def at(self, size: float, reference: float) -> float:
        """Variance to add to each coordinate of the mean gradient at `size`."""
        return max(1 / reference - 1 / size, 0.0) * self.trace / self.parameters


def to_json(level: Level | AddedNoise) -> dict[str, Any]:
    return asdict(level)


def from_json(value: Mapping[str, Any]) -> Level | AddedNoise:
    """A level read back: one with a trace is added noise."""
    return AddedNoise(**value) if "trace" in value else Level(**value)
