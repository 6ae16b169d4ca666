"""Data that lives on the device: a draw is a position, and the compiled program finds the rows itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ladle.core.batch import Batch
from ladle.core.cursor import Cursor, Shard
from ladle.core.errors import ArgumentError, must
from ladle.core.protocols import DeviceOrder
from ladle.core.spec import BatchSpec
from ladle.feed.arrays import Arrays
from ladle.feed.augment import Augment, Keyed
from ladle.feed.bijection import NARROW
from ladle.feed.host import HostDraw, HostFeed, Stack


@dataclass(frozen=True, eq=False)
class ResidentFeed:
    """Many updates in one draw, gathered on the device; implements `ladle.core.protocols.Feed`.

    Same arguments, same ids and same errors as `HostFeed`. Raises `ArgumentError` besides for an order of more than
    2**31 places, or of another number of places than there are examples.

    - `augment`: changes rows at random; what runs the draws is told its seed with the order's tables.
    - `placed_arrays`: `(data, weight)` as the compiled program will be given them; those of the host until `placed`.

    >>> from ladle.feed.order import Permuted
    >>> feed = ResidentFeed(Arrays({"x": np.arange(5.0)}), Permuted(5, seed=0))
    >>> draw, cursor = feed.draw(Cursor(drawn=7), BatchSpec(size=2, micro_size=2, updates=1_000_000))
    >>> draw.epoch, draw.offset, cursor.drawn
    (1, 2, 1666674)
    """

    source: Arrays
    order: DeviceOrder
    weight: Any = None
    placed_arrays: tuple[Any, Any] | None = None
    augment: Augment | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", self._host.weight)
        if not hasattr(self.order, "program"):
            why = "the device has no program for it"
            raise ArgumentError(must("order", "be one that a device can compute", self.order, why, "HostFeed"))
        if self.epoch_size > NARROW:
            why, remedy = "the device counts places in 32 bits", "HostFeed"
            raise ArgumentError(must("order", f"have at most {NARROW} places in a pass", self.epoch_size, why, remedy))
        if self.epoch_size != len(self.source):
            be = f"have {len(self.source)} places in a pass"
            why = "the compiled program takes the number of examples for the length of a pass"
            raise ArgumentError(must("order", be, self.epoch_size, why, "HostFeed"))
        if self.placed_arrays is None:
            object.__setattr__(self, "placed_arrays", (self.source.tree, self.weight))

    @cached_property
    def _host(self) -> HostFeed:
        return HostFeed(self.source, self.order, self.weight, self.augment or Stack())

    @property
    def epoch_size(self) -> int:
        return self.order.epoch_size

    @property
    def resident(self) -> bool:
        return True

    @property
    def data(self) -> Any:
        """The tree of arrays that the compiled program gathers from."""
        assert self.placed_arrays is not None
        return self.placed_arrays[0]

    def placed(self, place: Callable[[Any], Any]) -> ResidentFeed:
        """The same feed with data and weights where `place` puts a tree of arrays: once, for a whole run."""
        weight = None if self.weight is None else place(self.weight)
        return replace(self, placed_arrays=(place(self.source.tree), weight))

    def start(self) -> Cursor:
        return Cursor()

    def draw(self, cursor: Cursor, spec: BatchSpec, shard: Shard = Shard()) -> tuple[ResidentDraw, Cursor]:
        """The next `spec.updates` batches and the cursor after them. Pure; costs the same for any number of updates."""
        assert self.placed_arrays is not None
        host, after = self._host.draw(cursor, spec, shard)
        order = self.order if self.augment is None else Keyed(self.order, self.augment.seed)
        return ResidentDraw(host, order, *self.placed_arrays), after


@dataclass(frozen=True, eq=False)
class ResidentDraw:
    """A position, and where the rows are; implements `ladle.core.batch.Draw`.

    - `data`, `weight`: trees of arrays on the device (or on the host, if the feed was not `placed`); `weight` or None.
    - `order`: what turns places into ids, on the device through `order.program` and `order.tables()`.
    """

    host: HostDraw
    order: DeviceOrder
    data: Any
    weight: Any

    @property
    def start(self) -> int:
        return self.host.start

    @property
    def epoch_size(self) -> int:
        return self.host.epoch_size

    @property
    def epoch(self) -> int:
        """Pass of the first example."""
        return self.start // self.epoch_size

    @property
    def offset(self) -> int:
        """Place of the first example in its pass."""
        return self.start % self.epoch_size

    @property
    def counts(self) -> tuple[int, ...]:
        """Examples in each update. Computed when asked for: there may be very many."""
        return self.host.counts

    def ids(self) -> list[np.ndarray]:
        """`i64[...]` example ids of each update that belong to this shard."""
        return self.host.ids()

    def micro_batches(self, update: int, micro_size: int) -> Iterator[Batch]:
        """The rows of one update on the host; see `HostDraw.micro_batches`."""
        return self.host.micro_batches(update, micro_size)
