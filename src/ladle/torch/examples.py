"""`Examples`: rows read ahead of a user's loader, for measurements; the loader stands afterwards where it stood."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ladle.core.errors import ArgumentError, must
from ladle.core.spec import require_count
from ladle.torch.tree import has_rows, leaves, mapped, rows_of, taken
from ladle.torch.untouched import kept_generators

MOST_ROWS = 8192
MOST_BYTES = 64 << 20
MOST_SECONDS = 5.0


@dataclass(frozen=True)
class Examples:
    """Rows in the order in which they were read. `data`: of the kind that the loader hands out, on the device.

    - `rows`: of a whole pass, which may be more than were read. `batch`: rows of the loader's own batches.
    """

    data: Any
    rows: int
    batch: int

    @property
    def read(self) -> int:
        return rows_of(self.data)

    def take(self, count: int, start: int = 0) -> Any:
        """So many rows from place `start` on, from the first again behind the last; in another order each time round.

        >>> Examples(torch.arange(3), 3, 1).take(3).tolist()
        [0, 1, 2]
        """
        places, have = np.arange(start, start + count), self.read
        index = np.empty(count, np.int64)
        for turn in range(start // have, (start + count - 1) // have + 1):
            order = np.random.default_rng(turn).permutation(have) if turn else np.arange(have)
            here = places // have == turn
            index[here] = order[places[here] % have]
        return taken(self.data, torch.from_numpy(index))


def read_ahead(loader: Any, device: torch.device, rows: int | None = None) -> Examples:
    """The first rows of a loader: a torch `DataLoader`, a `ladle.feed.Loader`, or a list of batches.

    - `rows`: of a whole pass, where the loader does not know it.

    Raises `ArgumentError` where rows cannot be counted, or reading once would use them up.
    """
    if isinstance(loader, Iterator):
        why, remedy = (
            "what is read for a measurement would be gone",
            "a DataLoader, a ladle Loader, or a list of batches",
        )
        raise ArgumentError(must("loader", "begin anew each time", "an iterator", why, remedy))
    total = require_count("rows", rows) if rows is not None else _rows(loader)
    batches, read, size, began = list[Any](), 0, 0, time.perf_counter()
    with _standing(loader):
        for batch in loader:
            batches.append(mapped(lambda leaf: leaf.to(device) if isinstance(leaf, torch.Tensor) else leaf, batch))
            count = rows_of(batch)
            read, size = read + count, size + sum(leaf.nbytes for _, leaf in leaves(batch) if has_rows(leaf))
            if read >= min(MOST_ROWS, total) or size >= MOST_BYTES or time.perf_counter() - began > MOST_SECONDS:
                break
    if not batches:
        raise ArgumentError(
            must("loader", "hand out a batch", "none", "sizes are measured on its rows", "a loader of rows")
        )
    return Examples(joined(batches), total, rows_of(batches[0]))


def joined(batches: list[Any]) -> Any:
    """One batch of all rows. Where arrays of batches differ in their shapes, as padded ones do, the first one alone."""
    tables = [dict(leaves(batch)) for batch in batches]
    shapes = [{path: leaf.shape[1:] for path, leaf in table.items() if has_rows(leaf)} for table in tables]
    if len(batches) == 1 or any(shape != shapes[0] for shape in shapes):
        return batches[0]
    paths = iter(tables[0])

    def column(leaf: Any) -> Any:
        path = next(paths)
        if not has_rows(leaf):
            return leaf
        parts = [table[path] for table in tables]
        return torch.cat(parts) if isinstance(leaf, torch.Tensor) else np.concatenate(parts)

    return mapped(column, batches[0])


def _rows(loader: Any) -> int:
    """Rows of a whole pass."""
    if isinstance(loader, list | tuple):
        return sum(map(rows_of, loader))
    order = getattr(getattr(loader, "order", None), "epoch_size", None)
    if isinstance(order, int):
        return order
    for part in (getattr(loader, "sampler", None), getattr(loader, "dataset", None)):
        try:
            return require_count("rows", len(part))  # type: ignore[arg-type]
        except (TypeError, NotImplementedError):  # A sampler without end, a stream.
            continue
    why, remedy = "a plan needs to know how many rows a pass has", "rows=1_000_000"
    raise ArgumentError(must("loader", "have rows that can be counted", type(loader).__name__, why, remedy))


@contextmanager
def _standing(loader: Any) -> Iterator[None]:
    """Leaves loader and generators where they were: its own place, that of its samplers, and those of the process."""
    state = loader.state_dict() if hasattr(loader, "state_dict") and hasattr(loader, "load_state_dict") else None
    found = {id(one): one for one in _generators(loader)}.values()
    before = [(one, one.get_state()) for one in found]
    with kept_generators():
        try:
            yield
        finally:
            for one, was in before:
                one.set_state(was)
            if isinstance(state, Mapping):
                loader.load_state_dict(state)


def _generators(loader: Any) -> Iterable[torch.Generator]:
    batches = getattr(loader, "batch_sampler", None)
    parts = (loader, getattr(loader, "sampler", None), batches, getattr(batches, "sampler", None))
    return (one for part in parts if isinstance(one := getattr(part, "generator", None), torch.Generator))
