"""A short sweep of learning rates at one batch size. The rate is data of the compiled program: nothing recompiles."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ladle.batch import updates_until
from ladle.engine.step import CompiledStep
from ladle.protocols import Feed
from ladle.spec import BatchSpec

FACTORS = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Rates tried, as multiples of the one in the middle."""


def sweep(
    step: CompiledStep,
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
    """
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


def best_rate(found: Sequence[tuple[float, float]]) -> float | None:
    """The rate with the lowest loss; None where every rate diverged."""
    rate, loss = min(found, key=lambda pair: pair[1])
    return rate if math.isfinite(loss) else None
