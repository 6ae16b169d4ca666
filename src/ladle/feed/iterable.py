"""`IterableLoader`: a `Loader` over datasets that are iterated over and have no items by number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ladle.core.cursor import Cursor, Shard
from ladle.core.errors import ArgumentError, DataError, must
from ladle.core.spec import require_count
from ladle.feed.augment import Augment
from ladle.feed.host import Stack
from ladle.feed.loader_base import REPLACED, LoaderBase, Made, made_again
from ladle.feed.loader_names import SEED, SIZE, Names
from ladle.feed.loader_state import position_of, require_epoch
from ladle.feed.lookahead import Ahead
from ladle.feed.output import output_named
from ladle.feed.readers import Readers
from ladle.feed.stream_job import Key, ReadStream, state_before, told_worker
from ladle.feed.together import require_told


class IterableLoader(LoaderBase):
    """Batches of a stream: `IterableDataset` of torch and Hugging Face, Grain's `IterDataset`, any object whose
    `__iter__` begins anew. `Loader(dataset)` makes one by itself.

    The order is the stream's own; each iteration is a pass over it, told to a dataset that has `set_epoch`. The shared
    random generators are set for each example from (seed, pass, place), as for other datasets.

    - `batch_size`, `seed`, `to`, `drop_last`, `collate_fn`, `augment` (row by row): as for `Loader`.
    - `shard`: every rank reads the stream, and takes its part of each batch of `batch_size`. Shares are equal or
      refused: `drop_last=True`, or `uneven=True`.
    - `num_workers` (or `workers` with `processes=True`): processes that read ahead. Each of several iterates over the
      dataset, which has to ask `torch.utils.data.get_worker_info()` which part is its own, or is refused; batches come
      from them in turn. The caller reads by default.

    A state holds that of the dataset (`state_dict`) or its iterator (`get_state`, `state_dict`), where there is one;
    else going on means reading up to there. Raises `ArgumentError` for arguments that a stream gives no meaning.

    >>> class Numbers:
    ...     def __iter__(self): return iter(range(5))
    >>> loader = IterableLoader(Numbers(), 2)
    >>> [batch.tolist() for batch in loader], loader.epoch
    ([[0, 1], [2, 3], [4]], 1)
    """

    def __init__(
        self,
        data: Any,
        batch_size: int | None = SIZE,
        *,
        seed: int = SEED,
        augment: Callable[[Any, Any], Any] | Augment | None = None,
        to: str | Callable[[Any], Any] = "numpy",
        drop_last: bool = False,
        shard: Shard | None = None,
        uneven: bool = False,
        workers: int | None = None,
        processes: bool = False,
        depth: int | None = None,
        **names: Any,
    ) -> None:
        _refuse_orders(names)
        names = {
            name: value
            for name, value in names.items()
            if name not in ("order", "labels", "collate", "cut", "batches", "bad")
        }
        self._names = known = Names.of(names).of_batches(batch_size)
        known.require_batches(batch_size, drop_last)
        batch_size = 1 if batch_size is None else batch_size
        self._dataset = self.source = data
        self._told, shard = shard, shard or Shard()
        self.seed, self.drop_last, self.shard, self._uneven = known.seeded(seed), drop_last, shard, uneven
        self.bad_ids: list[int] = []
        if not 0 <= shard.index < shard.count:
            why, remedy = "hosts are numbered from 0", "Shard(rank, world_size)"
            raise ArgumentError(must("shard", "have an index below its count", shard, why, remedy))
        if shard.count > 1 and not drop_last and not uneven:
            why = "how many examples come last is not known, and a rank with none would leave the others waiting"
            raise ArgumentError(
                must("drop_last", "be True for several ranks", False, why, "drop_last=True, uneven=True")
            )
        self._stage = _stage(augment)
        self._asked_depth, self._convert = depth, output_named(to, known.pin_memory)
        self._due, self._newest, self._at, self._filled = (0, 0), -1, (0, 0), False
        self._resumed: list[tuple[int, Any]] | None = None
        self._parts: list[tuple[int, Any]] = []
        self._read_by(known, workers, processes)
        self.batch_size = batch_size
        given = {"seed": self.seed, "augment": augment, "to": to, "drop_last": drop_last, "shard": self._told}
        given |= {"uneven": uneven, "collate_fn": known.collate_fn}
        self._given = (data, {name: value for name, value in names.items() if name not in REPLACED} | given)

    def _read_by(self, names: Names, workers: int | None = None, processes: bool = False) -> None:
        workers, processes = names.readers(workers, processes, True)
        if workers and not processes:
            why, remedy = "an iterator is one thing after the other", "processes=True, or workers=0"
            raise ArgumentError(must("workers", "be processes for a stream", f"{workers} threads", why, remedy))
        self._require_parts(self._resumed, workers or 0)
        self._depth = names.depth(self._asked_depth, workers)
        self._how = {"workers": workers or 0, "processes": processes and bool(workers)}
        self._names, self._readers_of = names, list[Readers]()

    @property
    def batch_size(self) -> int:
        return self._batch_size

    @batch_size.setter
    def batch_size(self, value: int) -> None:
        self._batch_size = require_count("batch_size", value)
        if self._batch_size % self.shard.count and not self._uneven:
            count = self.shard.count
            why, remedy = "it counts all ranks together", f"batch_size={max(1, value // count) * count}"
            raise ArgumentError(must("batch_size", f"be shared evenly by {count} ranks", value, why, remedy))

    @Made
    def sampler(self) -> Any:
        """None: a stream has no numbers."""
        return None

    @Made
    def batch_sampler(self) -> Any:
        return None

    def __len__(self) -> int:
        """Batches in a pass, where the dataset has a length."""
        whole, rest = divmod(len(self._dataset), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Any]:
        """The batches of a pass. It is chosen when the first batch is asked for."""
        require_told(self._told)
        epoch, resumed = (self._newest + 1, None) if self._due is None else (self._due[1], self._resumed)
        drawn = 0 if resumed is None else self._due[0]  # type: ignore[index]
        self._due, self._resumed, self._newest, self._at = None, None, epoch, (drawn, epoch)
        count = max(1, self._how["workers"])
        parts = self._parts = list(resumed or [(0, None)] * count)
        walks = [self._walk(number, count) for number in range(count)]
        live = [number for number in range(count) if parts[number][0] >= 0]
        turn = drawn
        try:
            while live:
                number = min(live, key=lambda one: (parts[one][0] // max(self._batch_size, 1), one))
                start, state = parts[number]
                part = walks[number].get(Key(epoch, start, self._batch_size, state))
                turn += part.count
                parts[number] = (start + part.count, part.state)
                if part.count < self._batch_size:
                    live.remove(number)
                    parts[number] = (-1, part.state)
                self._parts, self._at = parts, (turn, epoch)
                if part.batch is not None:
                    yield self._convert(part.batch)
            self._require_anew(turn, epoch, resumed)
            self._at, self._parts = (turn, epoch + 1), [(0, state) for _, state in parts]
            if resumed is not None:  # What the states say is not yet in the dataset.
                self._due, self._resumed = (0, epoch + 1), self._parts
        except Exception:
            self._due, self._resumed = self._due or (turn, epoch), list(parts)
            raise
        finally:
            for walk in walks:
                walk.forget()

    def _require_anew(self, count: int, epoch: int, resumed: Any) -> None:
        """Raises `DataError` where a pass has nothing although one before had: the iterator was used up."""
        if self._filled and not count and resumed is None:
            got, why = f"no example in pass {epoch}", "each pass iterates over it"
            remedy = "an __iter__ that returns a new iterator, or one that goes back to its start"
            raise DataError(must("dataset", "begin anew with each pass", got, why, remedy))
        self._filled = self._filled or count > 0

    def _walk(self, number: int, count: int) -> Ahead:
        while len(self._readers_of) <= number:
            self._readers_of.append(self._reader(len(self._readers_of), count))
        if self._how["processes"] and not self._names.persistent_workers:
            self._readers_of[number] = self._reader(number, count)
        depth = None if self._depth is None else max(1, self._depth // count)
        readers = self._readers_of[number]
        how: dict[str, Any] = {"depth": depth, "timeout": self._names.timeout, "name": _name, "readers": readers}
        job = readers.job if self._how["processes"] else self._job(number, count)
        return Ahead(job, lambda key: replace(key, start=key.start + key.size, state=None), **how)

    def _job(self, number: int, count: int) -> ReadStream:
        collate = self._names.collate_fn
        how = (self.shard, self.seed, self.drop_last, self._uneven, collate, self._stage, number, count)
        return ReadStream(self._dataset, *how)

    def _reader(self, number: int, count: int) -> Readers:
        init, job = self._names.worker_init_fn, self._job(number, count)
        start = None if init is None else _Started(init, job)
        workers, processes = int(self._how["processes"]), self._how["processes"]
        return Readers(job, workers, processes, start=start, context=self._names.method)

    def state_dict(self) -> dict[str, Any]:
        """Where the loader stands, after the last batch handed out, with the states of the dataset."""
        (drawn, epoch), parts = (self._at, self._parts) if self._due is None else (self._due, self._resumed)
        if not parts and not self._how["workers"]:
            parts = [(0, state_before(self._dataset))]
        told = [list(part) for part in parts] if parts else None
        begun = (told is not None and epoch <= self._newest) or self._due is not None
        return {**Cursor(drawn if begun else 0).to_json(), "epoch": epoch, "parts": told, "seed": self.seed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there; with another batch size too, but with as many workers, where there were several.

        Raises `ArgumentError` for what is no state of such a loader.
        """
        drawn, epoch = position_of(state, {"seed": self.seed}, 2**62, one_pass=False)
        parts = state.get("parts")
        self._require_parts(parts, self._how["workers"])
        self._resumed = None if parts is None else [(part[0], _tuple(part[1])) for part in parts]
        self._due = self._at = (drawn, epoch)

    def _require_parts(self, parts: Any, workers: int) -> None:
        if parts is not None and len(parts) != max(1, workers):
            why, remedy = "each worker has a part of the stream", f"num_workers={len(parts)}"
            raise ArgumentError(must("num_workers", "be the state's", max(1, workers), why, remedy))

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of pass `epoch`."""
        self._due, self._resumed = (0, require_epoch(epoch)), None
        self._at = self._due

    def __reduce__(self) -> tuple[Any, ...]:
        data, given = self._given
        return made_again, (type(self), data, self._now(given), self.state_dict())

    def close(self) -> None:
        """End the readers; also happens when the loader is no longer used."""
        for readers in self._readers_of:
            readers.close()


class _Started:
    """`worker_init_fn` with the number of the worker, whose process is one of its own.

    It may give the worker's dataset its part: then it has asked which worker it is in.
    """

    def __init__(self, function: Callable[[int], Any], job: ReadStream) -> None:
        self.function, self.job = function, job

    def __call__(self, _: int) -> Any:
        info = told_worker(self.job)
        answer = self.function(self.job.number)
        self.job.split = info is not None and info.asked
        return answer


def is_stream(data: Any) -> bool:
    """Whether data can be iterated over again and again, and has no items by number."""
    kinds = [kind.__name__ for kind in type(data).__mro__]
    if "IterableDataset" in kinds or "IterDataset" in kinds:
        return True
    numbered = hasattr(data, "__getitem__") or hasattr(data, "take") or hasattr(data, "shape")
    return (
        hasattr(data, "__iter__")
        and not hasattr(data, "__next__")
        and not numbered
        and not isinstance(data, str | bytes | set | frozenset)
    )


def _stage(augment: Any) -> Augment | None:
    stage = augment if augment is None or isinstance(augment, Augment) else Augment(augment)
    if stage is not None and (stage.whole or not isinstance(stage.collate, Stack)):
        why, remedy = "what batches are made of is up to collate_fn", "Augment(function) for single rows"
        raise ArgumentError(must("augment", "be of single rows for a stream", "whole batches", why, remedy))
    return stage


def _refuse_orders(names: Mapping[str, Any]) -> None:
    meant = {"order": "auto", "labels": None, "shuffle": False, "sampler": None, "batch_sampler": None}
    other = {"collate": None, "cut": None, "batches": False, "bad": "raise"}
    for name, value in names.items():
        if name in meant and value is not meant[name] and value != meant[name] and value is not None:
            why, remedy = (
                "a stream has an order of its own, and no examples by number",
                "a dataset that shuffles itself",
            )
            raise ArgumentError(must(name, "be left out for a stream", value, why, remedy))
        if name in other and value != other[name]:
            why, remedy = "it asks for examples by number", "collate_fn= for how a batch is made of a list"
            raise ArgumentError(must(name, "be left out for a stream", value, why, remedy))


def _name(key: Key) -> str:
    return f"examples {key.start} to {key.start + key.size - 1} of pass {key.epoch}"


def _tuple(state: Any) -> Any:
    return tuple(state) if isinstance(state, list) else state
