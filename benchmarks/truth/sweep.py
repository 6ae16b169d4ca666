"""The measuring half of the referee: updates to each target by size, rate and seed, and seconds an update takes.

A cell of the sweep trains at one size and rate with ladle's own step and is judged at updates 3 % apart. Its losses are
smoothed before they are held against a target: the first passage of a path that jitters is early, and earlier the more
it jitters. Rates are walked outwards from a good one; a cell ends at `CAP` times the best updates so far at its size.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from truth.cases import Case

from ladle.api.assembly import Assembly, assemble, resolve_micro
from ladle.core.spec import BatchSpec

Path = Sequence[float] | np.ndarray

APART = 1.03
"""From one evaluation to the next, in updates."""

WIDTH = 0.18
"""Half the width of the smoothing, in log updates."""

CAP = 4.0
"""A cell ends at so many times the updates of the best one so far at its size, and of the best of the size before."""

NEVER = math.log(1e6)
PER_DECADE = 4
"""Rates swept are powers of ten to the quarter."""

WINDOW_SECONDS, ROUNDS, WARM = 0.005, 300, 8
"""A timing is of updates that take about so long together, too short to be interrupted often; the least of so many."""


def rate(place: int) -> float:
    """The rate at that place of the grid.

    >>> rate(-12), round(rate(-11), 6)
    (0.001, 0.001778)
    """
    return 10.0 ** (place / PER_DECADE)


def smoothed(updates: Path, losses: Path) -> np.ndarray:
    """Log losses of a path, each from a line through those within `WIDTH` of it in log updates, nearer ones more.

    A line, not a mean: a falling path keeps its height at both ends.
    """
    x, y = np.log(np.asarray(updates, float)), np.log(np.asarray(losses, float))
    found = np.empty_like(y)
    for i, at in enumerate(x):
        apart = x - at
        weight = np.clip(1 - np.abs(apart / WIDTH) ** 3, 0, None) ** 3
        near = weight > 0
        w, d, v = weight[near], apart[near], y[near]
        middle = (w * d).sum() / w.sum()
        spread = (w * (d - middle) ** 2).sum()
        slope = (w * (d - middle) * v).sum() / spread if spread > 1e-12 else 0.0
        found[i] = (w * v).sum() / w.sum() - slope * middle
    return found


def passages(updates: Path, losses: Path, targets: Sequence[float]) -> list[float]:
    """Updates at which the smoothed path first passes each target; `inf` where it does not.

    >>> [round(x, 1) for x in passages([1, 2, 4, 8], [8.0, 4.0, 2.0, 1.0], [4.0, 1.5, 0.5])]
    [2.0, 5.3, inf]
    """
    x, y = np.log(np.asarray(updates, float)), smoothed(updates, losses)
    found = []
    for target in np.log(targets):
        below = np.flatnonzero(y <= target)
        if not below.size:
            found.append(math.inf)
            continue
        i = int(below[0])
        share = 0.0 if i == 0 else (y[i - 1] - target) / (y[i - 1] - y[i])
        found.append(float(np.exp(x[i] if i == 0 else x[i - 1] + share * (x[i] - x[i - 1]))))
    return found


def trained(
    assembly: Assembly, size: int, lr: float, seed: int, targets: Sequence[float], most: float
) -> tuple[list[float], str, int]:
    """Updates to each target, why the cell ended ("reached", "capped", "diverged") and after how many updates."""
    engine, feed = assembly.engine, assembly.measured_feed(seed)
    spec = BatchSpec(size, resolve_micro(size, None))
    state, cursor = engine.step.init(seed, {**assembly.optimizer.hyper, "lr": lr}), feed.start()
    done, at, counts, losses, why, first, worst = 0, 1, [], [], "capped", math.inf, math.inf
    while done < most:
        part = replace(spec, updates=at - done)
        draw, cursor = feed.draw(cursor, part)
        state, observation = engine.step(state, draw, part, 1.0)
        done, at = at, max(at + 1, round(at * APART))
        loss = engine.evaluate(state, assembly.valid)["valid_loss"]
        worst = loss if math.isinf(worst) else worst
        if observation.read()["refused"] > 0 or not math.isfinite(loss) or loss > 100 * worst:
            why = "diverged"
            break
        counts, losses = [*counts, done], [*losses, loss]
        first = min(first, done) if loss <= targets[-1] else first
        if done >= first * math.exp(WIDTH):
            found = passages(counts, losses, targets)
            if done >= found[-1] * math.exp(WIDTH):
                return found, "reached", done
    found = passages(counts, losses, targets) if counts else [math.inf] * len(targets)
    return found, why, done


def sweep(case: Case, say: Callable[[str], None] = print) -> dict[str, Any]:
    """All cells of a case: `{"sizes", "targets", "cells": [{"size", "place", "updates": [seed][target], ...}]}`."""
    assembly, began = assemble(case.make()), time.process_time()
    start, most, cells = round(PER_DECADE * math.log10(case.start)), float(case.most), []
    for size in case.sizes:

        def cell(place: int, most: float, size: int = size) -> dict[str, Any]:
            found = [trained(assembly, size, rate(place), seed, case.targets, most) for seed in range(case.seeds)]
            updates, why, _ = (list(column) for column in zip(*found, strict=True))
            return {"size": size, "place": place, "updates": updates, "why": why}

        at, start, most = walked(cell, start, most)
        cells += [at[place] for place in sorted(at)]
        spent = time.process_time() - began
        told = f"{len(at)} rates, best {rate(start):.3g}, {at[start]['updates'][0]}"
        say(f"  {size}: {told}, {spent:.0f} s so far")
    return {"sizes": case.sizes, "targets": case.targets, "seeds": case.seeds, "rows": assembly.rows, "cells": cells}


def walked(
    cell: Callable[[int, float], dict[str, Any]], start: int, most: float
) -> tuple[dict[int, dict[str, Any]], int, float]:
    """Cells by place outwards from `start`, the place of the best for the hard target, and the next size's cap.

    Up goes on while any seed reaches the easy target, for which the best rates are higher; down while any reaches the
    hard one, or the easy one where no cell at all has reached the hard one.

    - `cell`: trains at a place, at most so many updates: `{"updates": [seed][target], ...}`.
    """
    at: dict[int, dict[str, Any]] = {}

    def run(place: int) -> None:
        nonlocal most
        at[place] = cell(place, most)
        most = min(most, CAP * max(one[-1] for one in at[place]["updates"]))

    def reached(place: int, target: int) -> bool:
        return any(math.isfinite(one[target]) for one in at[place]["updates"])

    run(start)
    for direction in (1, -1):
        place = start
        while place == start or reached(place, 0 if direction > 0 or not any(reached(p, -1) for p in at) else -1):
            place += direction
            run(place)
    return at, min(at, key=lambda place: (_hard(at[place]), abs(place - start))), most


def _hard(cell: Any) -> float:
    """Mean log updates to the hard target; a seed that did not arrive counts as more than any that did."""
    return float(np.mean([math.log(one[-1]) if math.isfinite(one[-1]) else NEVER for one in cell["updates"]]))


def seconds(case: Case, rounds: int = ROUNDS) -> dict[int, float]:
    """Seconds that one update takes at each size: sizes in turn, the least of `rounds`. Wants a quiet machine.

    A size never counts more than a larger one, for it could be run as that with rows of weight zero.
    """
    assembly = assemble(case.make())
    engine, feed = assembly.engine, assembly.measured_feed(0)
    hyper = {**assembly.optimizer.hyper, "lr": 1e-6}
    state, counts, least = engine.step.init(0, hyper), dict.fromkeys(case.sizes, 1), {}
    for number in range(rounds + WARM):
        for size in case.sizes:
            part = BatchSpec(size, resolve_micro(size, None), updates=counts[size])
            draw, _ = feed.draw(feed.start(), part)
            began = time.perf_counter()
            state, observation = engine.step(state, draw, part, 1.0)
            observation.read()
            took = (time.perf_counter() - began) / part.updates
            if number >= WARM:
                least[size] = min(took, least.get(size, math.inf))
            elif number > 0:
                counts[size] = max(counts[size], min(round(WINDOW_SECONDS / took), 8 * counts[size]))
    for size, above in reversed(list(pairwise(case.sizes))):
        least[size] = min(least[size], least[above])
    return least
