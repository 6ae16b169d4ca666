"""A short sweep of learning rates at one batch size. The rate is data of the compiled program: nothing recompiles."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ladle.core.batch import updates_until
from ladle.core.errors import ArgumentError, must
from ladle.core.protocols import Feed, Step
from ladle.core.spec import BatchSpec

FACTORS = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Rates tried, as multiples of the one in the middle."""


def sweep(
    step: Step,
    feed: Feed,
    spec: BatchSpec,
    rates: Sequence[float],
    *,
    examples: int,
    seed: int = 0,
    hyper: Mapping[str, float] | None = None,
) -> list[tuple[float, float]]:
    """`(rate, mean training loss over the last third)` after `examples` examples from the same start, for each rate.

    A rate that diverges has loss `inf`. A short run favours high rates a little: it is a starting point, not a tuning.
    Raises `ArgumentError` for a rate that is not positive.
    """
    for rate in rates:
        if not rate > 0:
            raise ArgumentError(must("rates", "be positive", rate, "a rate of zero learns nothing", "[1e-3, 3e-3]"))
    found = []
    updates = max(updates_until(0, examples, spec.size, feed.epoch_size), 1)
    late = max(updates // 3, 1)
    for rate in rates:
        state, cursor, loss = step.init(seed, {**(hyper or {}), "lr": rate}), feed.start(), math.inf
        for count in (updates - late, late):
            if count < 1:
                continue
            part = replace(spec, updates=count)
            draw, cursor = feed.draw(cursor, part)
            state, observation = step(state, draw, part, 1.0)
            reading = observation.read()
            loss = reading["train_loss"] if reading["refused"] == 0 and "train_loss" in reading else math.inf
            if not math.isfinite(loss):
                loss = math.inf
                break
        found.append((rate, loss))
    return found


def paired_sweep(
    step: Step,
    feed: Callable[[int], Feed],
    spec: BatchSpec,
    rates: Sequence[float],
    *,
    examples: int,
    seeds: Sequence[int],
    hyper: Mapping[str, float] | None = None,
) -> list[list[float]]:
    """Losses `[rate][seed]` of a `sweep` for each seed: with one seed all rates see the same examples, from one start.

    - `feed`: the examples of a seed, in its order.
    """
    swept = [sweep(step, feed(seed), spec, rates, examples=examples, seed=seed, hyper=hyper) for seed in seeds]
    return [[found[place][1] for found in swept] for place in range(len(rates))]


def best_rate(found: Sequence[tuple[float, float]]) -> float | None:
    """The rate with the lowest loss; None where every rate diverged."""
    rate, loss = min(found, key=lambda pair: pair[1])
    return rate if math.isfinite(loss) else None
