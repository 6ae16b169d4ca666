"""`Loader`: the feed for any other loop. Iterates over batches like torch's `DataLoader`, and remembers where it is.

    loader = Loader({"x": x, "y": y}, batch_size=256, to="torch")
    for epoch in range(10):
        for batch in loader:
            ...
    state = loader.state_dict()          # {"drawn": ...}: after the last batch handed out, whatever comes of it

A batch is a function of (seed, position), so resuming costs nothing, at any position of any amount of data, also with
another batch size or another number of hosts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np

from ladle.core.batch import Batch, batch_ends
from ladle.core.cursor import Cursor, Shard
from ladle.core.errors import ArgumentError, ExampleError, must
from ladle.core.protocols import Collate, Cut, Order, Source
from ladle.core.spec import BatchSpec, require_count
from ladle.feed.arrays import leaves, map_tree
from ladle.feed.host import ByCount, HostFeed, Stack
from ladle.feed.lookahead import Ahead
from ladle.feed.orders import order_of
from ladle.feed.output import output_named
from ladle.feed.source.anything import as_source

CHUNK_BYTES = 4_000_000
"""Batches of plain rows are gathered several at a time, up to about so many bytes: a small batch then costs a slice."""

CHUNK_BATCHES = 128
"""And at most so many: slices cost time as well."""


class Loader:
    """Batches of any data, for any loop.

    **Arguments**

    - `data`: a dict (or tuple, or tree) of arrays, a `ladle.feed` source, a torch, Hugging Face or Grain dataset, or a
      path (see `ladle.feed.as_source`).
    - `batch_size`: examples per batch, all hosts together. May be set at any time: `loader.batch_size = 512`.
    - `order`: "auto" (a global shuffle; for files in blocks, a shuffle of blocks and of rows within a window),
      "permuted", "blocks", "sequential", "stratified" (with `labels`), an order of `ladle.feed`, or a function
      `seed -> order`.
    - `seed`: of the order. `labels`: `[n]` classes for "stratified".
    - `collate`, `cut`: how rows of many shapes become arrays of one (`Pad()`), and where batches end (by
      `ByTokens(lengths, length=...)` the budget is `batch_size * length` tokens).
    - `to`: "numpy", "jax", "torch", or a function of a tree of NumPy arrays.
    - `drop_last`: leave out the last batch of a pass where it is smaller.
    - `bad`: "raise", or "skip": examples that cannot be read are left out, and counted in `bad_ids`.
    - `batches`: hand out `ladle.Batch` (data with weights, positions, ids) instead of the data alone.
    - `shard`: which part of each batch this host reads: positions `index, index + count, ...` of it.
    - `workers`, `processes`, `depth`: readers ahead, see `ladle.feed.lookahead.Ahead`. Two threads by default, or the
      source's own `readers`; none for arrays in memory: gathering their rows is faster than handing them over.

    Iterating goes on from where the loader stands to the end of the pass: `for batch in loader` is an epoch, and after
    a `break` or `load_state_dict` the rest of it. `set_epoch(k)` goes to the start of a pass.

    Batches are views of larger chunks: keeping one alive keeps about 4 MB alive; copy what is to be kept.

    Raises `ArgumentError` for what cannot be right before anything is read; `ExampleError` with the id of an example
    that cannot be read.

    >>> loader = Loader({"x": np.arange(10.0)}, batch_size=4)
    >>> [batch["x"].tolist() for batch in loader]
    [[1.0, 7.0, 4.0, 5.0], [0.0, 8.0, 6.0, 2.0], [9.0, 3.0]]
    >>> loader.state_dict()["drawn"], len(loader)
    (10, 3)
    """

    def __init__(
        self,
        data: Any,
        batch_size: int = 64,
        *,
        order: str | Order | Callable[[int], Order] = "auto",
        seed: int = 0,
        labels: Any = None,
        collate: Collate | None = None,
        cut: Cut | None = None,
        to: str | Callable[[Any], Any] = "numpy",
        drop_last: bool = False,
        bad: Literal["raise", "skip"] = "raise",
        batches: bool = False,
        shard: Shard = Shard(),
        workers: int | None = None,
        processes: bool = False,
        depth: int | None = None,
    ) -> None:
        self.source: Source = as_source(data)
        self.order = order_of(order, self.source, seed, labels)
        self.seed, self.drop_last = seed, drop_last
        self.bad_ids: list[int] = []
        """Examples left out so far because they could not be read, once each."""
        feed = HostFeed(self.source, self.order, collate=collate or Stack(), cut=cut or ByCount(), bad=bad)
        self._feed, self._cursor = feed, Cursor()
        self.batch_size = batch_size
        feed.draw(self._cursor, self._spec, shard)  # A shard or a budget that cannot be is refused here.
        self._rows = collate is None and cut is None and not batches
        job: Callable[[_Key], list[_Ready]]
        job = _TakeRows(feed, shard) if self._rows else _TakeBatch(feed, shard, batches)
        convert = output_named(to)
        # What comes from another process is converted in this one.
        self._convert = convert if processes and to != "numpy" else None
        if workers is None:
            workers = 0 if getattr(self.source, "in_memory", False) else getattr(self.source, "readers", None)
        how: dict[str, Any] = {"workers": workers, "processes": processes, "depth": depth, "name": self._name}
        if not processes and to != "numpy":
            job = _Converted(job, convert)
        self._ahead = Ahead(job, self._after, **how)
        self._ready: deque[_Ready] = deque()
        self._following: _Key | None = None
        self._most = 1

    @property
    def batch_size(self) -> int:
        return self._batch_size

    @batch_size.setter
    def batch_size(self, value: int) -> None:
        self._batch_size = require_count("batch_size", value)
        self._spec = BatchSpec(value, value)
        self._batches: int | None = None

    @property
    def epoch(self) -> int:
        """The pass that the next batch belongs to."""
        return self._cursor.drawn // self.order.epoch_size

    @property
    def cursor(self) -> Cursor:
        """Where the loader stands: after the last batch handed out."""
        return self._cursor

    def __len__(self) -> int:
        """Batches in a whole pass."""
        if not isinstance(self._feed.cut, ByCount):
            raise TypeError("how many batches a budget of tokens makes is known once they are cut")
        whole, rest = divmod(self.order.epoch_size, self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Any]:
        epoch, n = self.epoch, self.order.epoch_size
        while self._cursor.drawn // n == epoch:
            start = self._cursor.drawn
            if self.drop_last and (epoch + 1) * n - start < self.batch_size:
                self._cursor = Cursor((epoch + 1) * n)
                return
            ready = self._next(start)
            self._cursor = Cursor(ready.stop)
            yield ready.batch

    def state_dict(self) -> dict[str, Any]:
        """Where the loader stands, as JSON: after the last batch handed out. Less than 1 kB for any data."""
        return {**self._cursor.to_json(), **self._facts()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there. The batch size, the number of hosts and the readers may differ.

        Raises `ArgumentError` for a state of other data, another order or seed: another sequence would follow, and
        examples would be lost or used twice in silence.
        """
        for name, own in self._facts().items():
            if state.get(name) != own:
                why, remedy = f"the state is of {name}={state.get(name)}", f"{name}={state.get(name)}"
                raise ArgumentError(must(f"the loader's {name}", "be the state's", own, why, remedy))
        self._cursor = Cursor.from_json(state)

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of pass `epoch`."""
        self._cursor = Cursor(epoch * self.order.epoch_size)

    def close(self) -> None:
        """End the readers; also happens when the loader is no longer used."""
        self._ahead.close()

    def _facts(self) -> dict[str, Any]:
        """What has to be the same for a position to mean the same examples, as far as it can be told in a line."""
        return {"seed": self.seed, "examples": len(self.source), "order": type(self.order).__name__}

    def _next(self, start: int) -> _Ready:
        """The batch from position `start` on."""
        waiting = self._ready
        while waiting and waiting[0].start < start:  # A last batch that was left out.
            waiting.popleft()
        if not waiting or waiting[0].start != start or waiting[0].size != self._batch_size:
            key = self._following
            if key is None or (key.start, key.spec) != (start, self._spec):
                key = _Key(start, self._spec, 1)  # The first batch waits for nothing but itself.
            self._most = self._batches_at_once()
            self._following = self._after(key)
            self._ready = deque(self._ahead.get(key))
        ready = self._ready.popleft()
        if ready.bad:
            self.bad_ids += [id for id in ready.bad if id not in self.bad_ids]
        return ready if self._convert is None else ready._replace(batch=_converted(ready.batch, self._convert))

    def _batches_at_once(self) -> int:
        """Batches per chunk: found from the size of one row, once for each batch size."""
        if self._batches is None:
            self._batches = 1
            if self._rows:
                try:
                    row = self.source.take(self.order.ids(self._cursor.drawn, 1))
                    row_bytes = sum(leaf.nbytes for _, leaf in leaves(row))
                    self._batches = min(max(1, CHUNK_BYTES // max(row_bytes * self.batch_size, 1)), CHUNK_BATCHES)
                except ExampleError:  # The batch that it is in will say so, or leave it out.
                    pass
        return self._batches

    def _after(self, key: _Key) -> _Key:
        stop = self._feed.cut.stop(self.order, key.start, replace(key.spec, updates=key.batches))
        return key._replace(start=stop, batches=min(2 * key.batches, self._most))

    def _name(self, key: _Key) -> str:
        ids = self.order.ids(key.start, min(key.spec.size, 8))
        return f"examples {', '.join(str(id) for id in ids.tolist())}, ..."


class _Key(NamedTuple):
    """A chunk: `batches` of them from position `start` on."""

    start: int
    spec: BatchSpec
    batches: int


class _Ready(NamedTuple):
    """A batch that was read: from `start` to `stop`, asked for with `size`; `bad` ids were left out of it."""

    start: int
    size: int
    stop: int
    batch: Any
    bad: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class _TakeRows:
    """Plain rows: the rows of several batches are taken at once, and each batch is a view of them."""

    feed: HostFeed
    shard: Shard

    def __call__(self, key: _Key) -> list[_Ready]:
        feed, size, (index, count) = self.feed, key.spec.size, (self.shard.index, self.shard.count)
        ends = batch_ends(key.start, size, key.batches, feed.epoch_size).tolist()
        spans = list(pairwise([key.start, *ends]))
        ids = feed.order.ids(key.start, ends[-1] - key.start)
        if count > 1:
            ids = np.concatenate([ids[a - key.start + index : b - key.start : count] for a, b in spans])
        rows, good = self._readable(ids)
        first, ready = 0, []
        for a, b in spans:
            last = first + len(range(a + index, b, count))
            bad = () if good is None else tuple(ids[first:last][~good[first:last]].tolist())
            own = slice(first, last) if good is None else slice(int(good[:first].sum()), int(good[:last].sum()))
            ready.append(_Ready(a, size, b, _sliced(rows, own), bad))
            first = last
        return ready

    def _readable(self, ids: np.ndarray) -> tuple[Any, np.ndarray | None]:
        """The rows that can be read, and which these are; None for all of them."""
        good: np.ndarray | None = None
        while True:
            try:
                return self.feed.source.take(ids if good is None else ids[good]), good
            except ExampleError as error:
                before = np.ones(len(ids), bool) if good is None else good
                good = before & ~np.isin(ids, error.ids)
                if self.feed.bad == "raise" or not good.any() or good.sum() == before.sum():
                    raise


@dataclass(frozen=True, eq=False)
class _TakeBatch:
    """A collated batch: this host's part of it in one piece; padded to one number of rows on all hosts if `whole`."""

    feed: HostFeed
    shard: Shard
    whole: bool

    def __call__(self, key: _Key) -> list[_Ready]:
        draw, _ = self.feed.draw(Cursor(key.start), key.spec, self.shard)
        count = draw.counts[0]
        own = -(-count // self.shard.count) if self.whole else max(len(draw.ids()[0]), 1)
        batch: Any = draw.micro_batch((key.start, count, own))
        bad = batch.bad
        if not self.whole:
            left_out = np.isin(batch.ids[: batch.real], bad)
            kept = np.flatnonzero(~left_out) if bad else slice(0, batch.real)
            batch = map_tree(lambda leaf: leaf[kept], batch.data)
        return [_Ready(key.start, key.spec.size, draw.stop, batch, bad)]


@dataclass(frozen=True, eq=False)
class _Converted:
    """A job whose batches are converted by the thread that read them."""

    job: Callable[[_Key], list[_Ready]]
    convert: Callable[[Any], Any]

    def __call__(self, key: _Key) -> list[_Ready]:
        return [ready._replace(batch=_converted(ready.batch, self.convert)) for ready in self.job(key)]


def _converted(batch: Any, convert: Callable[[Any], Any]) -> Any:
    if isinstance(batch, Batch):
        return replace(batch, data=convert(batch.data))
    return convert(batch)


def _sliced(tree: Any, rows: slice) -> Any:
    if type(tree) is dict and not any(isinstance(leaf, dict | tuple) for leaf in tree.values()):
        return {name: leaf[rows] for name, leaf in tree.items()}  # What most data is, in half of the time.
    return map_tree(lambda leaf: leaf[rows], tree)
