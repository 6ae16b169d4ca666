"""How long a run to a target will take at another batch size, told from one run that has reached it.

    S(B) = S(B0) (1 + B_noise/B) / (1 + B_noise/B0)          steps, from the run at B0 (McCandlish et al., eq. 2.11)
    T(B) = S(B) t(B)                                         seconds, t(B) from the throughput line of the plan

The learning rate is taken to be as good at B as it was at B0. The noise scale grows during training, and the formula
knows one value: the forecast is of the order of a factor, and says so in its interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ladle.core.errors import ArgumentError, must
from ladle.core.hyperbola import fewer_steps
from ladle.core.noise import NoiseScale
from ladle.core.plan import Plan
from ladle.core.speed import Speed


@dataclass(frozen=True)
class Forecast:
    """Steps and seconds to the target at `size`. `low`, `high`: seconds with the noise scale at its interval's ends."""

    size: int
    steps: float
    seconds: float
    low: float
    high: float


def forecast(plan: Plan, size: int, *, reference_size: int, reference_steps: float) -> Forecast:
    """What `plan` and a run of `reference_steps` updates of `reference_size` say of a run at `size`.

    Raises `ArgumentError` where the plan has no resolved noise scale, or no throughput line.

    >>> from ladle.planner.choose import choose
    >>> from ladle.planner.fakes_test import FakeProbe
    >>> plan = choose(FakeProbe(), rows=2**20, pilot_seconds=1e9)
    >>> told = forecast(plan, 400, reference_size=100, reference_steps=900)
    >>> round(told.steps, -1), told.low < told.seconds < told.high
    (300.0, True)
    """
    if plan.noise.verdict != "resolved":
        why = "steps at another size follow from it"
        raise ArgumentError(must("plan", "have a resolved noise scale", plan.noise.verdict, why, "a longer pilot"))
    fixed, each = plan.number("fixed_seconds"), plan.number("per_example_seconds")
    if fixed is None or each is None:
        why = "one size has no line through it"
        raise ArgumentError(must("plan", "have a throughput line", None, why, "a plan for more than one row"))
    for name, value in (("size", size), ("reference_size", reference_size), ("reference_steps", reference_steps)):
        if not 0 < value < math.inf:
            raise ArgumentError(must(name, "be positive", value, "it counts", "the numbers of a finished run"))
    seconds = Speed(fixed.value, each.value).seconds(size)
    steps = [reference_steps * fewer_steps(noise, reference_size, size) for noise in _ends(plan.noise)]
    return Forecast(size, steps[1], steps[1] * seconds, min(steps) * seconds, max(steps) * seconds)


def _ends(noise: NoiseScale) -> tuple[float, float, float]:
    return noise.low, noise.value, noise.high
