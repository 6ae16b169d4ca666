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
        "random": Generator(random.getstate, random.setstate, _equal, random.seed),
        "np.random": Generator(_numpy_state, np.random.set_state, _same_numpy, _seed_numpy),
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
        self.seeding(None)(*key.tolist())

    def seeding(self, names: Iterable[str] | None) -> Callable[[int, int], None]:
        """What sets those of some names, None for all, from the two words of a key."""
        self.touched.update(self.generators if names is None else names)
        seeds = [one.seed for name, one in self.generators.items() if name in self.touched]

        def set_all(low: int, high: int) -> None:
            number = low | high << 32
            for seed in seeds:
                seed(number)

        return set_all


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


def _equal(one: Any, other: Any) -> bool:
    return one == other


def _numpy_state() -> Any:
    return np.random.get_state(legacy=False)


def _same_numpy(one: Any, other: Any) -> bool:
    return (
        one["state"]["pos"] == other["state"]["pos"]
        and one["has_gauss"] == other["has_gauss"]
        and np.array_equal(one["state"]["key"], other["state"]["key"])
    )


def _seed_numpy(number: int) -> None:
    np.random.seed(number & 0xFFFFFFFF)
