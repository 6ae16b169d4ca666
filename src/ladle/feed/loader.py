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

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

from ladle.core.cursor import Cursor, Shard
from ladle.core.errors import ArgumentError, must
from ladle.core.protocols import Collate, Cut, Order, Source
from ladle.core.spec import BatchSpec, require_count
from ladle.feed.augment import Augment, staged
from ladle.feed.host import ByCount, HostFeed, Stack
from ladle.feed.iterable import IterableLoader, is_stream
from ladle.feed.loader_base import REPLACED, LoaderBase, Made, made_again
from ladle.feed.loader_jobs import Converted, Job, TakeBatch, TakeItems, TakeRows, converted
from ladle.feed.loader_names import SEED, SIZE, Names, Single, require_labelled
from ladle.feed.loader_pass import Walk, require_shares
from ladle.feed.loader_state import position_of, require_epoch
from ladle.feed.loader_views import Numbers, NumbersInBatches, dataset_of, in_sequence
from ladle.feed.lookahead import default_workers
from ladle.feed.order import Sequential
from ladle.feed.orders import order_of
from ladle.feed.output import output_named
from ladle.feed.readers import Readers
from ladle.feed.sampled import Sampled
from ladle.feed.sampled_batches import SampledBatches, TakeList, require_alone
from ladle.feed.source.anything import as_source
from ladle.feed.together import require_told


