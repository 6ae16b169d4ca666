"""Names that are known from torch's `DataLoader`: what each means for a `Loader`, or why it has no meaning there."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from multiprocessing import get_all_start_methods
from typing import Any

from ladle.core.errors import ArgumentError, must, nearest

_REFUSED = {
    "pin_memory_device": ("memory is pinned for the accelerator that torch has", 'to="torch:cuda:0"'),
    "multiprocessing": ("readers are threads or processes", "processes=True"),
}
_OF_WORKERS = {"prefetch_factor": None, "timeout": 0, "persistent_workers": False, "multiprocessing_context": None}


class Unsaid(int):
    """A default that can be told from the same number when it was given: `size is SIZE`."""


SIZE, SEED = Unsaid(64), Unsaid(0)


@dataclass(frozen=True)
class Names:
    """The arguments of a `DataLoader` that a `Loader` takes under the same name.

    - `shuffle`: True is order="auto", False is order="sequential". `sampler`: numbers of examples, anew each pass.
    - `batch_sampler`: an iterable of lists of example numbers, with a length, and without any `batch_size`,
      `drop_last`, `shuffle`, `sampler` beside it; of torch's own `BatchSampler` the sampler, size and `drop_last` are
      taken, so that the size may change.
    - `num_workers`: that many processes for datasets that are asked item by item, or where there is a
      `worker_init_fn` or a `multiprocessing_context`; threads for other sources. May be set between passes.
    - `collate_fn`: list of items -> a batch, whatever it is; called with one batch at a time, by the reader.
    - `pin_memory`: tensors in page-locked memory, where torch has an accelerator. `timeout`: seconds for a batch.
    - `worker_init_fn(number)`: called in each reading process. `persistent_workers`: processes live from pass to pass;
      otherwise they begin anew with each, so that a changed dataset is seen as changed.
    - `generator`: draws the seed. `prefetch_factor`: batches ahead for each worker. `multiprocessing_context`: "fork",
      "spawn". `in_order`: True.

    What is said of workers (`timeout`, `persistent_workers`, `prefetch_factor`, `multiprocessing_context`) is refused
    where there are none.
    """

    shuffle: bool | None = None
    sampler: Any = None
    batch_sampler: Any = None
    num_workers: int | None = None
    collate_fn: Callable[[list[Any]], Any] | None = None
    pin_memory: bool = False
    timeout: float = 0
    worker_init_fn: Callable[[int], Any] | None = None
    persistent_workers: bool = False
    generator: Any = None
    prefetch_factor: int | None = None
    multiprocessing_context: Any = None
    in_order: bool = True

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Names:
        """Those of a call. Raises `ArgumentError` for another name, with the nearest."""
        known = [one.name for one in fields(cls)]
        for name, value in given.items():
            if name in _REFUSED:
                why, remedy = _REFUSED[name]
                raise ArgumentError(must(name, "be left out", value, why, remedy))
            if name not in known:
                why = "a Loader knows others"
                raise ArgumentError(must(name, "be an argument of Loader", value, why, nearest(name, [*known, *OWN])))
        names = cls(**given)
        names.check()
        return names

    def check(self) -> None:
        """Raises `ArgumentError` for values that cannot be."""
        for name in ("shuffle", "pin_memory", "persistent_workers"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, bool):
                raise ArgumentError(must(name, "be True or False", value, "it is a switch", f"{name}=True"))
        if self.in_order is not True:
            why, remedy = "a batch is a function of its position, so that a run can be resumed", "in_order=True"
            raise ArgumentError(must("in_order", "be True", self.in_order, why, remedy))
        if isinstance(self.timeout, bool) or not isinstance(self.timeout, int | float) or not 0 <= self.timeout < 1e9:
            why, remedy = "seconds are waited for a batch", "timeout=60, or 0 to wait for ever"
            raise ArgumentError(must("timeout", "be seconds, 0 or more", self.timeout, why, remedy))
        for name in ("collate_fn", "worker_init_fn"):
            value = getattr(self, name)
            if value is not None and not callable(value):
                raise ArgumentError(must(name, "be a function", value, "it is called", f"{name}=None"))
        if sum(value is not None for value in (self.shuffle or None, self.sampler, self.batch_sampler)) > 1:
            got = "more than one"
            why, remedy = "each says which examples come next", "one of them"
            raise ArgumentError(must("shuffle, sampler and batch_sampler", "exclude each other", got, why, remedy))
        self._check_readers()

    def _check_readers(self) -> None:
        ahead = 1 if self.prefetch_factor is None else self.prefetch_factor
        if isinstance(ahead, bool) or not isinstance(ahead, int) or ahead < 1:
            why, remedy = "it counts batches ahead of each worker", "prefetch_factor=2"
            raise ArgumentError(must("prefetch_factor", "be a whole number from 1 on", ahead, why, remedy))
        count = 0 if self.num_workers is None else self.num_workers
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            why, remedy = "it counts readers", "num_workers=2, or 0 for none"
            raise ArgumentError(must("num_workers", "be a whole number from 0 on", count, why, remedy))
        context, generator = self.multiprocessing_context, self.generator
        method = context if isinstance(context, str) else getattr(context, "get_start_method", str)()
        if context is not None and method not in (known := get_all_start_methods()):
            why, remedy = "processes are begun in one of these ways", " or ".join(map(repr, known))
            raise ArgumentError(must("multiprocessing_context", "be known here", context, why, remedy))
        if generator is not None and not hasattr(generator, "integers") and not hasattr(generator, "manual_seed"):
            why, remedy = "it draws the seed", f"seed={generator}" if isinstance(generator, int) else "seed=0"
            raise ArgumentError(must("generator", "be a generator of torch or NumPy", generator, why, remedy))

    def of_batches(self, batch_size: int | None) -> Names:
        """The same where batches are lists of items; of single items where `batch_size` is None."""
        if batch_size is not None or self.batch_sampler is not None:
            return self
        return replace(self, collate_fn=Single(self.collate_fn))

    def ordered(self, order: Any, sampled: bool) -> Any:
        """The order that `shuffle` stands for, or the one that is given. `sampled`: there is a sampler."""
        if self.shuffle is None and not sampled:
            return order
        if not isinstance(order, str) or order != "auto":
            name = "sampler" if sampled else "shuffle"
            why, remedy = "both say which examples come next", "order= alone"
            raise ArgumentError(must(name, "be left out where order is given", f"order={order!r}", why, remedy))
        return "sequential" if self.shuffle is False else "auto"

    def unwrapped(self, batch_size: int | None, drop_last: bool) -> tuple[Any, int, bool]:
        """`(sampler, batch_size, drop_last)`, from torch's `BatchSampler` where one is given.

        Any other batch sampler is handed on as it is, its lists being batches of one position each.
        """
        batches = self.batch_sampler
        if batches is None:
            self.require_batches(batch_size, drop_last)
            return self.sampler, 1 if batch_size is None else batch_size, drop_last
        for name, value, unsaid in (("batch_size", batch_size, SIZE), ("drop_last", drop_last, False)):
            if value is not unsaid:
                why, remedy = "its lists are the batches, as long as they are", "batch_sampler= alone"
                raise ArgumentError(must(name, "be left out where batch_sampler is given", value, why, remedy))
        return (batches.sampler, batches.batch_size, batches.drop_last) if _plain(batches) else (None, 1, False)

    def require_batches(self, batch_size: int | None, drop_last: bool) -> None:
        """Raises `ArgumentError` where items that come one by one are to leave out a smaller batch."""
        if not isinstance(drop_last, bool):
            raise ArgumentError(must("drop_last", "be True or False", drop_last, "it is a switch", "drop_last=True"))
        if batch_size is None and drop_last:
            why, remedy = "items come one by one, and none is smaller", "a batch_size, or drop_last=False"
            raise ArgumentError(must("drop_last", "be False where batch_size is None", drop_last, why, remedy))

    @property
    def lists(self) -> Any:
        """A batch sampler that is more than a sampler, a size and `drop_last`; None where there is none."""
        return None if self.batch_sampler is None or _plain(self.batch_sampler) else self.batch_sampler

    def seeded(self, seed: int) -> int:
        """The seed, drawn from `generator` where there is one."""
        if self.generator is None:
            return 0 if seed is SEED else seed
        if seed is not SEED:
            why, remedy = "the generator draws it", "one of them"
            raise ArgumentError(must("seed", "be left out where generator is given", seed, why, remedy))
        if hasattr(self.generator, "integers"):
            return int(self.generator.integers(2**62))
        torch = sys.modules["torch"]
        return int(torch.empty((), dtype=torch.int64).random_(generator=self.generator))

    def readers(self, workers: int | None, processes: bool, items: bool) -> tuple[int | None, bool]:
        """`(workers, processes)`, from `num_workers` where that is given."""
        if self.num_workers is None:
            return workers, processes
        if workers is not None:
            why, remedy = "both count readers", "workers= alone"
            raise ArgumentError(
                must("num_workers", "be left out where workers is given", self.num_workers, why, remedy)
            )
        asked = items or self.worker_init_fn is not None or self.multiprocessing_context is not None
        return self.num_workers, processes or (asked and self.num_workers > 0)

    def depth(self, depth: int | None, workers: int | None) -> int | None:
        """Batches ahead. Raises `ArgumentError` for what is said of workers where there are none."""
        if not workers:
            for name, unsaid in _OF_WORKERS.items():
                if (value := getattr(self, name)) != unsaid:
                    why, remedy = "the loop reads each batch itself when it asks for it", "num_workers=2"
                    raise ArgumentError(must(name, "be left out where there are no workers", value, why, remedy))
        if self.prefetch_factor is None:
            return depth
        if depth is not None:
            why, remedy = "both say how many batches are read ahead", "one of them"
            got = self.prefetch_factor
            raise ArgumentError(must("prefetch_factor", "be left out where depth is given", got, why, remedy))
        return self.prefetch_factor * (workers or 1)

    @property
    def method(self) -> str | None:
        """How processes are begun."""
        context = self.multiprocessing_context
        return context if context is None or isinstance(context, str) else context.get_start_method()


def require_labelled(order: Any, labels: Any) -> None:
    """Raises `ArgumentError` for labels that no order would look at."""
    if labels is not None and not (isinstance(order, str) and order == "stratified"):
        why, remedy = "no other order looks at classes", "order='stratified', or no labels"
        raise ArgumentError(must("labels", "be left out", f"order={order!r}", why, remedy))


def _plain(batches: Any) -> bool:
    """Whether it is torch's own `BatchSampler`, and nothing derived from it."""
    return type(batches).__name__ == "BatchSampler" and type(batches).__module__ == "torch.utils.data.sampler"


@dataclass(frozen=True)
class Single:
    """The one item of a batch, and what a `collate_fn` makes of it."""

    function: Callable[[Any], Any] | None = None

    def __call__(self, items: list[Any]) -> Any:
        return items[0] if self.function is None else self.function(items[0])


OWN = (
    "data", "batch_size", "order", "seed", "labels", "collate", "cut", "to", "drop_last", "bad", "batches", "shard",
    "augment", "uneven", "workers", "processes", "depth",
)  # fmt: skip
