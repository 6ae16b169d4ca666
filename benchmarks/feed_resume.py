"""How long it takes to go on from a position deep in a pass, and how many bytes remember it.

Claims: from position 10**11 of 10**12 examples, `ladle.feed.Loader` and `ladle.feed.HostFeed` hand out their first
batch within 10 ms, and their state is at most 1 kB of JSON; so they do from position 0, and for small data.

    python benchmarks/feed_resume.py [--quick] [--only NAME ...]

Hardware and every sample: `results/feed_resume.json`. n = 20 (`--quick`: 5; for what takes over a second, 3).
Every program lives in a process of its own. A repetition makes everything anew from the state (source, order, loader:
what a restarted job does once its libraries are imported), with a seed of its own, so that nothing remembered helps; it
ends when the first batch of 256 has come, which is then compared with the ids that stand there. The rows are functions
of their number, so that a source of 10**12 costs nothing: reading is not what is measured. The first repetition is a
new process's and is reported apart ("very first").

`Mixture`: of two sources, 3 to 1. `Curriculum`: scores are an array, hence 10**6 examples, and a position 10**5 passes
on. `Blocks`: 10**6 blocks of 10**6 examples: its state is as small, but the blocks of a pass are permuted to know which
comes when. The other libraries are asked to resume in the middle of as many examples as they can take here:
torchdata's StatefulDataLoader, which keeps its position and skips to it, and Grain's `MapDataset` iterator.
"""

from __future__ import annotations

import json
import pickle
import time
from collections.abc import Callable
from functools import cache, partial
from itertools import count
from typing import Any

import numpy as np
from rates import OFFLINE
from timing import arguments, headline, interleave, save, serve, show, spread, table, workers

from ladle.core.cursor import Cursor
from ladle.core.protocols import Order
from ladle.core.spec import BatchSpec
from ladle.feed import Blocks, Curriculum, HostFeed, Loader, Mixture, Permuted

BATCH = 256
LARGE, DEEP = 10**12, 10**11
SLOW = 1.0
"""Seconds beyond which a program is repeated three times only."""

Resumed = tuple[float, int]
"""Seconds to the first batch, bytes of the state."""