class Loader(LoaderBase):
    """Batches of any data, for any loop.

    **Arguments**

    - `data`: a dict (or tuple, or tree) of arrays, a `ladle.feed` source, a torch, Hugging Face or Grain dataset, or a
      path (see `ladle.feed.as_source`). A stream (`IterableDataset`): see `ladle.feed.iterable`.
    - `batch_size`: examples per batch, all hosts together, 64 by default; None hands out items one by one. May be set
      at any time: `loader.batch_size = 512`.
    - `order`: "auto" (a global shuffle; for files in blocks, a shuffle of blocks and of rows within a window),
      "permuted", "blocks", "sequential", "stratified" (with `labels`), an order of `ladle.feed`, or a function
      `seed -> order`.
    - `seed`: of the order, and of what is drawn while examples are read, 0 by default. `labels`: `[n]` classes, for
      "stratified" alone.
    - `augment`: `(row, key) -> row`, or an `Augment`: rows changed at random, alike whoever reads them and whenever.
    - `collate`, `cut`: how rows of many shapes become arrays of one (`Pad()`), and where batches end (by
      `ByTokens(lengths, length=...)` the budget is `batch_size * length` tokens).
    - `to`: "numpy", "jax", "torch", "torch:cuda:0" (or another device), or a function of a tree of NumPy arrays.
    - `drop_last`: leave out the last batch of a pass where it is smaller.
    - `bad`: "raise", or "skip": examples that cannot be read are left out, and counted in `bad_ids`.
    - `batches`: hand out `ladle.Batch` (data with weights, positions, ids) instead of the data alone.
    - `shard`: which part of each batch this host reads: positions `index, index + count, ...` of it. Shares are equal,
      or refused; `uneven` takes them as they are. All of it where left out, which is refused in a process that trains
      with others, unless a sampler says what is read.
    - `workers`, `processes`, `depth`: readers ahead, see `ladle.feed.lookahead.Ahead`. Two threads by default, or the
      source's own `readers`; none for arrays in memory (gathering their rows is faster than handing them over), and
      none for datasets that are asked item by item, which the caller's thread reads (see `ladle.feed.Items`).
    - names of a `DataLoader` (`shuffle`, `num_workers`, `collate_fn`, ...): see `ladle.feed.loader_names.Names`.

    Iterating is a pass: each `for batch in loader` begins the next one, however far the one before came, and each of
    several iterators has a pass of its own. After `load_state_dict` it is the rest of the pass that the state is in;
    `set_epoch(k)` goes to the start of one.

    Batches are views of larger chunks: keeping one alive keeps about 4 MB alive; copy what is to be kept.

    Raises `ArgumentError` for what cannot be right before anything is read; `ExampleError` with the id of an example
    that cannot be read, in the turn of its batch.

    >>> import numpy as np
    >>> loader = Loader({"x": np.arange(10.0)}, batch_size=4)
    >>> [batch["x"].tolist() for batch in loader]
    [[1.0, 7.0, 4.0, 5.0], [0.0, 8.0, 6.0, 2.0], [9.0, 3.0]]
    >>> loader.state_dict()["drawn"], len(loader)
    (10, 3)
    """

    def __new__(cls, data: Any, *args: Any, **how: Any) -> Any:
        return IterableLoader(data, *args, **how) if is_stream(data) else object.__new__(cls)

    def __init__(
        self,
        data: Any,
        batch_size: int | None = SIZE,
        *,
        order: str | Order | Callable[[int], Order] = "auto",
        seed: int = SEED,
        labels: Any = None,
        augment: Callable[[Any, Any], Any] | Augment | None = None,
        collate: Collate | None = None,
        cut: Cut | None = None,
        to: str | Callable[[Any], Any] = "numpy",
        drop_last: bool = False,
        bad: Literal["raise", "skip"] = "raise",
        batches: bool = False,
        shard: Shard | None = None,
        uneven: bool = False,
        workers: int | None = None,
        processes: bool = False,
        depth: int | None = None,
        **names: Any,
    ) -> None:
        self._names = known = Names.of(names).of_batches(batch_size)
        sampler, batch_size, drop_last = known.unwrapped(batch_size, drop_last)
        require_labelled(order, labels)
        self.source: Source = as_source(data)
        self._dataset, self._examples = dataset_of(data, self.source), len(self.source)
        self.seed = seed = known.seeded(seed)
        order = known.ordered(order, sampler is not None or known.lists is not None)
        if known.lists is not None:
            order = SampledBatches(known.lists, len(self.source), seed)
        elif sampler is not None:
            order = Sampled(sampler, len(self.source), seed)
        self.order = order_of(order, self.source, seed, labels)
        self._lists = self.order if isinstance(self.order, SampledBatches) else None
        self._told = Shard() if shard is None and isinstance(self.order, Sampled | SampledBatches) else shard
        asked, shard = shard, shard or Shard()
        if self._lists is not None:
            require_alone(shard, augment=augment, collate=collate, cut=cut, batches=batches)
        self.drop_last, self.shard, self._uneven = drop_last, shard, uneven or batches
        self.bad_ids: list[int] = []
        """Examples left out so far because they could not be read, once each."""
        if augment is not None:
            collate = _staged(augment, collate, seed, self.order.epoch_size)
        self._feed = HostFeed(self.source, self.order, None, collate or Stack(), cut or ByCount(), bad, seed)
        self._rank_job = self._job(collate, cut, batches)
        self._due: tuple[int, int] | None = (0, 0)
        """Position and pass that the next iteration begins with; None: the pass after the newest."""
        self._newest, self._at = -1, (0, 0)
        size = require_count("batch_size", batch_size)
        self._feed.draw(Cursor(), BatchSpec(size, size), shard)  # A shard or a budget that cannot be is refused here.
        self.batch_size = size
        self._output, self._asked_depth = (to, output_named(to, known.pin_memory)), depth
        self._chunks = dict[int, int]()
        self._read_by(known, workers, processes)
        given = {"order": self.order, "seed": seed, "augment": None, "collate": collate, "cut": cut, "to": to}
        given |= {"drop_last": drop_last, "bad": bad, "batches": batches, "shard": asked, "uneven": uneven}
        given |= {"collate_fn": known.collate_fn}
        self._given = (data, {name: value for name, value in names.items() if name not in REPLACED} | given)

    def _read_by(self, names: Names, workers: int | None = None, processes: bool = False) -> None:
        workers, processes = names.readers(workers, processes, getattr(self.source, "changes", False))
        if workers is None and not processes:
            workers = 0 if getattr(self.source, "in_memory", False) else getattr(self.source, "readers", None)
        workers = default_workers() if workers is None else workers
        self._depth = names.depth(self._asked_depth, workers)
        self._how = {"workers": workers, "processes": processes}
        (to, convert), self._names = self._output, names
        # What comes from another process is converted in this one.
        self._convert = convert if processes and to != "numpy" else None
        self._reading = self._rank_job if processes or to == "numpy" else Converted(self._rank_job, convert)
        self._readers = self._begun()

    def _job(self, collate: Collate | None, cut: Cut | None, batches: bool) -> Job:
        function = self._names.collate_fn
        if self._lists is not None:
            return TakeList(self._feed, function, self._dataset)
        if function is None:
            if collate is None and cut is None and not batches:
                return TakeRows(self._feed, self.shard, self._dataset)
            return TakeBatch(self._feed, self.shard, batches, self._dataset)
        if collate is not None or batches:
            why, remedy = "it makes the whole batch of the items itself", "collate_fn alone"
            raise ArgumentError(must("collate_fn", "stand without collate, augment and batches", "both", why, remedy))
        return TakeItems(self._feed, self.shard, function, self._dataset)

    def _begun(self) -> Readers:
        names, check = self._names, getattr(self.source, "require_threads", None)
        return Readers(self._reading, **self._how, start=names.worker_init_fn, context=names.method, check=check)

    @property
    def batch_size(self) -> int | None:
        """Examples per batch, all hosts together; None where items come one by one, or a batch sampler cuts them."""
        return None if self._lists is not None or isinstance(self._names.collate_fn, Single) else self._batch_size

    @batch_size.setter
    def batch_size(self, value: int | None) -> None:
        if self._lists is not None and value != 1:
            why, remedy = "the lists of batch_sampler say how long they are", "a Loader with sampler= or order="
            raise ArgumentError(must("batch_size", "stay as it is", value, why, remedy))
        self._batch_size = require_count("batch_size", value)
        self._spec = BatchSpec(self._batch_size, self._batch_size)
        self._require_shares()

    def _require_shares(self) -> None:
        if self.shard.count > 1 and not self._uneven:
            n, (start, epoch) = self.order.epoch_size, self._due or self._at
            require_shares(self.shard.count, (epoch + 1) * n - start or n, self._batch_size, self.drop_last)

    @Made
    def sampler(self) -> Any:
        """The sampler that was given, as it is; else the example numbers of the pass that the next iteration begins."""
        if isinstance(self.order, Sampled) and self._lists is None:
            return self.order.sampler
        return in_sequence(self._numbers(), self._dataset) if isinstance(self.order, Sequential) else self._numbers()

    def _numbers(self) -> Numbers:
        n = self.order.epoch_size
        start = (self._newest + 1 if self._due is None else self._due[1]) * n
        count = n if self._lists is None else len(self.order.ids(start, n))
        return Numbers(lambda: self.order.ids((self._newest + 1 if self._due is None else self._due[1]) * n, n), count)

    @Made
    def batch_sampler(self) -> Any:
        """The same in batches; a batch sampler that was given, as it is."""
        if self._lists is not None:
            return self._lists.sampler
        return NumbersInBatches(self._numbers(), self._batch_size, self.drop_last)

    def __len__(self) -> int:
        """Batches in a whole pass."""
        if not isinstance(self._feed.cut, ByCount):
            raise TypeError("how many batches a budget of tokens makes is known once they are cut")
        whole, rest = divmod(self.order.epoch_size, self._batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Any]:
        """The batches of a pass. It is chosen when the first batch is asked for."""
        if len(self.source) != self._examples:
            got, why = len(self.source), "an order is over as many as there were"
            raise ArgumentError(must("data", f"keep its {self._examples} examples", got, why, "a new Loader"))
        require_told(self._told)
        start, epoch = (self._newest + 1) * self.order.epoch_size, self._newest + 1
        if self._due is not None:
            (start, epoch), self._due = self._due, None
        self._newest, self._at = epoch, (start, epoch)
        stop = (epoch + 1) * self.order.epoch_size
        walk, convert = self._walk(epoch), self._convert
        try:
            while start < stop and not (self.drop_last and stop - start < self._batch_size):
                ready = walk.next(start, self._spec)
                start = ready.stop
                self._at = (start, epoch)
                if ready.bad:
                    self.bad_ids += [id for id in ready.bad if id not in self.bad_ids]
                yield ready.batch if convert is None else converted(ready.batch, convert)
            self._at = (stop, epoch + 1)
        except Exception:
            self._due = self._due or (start, epoch)  # The same batch is tried again.
            raise
        finally:
            walk.close()

    def _walk(self, epoch: int) -> Walk:
        """The batches of a pass. Processes begin anew where what they read may have changed."""
        if isinstance(self.order, Sampled):
            self.order.prepare(epoch)
        changes = getattr(self.source, "changes", False) or getattr(self.order, "changes", False)
        if self._readers.processes and changes and not self._names.persistent_workers:
            self._readers = self._begun()  # The others end with the last pass that asks them.
        how: dict[str, Any] = {"depth": self._depth, "timeout": self._names.timeout, "drop_last": self.drop_last}
        return Walk(self._feed, self._reading, self._readers, self._chunks, **how)

    def state_dict(self) -> dict[str, Any]:
        """Where the loader stands, as JSON: after the last batch handed out. Less than 1 kB for any data.

        After the last batch of a pass, and before the loop has seen its end, it is the empty rest of that pass.
        """
        drawn, epoch = self._at if self._due is None else self._due
        return {**Cursor(drawn).to_json(), "epoch": epoch, **self._facts()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there. The batch size, the number of hosts and the readers may differ.

        Raises `ArgumentError` for what is no state of a loader, and for one of other data, another order or seed:
        another sequence would follow, and examples would be lost or used twice in silence.
        """
        self._due = self._at = position_of(state, self._facts(), self.order.epoch_size)
        self._require_shares()

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of pass `epoch`."""
        epoch = require_epoch(epoch)
        self._due = self._at = (epoch * self.order.epoch_size, epoch)

    def __reduce__(self) -> tuple[Any, ...]:
        data, given = self._given
        return made_again, (type(self), data, self._now(given), self.state_dict())

    def close(self) -> None:
        """End the readers; also happens when the loader is no longer used."""
        self._readers.close()

    def _facts(self) -> dict[str, Any]:
        """What has to be the same for a position to mean the same examples, as far as it can be told in a line."""
        return {"seed": self.seed, "examples": len(self.source), "order": type(self.order).__name__}


def _staged(augment: Any, collate: Collate | None, seed: int, epoch_size: int) -> Augment:
    stage = staged(augment)
    if collate is not None:
        if not isinstance(stage.collate, Stack):
            why, remedy = "rows are collated once", "Augment(function, collate=...) alone"
            raise ArgumentError(must("collate", "be left out where augment has one", "both", why, remedy))
        stage = replace(stage, collate=collate)
    return replace(stage, seed=seed, epoch_size=epoch_size)
