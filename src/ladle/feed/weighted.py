"""`Weighted`: examples drawn in proportion to a weight, with replacement."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ladle.core.errors import ArgumentError, must
from ladle.core.foreign import as_array
from ladle.core.seed import seed_words
from ladle.feed.bijection import NARROW, keyed, round_keys
from ladle.feed.keys import WEIGHTED
from ladle.feed.order import order_ids, read_only, require_size


@dataclass(frozen=True, eq=False)
class Weighted:
    """Independent draws with repeats: example `i` stands at any position with chance `weights[i] / sum(weights)`.

    Chances are kept as whole multiples of 2**-31, so that host and device agree on every bit: each is within 2**-31 of
    what was asked for, and an example whose share is far below that may never be drawn. An example of weight zero
    never is.

    - `weights`: `f64[n]`, finite, non-negative, not all zero.
    - `draws`: positions in one pass; `n` by default.

    Raises `ArgumentError` for weights or a seed that break these rules.

    >>> Weighted([1.0, 0.0, 3.0], seed=0).ids(0, 8).tolist()
    [2, 2, 0, 2, 2, 2, 2, 2]
    """

    weights: Any = field(repr=False)
    seed: int = 0
    draws: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", _checked_weights(self.weights))
        object.__setattr__(self, "draws", len(self.weights) if self.draws is None else self.draws)
        require_size("draws", self.draws, NARROW)
        seed_words(self.seed)

    @property
    def examples(self) -> int:
        """Ids are below this."""
        return len(self.weights)

    @property
    def epoch_size(self) -> int:
        assert self.draws is not None
        return self.draws

    @property
    def program(self) -> WeightedProgram:
        return WeightedProgram(self.epoch_size)

    def tables(self) -> Mapping[str, np.ndarray]:
        return self._tables

    @cached_property
    def _tables(self) -> dict[str, np.ndarray]:
        shares = np.cumsum(self.weights / self.weights.max())
        ends = np.rint(shares / shares[-1] * 2.0**31).astype(np.uint32)
        return read_only({"seed": seed_words(self.seed), "ends": ends})

    def ids(self, start: int, count: int) -> np.ndarray:
        return order_ids(self, start, count)


@dataclass(frozen=True)
class WeightedProgram:
    """`Weighted` as a function. Reads `seed` (`u32[2]`) and `ends` (`u32[n]`, cumulative chances times 2**31)."""

    epoch_size: int

    def __call__(
        self, tables: Mapping[str, Any], epoch: Any, offset: Any, xp: Any, while_loop: Callable[..., Any]
    ) -> Any:
        keys = round_keys(tables["seed"], epoch, WEIGHTED, 2)
        # Each hash alone is a bijection and would never repeat a number within a pass; their sum may.
        uniform = (keyed(offset, keys[0]) + keyed(offset, keys[1])) >> np.uint32(1)
        return xp.searchsorted(tables["ends"], uniform, side="right").astype(np.uint32)


def _checked_weights(weights: Any) -> np.ndarray:
    values = np.array(as_array(weights, "weights"), np.float64)
    if values.ndim != 1 or not 1 <= len(values) <= NARROW:
        shape = f"an array of shape {values.shape}"
        raise ArgumentError(
            must("weights", "be one number per example", shape, "each is one example's share", "f64[n]")
        )
    bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if bad.size:
        got = f"{values[bad[0]]} for example {bad[0]} ({bad.size} such)"
        raise ArgumentError(must("weights", "be finite and not negative", got, "a chance is", "np.maximum(weights, 0)"))
    if not values.any():
        raise ArgumentError(must("weights", "not all be zero", 0.0, "some example has to be drawn", "np.ones(n)"))
    return values