class Numbers:
    """As many examples as one likes: row `i` is the number `i`."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> int:
        return index

    def take(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        return {"x": ids}


_seeds = count()
"""A new one for each repetition of a process."""

MakeOrder = Callable[[int], Order]
"""`seed -> order`."""


def loader(n: int, position: int, order: MakeOrder | None = None) -> Resumed:
    seed = next(_seeds)
    state = json.dumps({"drawn": position, "carry": {}, "seed": seed, "examples": n})
    started = time.perf_counter()
    made = Loader(Numbers(n), BATCH, order=order or "permuted", seed=seed, workers=0)
    made.load_state_dict(json.loads(state))
    batch = next(iter(made))
    seconds = time.perf_counter() - started
    _check(batch["x"], made.order, position)
    return seconds, len(json.dumps(made.state_dict()))


def host(n: int, position: int) -> Resumed:
    seed, state = next(_seeds), json.dumps(Cursor(position).to_json())
    started = time.perf_counter()
    feed = HostFeed(Numbers(n), Permuted(n, seed))
    drawn, after = feed.draw(Cursor.from_json(json.loads(state)), BatchSpec(BATCH, BATCH))
    batch = next(iter(drawn.micro_batches(0, BATCH)))
    seconds = time.perf_counter() - started
    _check(batch.data["x"], feed.order, position)
    return seconds, len(json.dumps(after.to_json()))


def _check(rows: np.ndarray, order: Order, position: int) -> None:
    assert np.array_equal(rows, order.ids(position, BATCH)), position


def mixture(seed: int) -> Order:
    return Mixture({"a": LARGE - 10**6, "b": 10**6}, {"a": 3, "b": 1}, seed=seed)


@cache
def scores(n: int) -> np.ndarray:
    return np.random.default_rng(0).random(n)


def curriculum(seed: int) -> Order:
    # A tenth of the examples for a while, then half, then all: the position lies far beyond the stages.
    n = 10**6
    return Curriculum(scores(n), stages=((10**5, n // 10), (10**6, n // 2)), seed=seed)


@cache
def sizes(blocks: int) -> np.ndarray:
    return np.full(blocks, LARGE // blocks)


def stateful(n: int, position: int) -> Resumed:
    """Its state is that of a random generator, so it can only be had by going there once, which is not counted."""
    from torchdata.stateful_dataloader import StatefulDataLoader

    def made() -> Any:
        return StatefulDataLoader(Numbers(n), BATCH, shuffle=True)  # type: ignore[arg-type]

    state = stateful_state(made, n, position)
    started = time.perf_counter()
    resumed = made()
    resumed.load_state_dict(pickle.loads(state))
    next(iter(resumed))
    return time.perf_counter() - started, len(state)


_states: dict[Any, bytes] = {}


def stateful_state(made: Callable[[], Any], n: int, position: int) -> bytes:
    if (n, position) not in _states:
        loader = made()
        for _, _ in zip(range(max(1, position // BATCH)), loader, strict=False):
            pass
        _states[n, position] = pickle.dumps(loader.state_dict())
    return _states[n, position]


def grain_of(n: int, position: int) -> Resumed:
    import grain

    options = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)

    def made() -> Any:
        return iter(grain.MapDataset.source(Numbers(n)).shuffle(seed=1).batch(BATCH).to_iter_dataset(options))

    first = made()
    next(first)
    state = {**first.get_state(), "next_index": position // BATCH}
    started = time.perf_counter()
    resumed = made()
    resumed.set_state(json.loads(json.dumps(state)))
    next(resumed)
    return time.perf_counter() - started, len(json.dumps(state))


Program = Callable[[], Resumed]

PROGRAMS: dict[str, Program] = {
    "Loader, 10**11 of 10**12": lambda: loader(LARGE, DEEP),
    "Loader, 0 of 10**12": lambda: loader(LARGE, 0),
    "Loader, 10**3 of 10**4": lambda: loader(10**4, 10**3),
    "HostFeed, 10**11 of 10**12": lambda: host(LARGE, DEEP),
    "HostFeed, 10**3 of 10**4": lambda: host(10**4, 10**3),
    "Mixture, 10**11 of 10**12": lambda: loader(LARGE, DEEP, mixture),
    "Curriculum, 10**11 in 10**6": lambda: loader(10**6, DEEP, curriculum),
    "Blocks, 10**3 of them, 10**11": lambda: loader(LARGE, DEEP, lambda seed: Blocks(sizes(10**3), seed)),
    "Blocks, 10**6 of them, 10**11": lambda: loader(LARGE, DEEP, lambda seed: Blocks(sizes(10**6), seed)),
    "StatefulDataLoader, 10**6 / 2": lambda: stateful(10**6, 10**6 // 2),
    "StatefulDataLoader, 10**7 / 2": lambda: stateful(10**7, 10**7 // 2),
    "Grain, 10**6 / 2": lambda: grain_of(10**6, 10**6 // 2),
    "Grain, 10**9 / 2": lambda: grain_of(10**9, 10**9 // 2),
}
LONG = ("StatefulDataLoader, 10**7 / 2",)
"""Left out of a quick look: a minute and more."""
CLAIMED = ("Loader", "HostFeed")
MOST_SECONDS, MOST_BYTES = 0.01, 1000


def answer(program: str) -> Resumed:
    return PROGRAMS[program]()


def measure(names: list[str], repeats: int) -> tuple[dict[str, Resumed], dict[str, list[Resumed]]]:
    """The very first repetition of each program, and the others."""
    with workers(__file__, names, **OFFLINE) as alive:
        first = {name: alive[name]() for name in names}
        quick = {name: alive[name] for name in names if first[name][0] < SLOW}
        slow = {name: alive[name] for name in names if name not in quick}
        return first, interleave(quick, repeats) | interleave(slow, min(repeats, 3))


def main(quick: bool, names: list[str]) -> None:
    first, samples = measure(names, 5 if quick else 20)
    samples = {name: samples[name] for name in names}
    found = {
        name: {
            "seconds": spread([seconds for seconds, _ in of]),
            "very_first_seconds": first[name][0],
            "state_bytes": of[0][1],
        }
        for name, of in samples.items()
    }
    print(headline())
    rows = [
        [name, show({key: 1e3 * of["seconds"][key] for key in ("median", "low", "high")}),
         f"{1e3 * of['very_first_seconds']:.3g}", of["state_bytes"]]
        for name, of in found.items()
    ]  # fmt: skip
    print(table(["program, position", "to the first batch, ms", "very first", "state, bytes"], rows), end="\n\n")
    claimed = [of for name, of in found.items() if name.startswith(CLAIMED)]
    kept = all(of["seconds"]["median"] <= MOST_SECONDS and of["state_bytes"] <= MOST_BYTES for of in claimed)
    print(f"Loader and HostFeed within 10 ms and 1 kB: {'yes' if kept else 'NO'}")
    quick = quick or len(names) < len(PROGRAMS)
    print(save("feed_resume", quick=quick, batch=BATCH, found=found, samples=samples))


if __name__ == "__main__":
    options = arguments(__doc__)
    if options.worker:
        serve(partial(answer, options.worker))
    else:
        chosen = [name for name in PROGRAMS if not options.only or name in options.only]
        main(options.quick, [name for name in chosen if not options.quick or name not in LONG])
