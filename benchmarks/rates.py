"""How the benchmarks of feeds measure: examples a second of endless iterators, and the wait for the first batch.

A lap makes a feed anew, waits for its first batch (the latency), then takes batches for some seconds and counts their
examples. Nobody touches what a batch holds, but JAX is waited for: this is the cost of the feed alone.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from timing import interleave, ratio, show, spread, table, workers

Feed = Callable[[], Iterator[Any]]
"""Starts an endless iterator of batches, from the beginning."""

Lap = dict[str, float]
"""`rate`: examples a second after the first batch. `first`: seconds until the first batch."""

OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "KERAS_BACKEND": "jax"}


def lap(feed: Feed, batch: int, seconds: float) -> Lap:
    """One repetition. A feed's threads and processes end with its iterator, before the next lap."""
    gc.collect()
    started = time.perf_counter()
    batches = feed()
    _wait(next(batches))
    begun = now = time.perf_counter()
    count, until = 0, begun + seconds
    while now < until:
        _wait(next(batches))
        count, now = count + 1, time.perf_counter()
    batches.close()  # type: ignore[attr-defined]
    return {"rate": count * batch / (now - begun), "first": begun - started}


def _wait(batch: Any) -> None:
    leaves = batch.values() if isinstance(batch, dict) else batch if isinstance(batch, tuple) else ()
    for leaf in leaves:
        if hasattr(leaf, "block_until_ready"):
            leaf.block_until_ready()


def measure(
    program: str, names: Sequence[str], repeats: int, requests: Sequence[dict[str, Any]]
) -> list[dict[str, list[Lap]]]:
    """For each request (what every program is asked): the laps of every program, after one that is not counted."""
    with workers(program, names, **OFFLINE) as alive:
        found = []
        for request in requests:
            asked = {name: partial(alive[name], **request) for name in names}
            interleave(asked, 1)
            found.append(interleave(asked, repeats))
        return found


def summary(laps: dict[str, list[Lap]], limit: str) -> dict[str, dict[str, dict[str, float]]]:
    """Rate, its ratio to that of the program `limit`, and first-batch latency of each program."""
    rates = {name: [one["rate"] for one in of] for name, of in laps.items()}
    return {
        name: {
            "rate": spread(rates[name]),
            "of_the_limit": ratio(rates[name], rates[limit]),
            "first_seconds": spread([one["first"] for one in of]),
        }
        for name, of in laps.items()
    }


def report(found: dict[str, dict[str, dict[str, float]]], limit: str) -> str:
    rows = [
        [name, show(of["rate"]), show(of["of_the_limit"]), f"{1e3 * of['first_seconds']['median']:.3g}"]
        for name, of in found.items()
    ]
    return table(["program", "examples a second", f"of {limit}", "first batch, ms"], rows)


def times(laps: dict[str, list[Lap]], ours: str, theirs: Sequence[str]) -> dict[str, dict[str, float]]:
    """How many times as fast as each of `theirs` one of ours is, lap by lap."""
    own = [one["rate"] for one in laps[ours]]
    return {f"{ours} / {name}": ratio(own, [one["rate"] for one in laps[name]]) for name in theirs if name in laps}
