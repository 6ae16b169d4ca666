"""The random generators that a program shares: Python's, NumPy's and torch's, set for each example that is read.

A dataset that draws from them gives the same example for the same key, whatever was read before it, by whom, and in
batches of which size; and the loop that draws from them as well finds them as it left them. They belong to the whole
process, so threads cannot have them one by one: in reading threads nothing is set, and a dataset that draws is refused.
"""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from ladle.feed.source import mersenne

_THREAD = threading.local()


class Generator(NamedTuple):
    """One generator of the process: how its state is read, set, compared, and made from a number below 2**64."""

    get: Callable[[], Any]
    set: Callable[[Any], Any]
    same: Callable[[Any, Any], bool]
    seed: Callable[[int], Any]


def shared_here() -> None:
    """Say that this thread reads beside others: it leaves the generators alone. An initializer of reading threads."""
    _THREAD.shared = True


def are_ours() -> bool:
    """Whether this thread may set the generators: it is the one that called, and waits for nothing else."""
    return not getattr(_THREAD, "shared", False)


def generators() -> dict[str, Generator]:
    """Those of the libraries that are loaded, by how a message calls them."""
    found = {
        "random": Generator(random.getstate, random.setstate, _same_python, random.seed),
        "np.random": Generator(mersenne.get, mersenne.put, mersenne.same, _seed_numpy),
    }
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "default_generator"):
        own = torch.default_generator
        found["torch"] = Generator(own.get_state, own.set_state, torch.equal, lambda seed: own.manual_seed(seed >> 1))
    return found


class Kept:
    """The states of the generators at some time, and what has become of them."""

    def __init__(self) -> None:
        self.generators = generators()
        self.states = {name: one.get() for name, one in self.generators.items()}
        self.touched: set[str] = set()
        """Those that were set or seen to be drawn from."""

    def moved(self) -> set[str]:
        """Which of those that were not set have been drawn from."""
        rest = {name: one for name, one in self.generators.items() if name not in self.touched}
        found: set[str] = {name for name, one in rest.items() if not one.same(self.states[name], one.get())}
        self.touched.update(found)
        return found

    def restore(self) -> None:
        for name in self.touched:
            self.generators[name].set(self.states[name])

    def seed(self, key: np.ndarray) -> None:
        """Set all of them from a key, `u32[2]`."""
        self.seeding(None)(numbers(key[None])[0])

    def seeding(self, names: Iterable[str] | None) -> Callable[[int], Any]:
        """What sets those of some names, None for all, from a number of `numbers`."""
        self.touched.update(self.generators if names is None else names)
        seeds = [one.seed for name, one in self.generators.items() if name in self.touched]
        if len(seeds) == 1:
            return seeds[0]

        def set_all(number: int) -> None:
            for seed in seeds:
                seed(number)

        return set_all


def numbers(keys: np.ndarray) -> list[int]:
    """One number below 2**64 for each of some keys (`u32[k, 2]`)."""
    return (keys[:, 0] | keys[:, 1].astype(np.uint64) << np.uint64(32)).tolist()


@contextmanager
def kept() -> Iterator[Kept]:
    """Generators that are afterwards as they were, whatever happens between.

    >>> with kept() as states:
    ...     states.seed(np.array([7, 0], np.uint32))
    ...     first = random.random()
    >>> with kept() as states:
    ...     states.seed(np.array([7, 0], np.uint32))
    ...     random.random() == first
    True
    """
    states = Kept()
    checked = False
    try:
        yield states
        checked = True
    finally:
        if not checked:
            states.moved()
        states.restore()


def told(names: Iterable[str]) -> str:
    return " and ".join(sorted(names))


def _same_python(one: Any, other: Any) -> bool:
    """By the place among the 624 words, the first few of them (all are made anew together) and the half of a pair."""
    return one[1][-1] == other[1][-1] and one[1][:8] == other[1][:8] and one[2] == other[2]


def _seed_numpy(number: int) -> None:
    np.random.seed(number & 0xFFFFFFFF)
