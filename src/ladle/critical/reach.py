"""Steps to a target at one batch size, and the rate that takes the fewest. The rate is data: nothing recompiles.

A loss that is read along a run is noisy, the more so the smaller the batch. The first reading that meets a target comes
too early then, by a third at small sizes, and the critical size looks half as large as it is. So the path goes on past
the target, is averaged over seeds, and is read where the best falling path through all of it meets the target.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ladle.core.protocols import Feed, Step
from ladle.core.spec import BatchSpec

APART = 16
"""Evaluations are a step apart at first, then a 16th of the steps so far: 6 %, whatever the length of the run."""

BEYOND = 1.2
"""A path ends once it is so many times past its crossing: an early dip is told from a lasting one by what follows."""

FACTOR = 3.0
"""Rates tried first are so many times apart; then the gaps around the best are halved."""

FARTHEST = 6
"""No rate more than FACTOR ** 6 from the first guess is tried."""


@dataclass(frozen=True)
class Arrival:
    """Updates to a target. `steps`: of the mean path over seeds, inf where it did not arrive.

    - `each`: of every seed alone.
    - `error`: standard error of log steps, by leaving out one seed at a time (Tukey's jackknife); nan of one seed.

    A path that is still above the target where all ended counts the updates up to there.
    """

    steps: float
    each: tuple[float, ...] = ()
    error: float = math.nan


def steps_to(
    step: Step,
    feeds: Sequence[Feed],
    spec: BatchSpec,
    read: Callable[[Any], float],
    target: float,
    *,
    rate: float,
    most: int,
    hyper: Mapping[str, float] | None = None,
) -> Arrival:
    """Updates from fresh parameters until the mean of `read(state)` over seeds is at most `target`; inf beyond `most`.

    - `feeds`: one for each seed, 0, 1, ...; their states are held side by side and go on in step.

    Read off the `crossing` of the whole path, which ends `BEYOND` times past it, or at `most`.
    """
    states = [step.init(seed, {**(hyper or {}), "lr": rate}) for seed in range(len(feeds))]
    cursors, done, places = [feed.start() for feed in feeds], 0, [0]
    path = [[read(state) for state in states]]
    above = summit = float(np.mean(path[0])) - target
    end = 1  # the first evaluation at which all that follows is, on the whole, below the target
    if above <= 0:
        return Arrival(0.0, (0.0,) * len(feeds))
    while done < most and not (end < len(places) and done >= BEYOND * places[end]):
        count = min(max(1, done // APART), most - done) if all(feed.resident for feed in feeds) else 1
        part = replace(spec, updates=count)
        for seed, feed in enumerate(feeds):
            draw, cursors[seed] = feed.draw(cursors[seed], part)
            states[seed], observation = step(states[seed], draw, part, 1.0)
            if observation.read()["refused"] > 0:
                return Arrival(math.inf)
        done += count
        places.append(done)
        path.append([read(state) for state in states])
        if not np.isfinite(path[-1]).all():
            return Arrival(math.inf)
        above += float(np.mean(path[-1])) - target
        if above > summit:
            summit, end = above, len(places)
    return _arrival(places, np.array(path), target)


def _arrival(places: Sequence[int], readings: np.ndarray, target: float) -> Arrival:
    """`readings`: f64[evaluations, seeds]."""

    def capped(path: np.ndarray) -> float:
        return min(crossing(places, path, target), float(places[-1]))

    seeds, steps = readings.shape[1], crossing(places, readings.mean(1), target)
    each = tuple(capped(path) for path in readings.T)
    if seeds == 1 or not math.isfinite(steps):
        return Arrival(steps, each)
    without = [math.log(max(capped(np.delete(readings, seed, 1).mean(1)), 1.0)) for seed in range(seeds)]
    return Arrival(steps, each, math.sqrt((seeds - 1) * float(np.var(without))))


def crossing(places: Sequence[float], readings: Sequence[float] | np.ndarray, target: float) -> float:
    """Where the falling path nearest to `readings` (least squares) is at `target`; inf where it stays above, 0 below.

    That path is made of blocks of readings, each at its mean, found by pooling neighbours that rise (isotonic
    regression; Robertson, Wright and Dykstra 1988, ch. 1), and of straight lines between the middles of blocks. It has
    no width to choose: where readings fall by themselves each is a block, where noise is large blocks are wide.

    >>> crossing([0, 1, 2, 3], [4.0, 2.0, 1.0, 0.5], 1.5)
    1.5
    >>> crossing([0, 1, 2, 3, 4, 5], [4.0, 1.0, 3.0, 2.0, 1.0, 0.2], 1.5)  # the dip at 1 is not the end
    3.0
    """
    blocks: list[tuple[float, float, int]] = []  # middle, mean, readings
    for place, reading in zip(places, readings, strict=True):
        blocks.append((float(place), float(reading), 1))
        while len(blocks) > 1 and blocks[-2][1] <= blocks[-1][1]:
            right, left = blocks.pop(), blocks.pop()
            count = left[2] + right[2]
            blocks.append(
                (
                    (left[0] * left[2] + right[0] * right[2]) / count,
                    (left[1] * left[2] + right[1] * right[2]) / count,
                    count,
                )
            )
    below = next((number for number, block in enumerate(blocks) if block[1] <= target), None)
    if below is None:
        return math.inf
    if below == 0:
        return 0.0
    (begin, high, _), (end, low, _) = blocks[below - 1], blocks[below]
    return begin + (end - begin) * (high - target) / (high - low)


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
        if math.isinf(found[best() + 0.25]):  # the fewest steps are close below where none arrives, often at divergence
            look(best() + 0.125)
    tried = tuple(
        (guess * FACTOR**exponent, found[exponent]) for exponent in sorted(found) if abs(exponent) <= FARTHEST
    )
    return Tuned(guess * FACTOR ** best(), found[best()], tried)
