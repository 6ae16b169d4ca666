"""`Parquet`: examples in Parquet or Arrow files of any size, row groups decoded whole, a bounded number at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ladle.core.errors import DataError, ExampleError, must
from ladle.core.npy import damaged, one_line
from ladle.core.spec import require_count
from ladle.feed.blocks import mixed
from ladle.feed.source import columns as layout
from ladle.feed.source.readers import DataFile, Reader, files_of, reader_of, stored_bytes
from ladle.feed.source.request import require_ids
from ladle.feed.source.slots import Slots

MOST_FOOTERS_BYTES = 4 << 20
"""Footers beyond this many bytes in all are read again for each group rather than kept."""
READERS = 2
"""Threads that are taken to decode at once when memory is stated."""
PAGES_HELD = 2
"""Arrow unpacks pages and dictionaries of all columns on the way: measured 1.7 times the unpacked bytes of a group."""


@dataclass(frozen=True, eq=False)
class Parquet:
    """Rows of Parquet, Arrow (IPC) or Feather files as examples; implements `ladle.core.protocols.Source`.

    - `files`: a path, several, a folder, a pattern with `*`, or URLs. Files count on one from another, in this order (a
      folder's and a pattern's: sorted by name), and must have one schema.
    - `columns`: which to read; all by default, or `x` and `y` alone where `x` is given.
    - `x`: the columns of the matrix `x`; all of numbers (truth values are 0 and 1) but `y` by default. `y`: the column
      of the target. `categories`: columns of words or whole numbers that become codes.
    - `dtype`: of the numbers, "float32" by default (whole numbers beyond 2**24 are rounded); None for the type that all
      columns of an array fit. `fill`: what stands for null in numbers but the target; without it null is refused.
    - `table`: dates are seconds, decimals numbers, null NaN among numbers and -1 among codes: as `ladle.data` reads.
    - `cache_blocks`: row groups decoded at a time; twice what `ladle.feed.Blocks` mixes by default, so that one window
      may be read ahead while another is used.

    `take` gives a dict of:

        x        dtype[k, features]       columns of numbers, in their order
        codes    i32[k, columns]          columns of categories; `levels[name][code]` is the word
        (name)   dtype[k, size]           each column of lists of one size
        y        i32[k] or dtype[k]       the target: whole numbers and categories, or real numbers

    `blocks` are the row groups (record batches of Arrow files). Several threads may take at once: they share what is
    decoded, and no group is decoded twice at once. `memory_bytes` is all that is held: the decoded groups, and one more
    in Arrow's form for each of two reading threads. Examples in random order without `Blocks` decode a group for nearly
    every example. Categories are read once when the source is opened, one group at a time.

    Raises `DataError` for files that are missing, damaged, empty or of different schemas, and for columns that are no
    numbers; `ExampleError` from `take` where a value asked for is null. Copies sent to other processes open the files.

    >>> import tempfile, pyarrow as pa, pyarrow.parquet as pq
    >>> path = tempfile.mkdtemp() + "/a.parquet"
    >>> pq.write_table(pa.table({"a": [1, 2, 3], "b": [4.0, 5.0, 6.0], "y": [0, 1, 0]}), path, row_group_size=2)
    >>> source = Parquet(path, y="y")
    >>> rows = source.take(np.array([2, 0]))
    >>> source.blocks.tolist(), rows["x"].tolist(), rows["y"].tolist()
    ([2, 1], [[3.0, 6.0], [1.0, 4.0]], [0, 0])
    """

    files: Any
    _: KW_ONLY
    x: Sequence[str] | None = None
    y: str | None = None
    columns: Sequence[str] | None = None
    categories: Sequence[str] = ()
    dtype: str | None = "float32"
    fill: float | None = None
    cache_blocks: int | None = None
    table: bool = False
    levels: Mapping[str, tuple[Any, ...]] = field(init=False, repr=False)
    """The words of each column of categories, sorted."""
    _opened: _Opened = field(init=False, repr=False)

    reads_blocks: ClassVar[bool] = True
    """A row group is decoded whole or not at all."""

    def __post_init__(self) -> None:
        wanted = layout.Wanted(self.x, self.y, self.columns, self.categories, self.dtype, self.fill, self.table)
        opened = _Opened(files_of(self.files), wanted, self.cache_blocks)
        object.__setattr__(self, "levels", {name: tuple(a.to_pylist()) for name, a in opened.categories.items()})
        object.__setattr__(self, "_opened", opened)

    gathers = True
    """Many rows cost little more than one: those of several batches may be taken at once."""

    def __len__(self) -> int:
        return self._opened.examples

    def take(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        """Rows `ids` (`i64[k]`), in that order."""
        return self._opened.take(require_ids(ids, len(self)))

    @property
    def blocks(self) -> np.ndarray:
        """`i64[row groups]` rows of each."""
        return self._opened.sizes

    @property
    def names(self) -> dict[str, tuple[str, ...]]:
        """The columns that each array is made of."""
        return {entry.leaf: entry.names for entry in self._opened.entries}

    @property
    def memory_bytes(self) -> int:
        return self._opened.memory_bytes

    def place(self, id: int, leaf: str, index: tuple[int, ...]) -> str:
        """Where one number lies, in words."""
        return self._opened.place(id, self._opened.column(leaf, index))

    def describe(self) -> str:
        """One line to print before a run."""
        opened = self._opened
        files = f"{len(opened.shards):,} file{'s' if len(opened.shards) > 1 else ''}"
        groups = f"{len(opened.sizes):,} row groups of at most {opened.rows:,}"
        held = f"{opened.slots.count:,} decoded at a time, {opened.memory_bytes / 1e6:,.0f} MB"
        return f"{opened.examples:,} examples in {files}, {groups}; {held}"

    def __reduce__(self) -> tuple[Any, ...]:
        names = ("x", "y", "columns", "categories", "dtype", "fill", "cache_blocks", "table")
        return _reopened, (self.files, {name: getattr(self, name) for name in names})


def _reopened(files: Any, options: dict[str, Any]) -> Parquet:
    return Parquet(files, **options)


class _Opened:
    """Open files: where each example lies, the arrays that decoded groups are kept in, and how they get there."""

    def __init__(self, files: list[str], wanted: layout.Wanted, cache_blocks: int | None) -> None:
        self.wanted = wanted
        self.reader: Reader = reader_of(files[0])
        self.shards = _opened(self.reader, files)
        first = self.shards[0]
        self.entries = layout.entries(first.schema, wanted, first.name)
        self._groups = [(s, g) for s, shard in enumerate(self.shards) for g, n in enumerate(shard.sizes) if n]
        self.sizes = np.array([self.shards[s].sizes[g] for s, g in self._groups], np.int64)
        self.sizes.setflags(write=False)
        self._ends = self.sizes.cumsum()
        self._starts = self._ends - self.sizes
        self.rows = int(self.sizes.max())
        self.examples = int(self._ends[-1])
        self._even = bool((self.sizes[:-1] == self.rows).all())  # All but the last alike: no search is needed.
        count = min(2 * mixed(self.sizes), len(self.sizes)) if cache_blocks is None else cache_blocks
        self.slots = Slots(min(require_count("cache_blocks", count), len(self.sizes)), len(self.sizes), self._decode)
        coded = [name for entry in self.entries if entry.kind == "codes" for name in entry.names]
        tables = (self._read(group, coded) for group in range(len(self.sizes)))
        self.categories = layout.levels(tables, coded, first.name) if coded else {}
        held = self.slots.count * self.rows
        self._slab = {entry.leaf: np.empty((held, *entry.shape), entry.dtype) for entry in self.entries}

    @cached_property
    def memory_bytes(self) -> int:
        held = sum(array.nbytes for array in self._slab.values())
        schema = self.shards[0].schema
        table = self.rows * sum(stored_bytes(schema.field(name).type) for entry in self.entries for name in entry.names)
        pages = max(shard.group_bytes for shard in self.shards)
        return held + READERS * (table + PAGES_HELD * pages)

    def take(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        group = self._group_of(ids)
        needed = np.flatnonzero(np.bincount(group))
        if len(needed) <= self.slots.count:
            return self._gather(ids, group, needed)
        out = {entry.leaf: np.empty((len(ids), *entry.shape), entry.dtype) for entry in self.entries}
        failures = []
        for start in range(0, len(needed), self.slots.count):
            own = needed[start : start + self.slots.count]
            rows = np.flatnonzero((group >= own[0]) & (group <= own[-1]))
            try:
                for leaf, values in self._gather(ids[rows], group[rows], own).items():
                    out[leaf][rows] = values
            except ExampleError as error:
                failures.append(error)
        if failures:
            raise ExampleError(str(failures[0]), [id for error in failures for id in error.ids])
        return out

    def _gather(self, ids: np.ndarray, group: np.ndarray, needed: np.ndarray) -> dict[str, np.ndarray]:
        with self.slots.hold(needed.tolist()) as held:
            place = ids + (self.slots.slot[group] * self.rows - self._starts[group])
            bad = {entry.block: entry.note for entry in held if entry.note}
            if bad:
                self._refuse(ids, bad)
            return {leaf: slab.take(place, axis=0) for leaf, slab in self._slab.items()}

    def _group_of(self, ids: np.ndarray) -> np.ndarray:
        if self._even:
            return ids // self.rows
        return np.searchsorted(self._ends, ids, side="right")

    def _read(self, group: int, names: Sequence[str]) -> Any:
        shard, index = self._groups[group]
        return self.reader.read(self.shards[shard], index, list(names))

    def _decode(self, group: int, slot: int) -> list[layout.Bad]:
        """One group from its file into its slot. Returns the rows that are not usable."""
        table = self._read(group, list(dict.fromkeys(name for entry in self.entries for name in entry.names)))
        shard, size = self.shards[self._groups[group][0]], int(self.sizes[group])
        if table.num_rows != size:
            raise damaged(shard.file, f"a row group claims {size:,} rows and has {table.num_rows:,}")
        start, bad = slot * self.rows, []
        try:
            for entry in self.entries:
                out = self._slab[entry.leaf][start : start + size]
                bad += layout.write(entry, table, out, self.wanted, self.categories)
        except (ValueError, IndexError, TypeError, SystemError) as error:
            raise damaged(shard.file, f"a row group does not decode: {one_line(error)}") from None
        return bad

    def _refuse(self, ids: np.ndarray, bad: Mapping[int, list[layout.Bad]]) -> None:
        """Raise where rows that are not usable are among those asked for."""
        found = {
            int(self._starts[block]) + int(row): one for block, all in bad.items() for one in all for row in one.rows
        }
        asked = [id for id in dict.fromkeys(ids.tolist()) if id in found]
        if asked:
            one = found[asked[0]]
            got = f"{one.what} in {self.place(asked[0], one.column)}"
            more = f" ({len(asked)} such rows)" if len(asked) > 1 else ""
            why, remedy = "every row asked for is used", "fill=0.0 (numbers but the target), or bad='skip'"
            raise ExampleError(must("data", "hold a number in every row", got + more, why, remedy), asked)

    def column(self, leaf: str, index: tuple[int, ...]) -> str:
        entry = next(entry for entry in self.entries if entry.leaf == leaf)
        return entry.names[index[0] if index and entry.kind != "list" else 0]

    def place(self, id: int, column: str) -> str:
        shard = self._groups[int(self._group_of(np.array([id]))[0])][0]
        before = sum(sum(earlier.sizes) for earlier in self.shards[:shard])
        return f"row {id - before}, column {column!r} of {self.shards[shard].name}"


def _opened(reader: Reader, files: list[str]) -> list[DataFile]:
    """Every file, checked against the first. Footers are kept while they are small, schemas once."""
    shards, kept_bytes = [], 0
    for file in files:
        shard = reader.open(file)
        first = shards[0] if shards else shard
        layout.require_names(shard.schema, shard.name)
        _require_schema(first, shard)
        if not sum(shard.sizes):
            why = "there is nothing to take"
            raise DataError(must("data", "hold at least one row", shard.file, why, "leaving the file out"))
        kept_bytes += shard.footer_bytes
        footer = shard.footer if kept_bytes <= MOST_FOOTERS_BYTES else None
        shards.append(shard._replace(schema=first.schema, footer=footer))
    return shards


def _require_schema(first: DataFile, shard: DataFile) -> None:
    for name in dict.fromkeys([*first.schema.names, *shard.schema.names]):
        here, there = (one.schema.field(name).type if name in one.schema.names else None for one in (shard, first))
        if here != there:
            got = f"{here or 'none'} in {shard.name} and {there or 'none'} in {first.name}"
            remedy = "writing all files with one schema, or a source for each"
            raise DataError(must(f"column {name}", "be of one type in all files", got, "rows are put together", remedy))
