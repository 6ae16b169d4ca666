"""Steps to a target at one batch size, and the rate that takes the fewest. The rate is data: nothing recompiles."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ladle.core.protocols import Feed, Step
from ladle.core.spec import BatchSpec

APART = 32
"""Evaluations are a step apart at first, then a 32nd of the steps so far: 3 %, whatever the length of the run."""

FACTOR = 3.0
"""Rates tried first are so many times apart; then the gaps around the best are halved."""

FARTHEST = 6
"""No rate more than FACTOR ** 6 from the first guess is tried."""


def steps_to(
    step: Step,
    feed: Feed,
    spec: BatchSpec,
    read: Callable[[Any], float],
    target: float,
    *,
    rate: float,
    most: int,
    seed: int = 0,
    hyper: Mapping[str, float] | None = None,
) -> float:
    """Updates from fresh parameters until `read(state)` first is at most `target`; inf where `most` do not do it.

    A fraction, between two evaluations, by the straight line between their readings.
    """
    state, cursor, done = step.init(seed, {**(hyper or {}), "lr": rate}), feed.start(), 0
    before = read(state)
    if before <= target:
        return 0.0
    while done < most:
        count = min(max(1, done // APART), most - done) if feed.resident else 1
        part = replace(spec, updates=count)
        draw, cursor = feed.draw(cursor, part)
        state, observation = step(state, draw, part, 1.0)
        if observation.read()["refused"] > 0:
            return math.inf
        now = read(state)
        if not math.isfinite(now):
            return math.inf
        if now <= target:
            return done + count * (before - target) / (before - now)
        done, before = done + count, now
    return math.inf


@dataclass(frozen=True)
class Tuned:
    """The best of some rates. `steps`: updates at it, inf where none reached. `tried`: `(rate, steps)`, ascending."""

    rate: float
    steps: float
    tried: tuple[tuple[float, float], ...]


def tuned(measure: Callable[[float, float], float], guess: float) -> Tuned:
    """The rate with the fewest steps: from `guess` outwards by `FACTOR` until both sides are worse, then between.

    - `measure(rate, best)`: steps at a rate; it may give up past `best`, the fewest so far, and answer inf.
    """
    found: dict[float, float] = {}

    def at(exponent: float) -> None:
        if exponent not in found:
            fewest = min(found.values(), default=math.inf)
            found[exponent] = math.inf if abs(exponent) > FARTHEST else measure(guess * FACTOR**exponent, fewest)

    def best() -> float:
        return min(found, key=lambda exponent: (found[exponent], abs(exponent)))

    def look(*exponents: float) -> None:
        for exponent in exponents:
            at(exponent)

    look(0.0, -1.0, 1.0)
    reach = 1.0
    while math.isinf(found[best()]) and reach < FARTHEST:  # no rate reached yet: look further on both sides
        reach += 1.0
        look(-reach, reach)
    if math.isfinite(found[best()]):
        while not {best() - 1, best() + 1} <= set(found):
            look(best() - 1, best() + 1)
        for gap in (0.5, 0.25):
            look(best() - gap, best() + gap)
    tried = tuple(
        (guess * FACTOR**exponent, found[exponent]) for exponent in sorted(found) if abs(exponent) <= FARTHEST
    )
    return Tuned(guess * FACTOR ** best(), found[best()], tried)
