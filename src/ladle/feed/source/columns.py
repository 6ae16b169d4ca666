"""Which columns of an Arrow schema become which array, and how one decoded group is written into its place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from ladle.core.errors import ArgumentError, DataError, must, nearest

MOST_LEVELS = 2**20


@dataclass(frozen=True)
class Entry:
    """One array of the rows: what it is called, the columns it is made of, its type and shape for one example."""

    leaf: str
    names: tuple[str, ...]
    kind: Literal["numbers", "codes", "list"]
    dtype: np.dtype
    shape: tuple[int, ...]

    @property
    def row_bytes(self) -> int:
        return self.dtype.itemsize * int(np.prod(self.shape, dtype=np.int64))


class Bad(NamedTuple):
    """Rows of one column (`i64[...]`, counted from the group's first) that are not usable, and what is wrong."""

    column: str
    rows: np.ndarray
    what: str


@dataclass(frozen=True)
class Wanted:
    """What the user asked for; see `ladle.feed.source.parquet.Parquet`."""

    x: Sequence[str] | None = None
    y: str | None = None
    columns: Sequence[str] | None = None
    categories: Sequence[str] = ()
    dtype: str | None = "float32"
    fill: float | None = None
    table: bool = False


def entries(schema: Any, wanted: Wanted, where: str) -> tuple[Entry, ...]:
    """The arrays that `wanted` makes of a schema. Raises `DataError` naming every column that cannot be used."""
    names = _names(schema, wanted, where)
    kinds = {name: _kind(schema.field(name).type, name in wanted.categories, wanted.table) for name in names}
    _refuse({name: schema.field(name).type for name, kind in kinds.items() if kind is None}, names, where)
    rest = [name for name in names if name != wanted.y]
    numbers = [name for name in rest if kinds[name] == "numbers"] if wanted.x is None else list(wanted.x)
    _require_numbers(numbers, kinds)
    codes = tuple(name for name in rest if kinds[name] == "codes")
    found = []
    if numbers:
        found.append(Entry("x", tuple(numbers), "numbers", _common(schema, numbers, wanted), (len(numbers),)))
    if codes:
        found.append(Entry("codes", codes, "codes", np.dtype(np.int32), (len(codes),)))
    for name in rest:
        if kinds[name] == "list":
            found.append(_list_entry(schema, name, name, wanted))
    if wanted.y is not None:
        found.append(_target(schema, wanted.y, kinds[wanted.y], wanted))
    _require_distinct(found)
    return tuple(found)


def require_names(schema: Any, where: str) -> None:
    """Raise `DataError` where two columns have one name."""
    twice = next((name for name, count in Counter(schema.names).items() if count > 1), None)
    if twice is not None:
        raise DataError(must("data", "name each column once", twice, f"{where} has it twice", "renaming one of them"))


def write(entry: Entry, table: Any, out: np.ndarray, wanted: Wanted, categories: Mapping[str, Any]) -> list[Bad]:
    """The columns of `entry` in `table`, written into `out` (`[rows, *shape]`). Returns what is not usable."""
    bad = []
    for index, name in enumerate(entry.names):
        place = out[:, index] if entry.kind != "list" and entry.shape else out
        start = 0
        for chunk in table.column(name).chunks:
            part = place[start : start + len(chunk)]
            with np.errstate(over="ignore"):  # What does not fit becomes infinite, and is found as such.
                found = list(_WRITERS[entry.kind](chunk, part, entry, wanted, categories.get(name)))
            bad += [Bad(name, rows + start, what) for rows, what in found]
            start += len(chunk)
    return bad


def levels(tables: Iterator[Any], names: Sequence[str], where: str) -> dict[str, Any]:
    """All levels of each column, sorted, as an Arrow array: the same codes whatever group a row is of."""
    import pyarrow as pa

    found: dict[str, set[Any]] = {name: set() for name in names}
    types: dict[str, Any] = {}
    for table in tables:
        for name in names:
            for chunk in table.column(name).chunks:
                dictionary = _encoded(chunk).dictionary
                types[name] = dictionary.type
                found[name].update(dictionary.to_pylist())
            if len(found[name]) > MOST_LEVELS:
                got, why = f"more than {MOST_LEVELS:,} levels in {name!r} of {where}", "these name rows, not kinds"
                raise DataError(must("categories", "repeat from row to row", got, why, "leaving the column out"))
    return {name: pa.array(sorted(values - {None}), types[name]) for name, values in found.items()}


# --- writing one chunk: yields (rows, what) that are not usable ---------------------------------------------------


def _write_numbers(chunk: Any, out: np.ndarray, entry: Entry, wanted: Wanted, _: Any) -> Iterator[tuple[Any, str]]:
    if wanted.table:
        out[...] = _reals(chunk)
        return
    nulls = None
    if chunk.null_count:
        nulls = np.flatnonzero(chunk.is_null().to_numpy(zero_copy_only=False))
        chunk = chunk.fill_null(False if str(chunk.type) == "bool" else 0)
    values = chunk.to_numpy(zero_copy_only=False)
    out[...] = values
    if entry.leaf == "y" and entry.dtype == np.int32 and values.dtype.itemsize > 2 and values.dtype != np.int32:
        outside = np.flatnonzero((values < -(2**31)) | (values >= 2**31))
        if outside.size:
            yield outside, "beyond 32 bits"
    if nulls is not None:
        yield from _missing(nulls, out, entry, wanted)


def _write_codes(chunk: Any, out: np.ndarray, entry: Entry, wanted: Wanted, known: Any) -> Iterator[tuple[Any, str]]:
    import pyarrow.compute as pc

    chunk = _encoded(chunk)
    number = pc.index_in(chunk.dictionary, value_set=known).fill_null(-1).to_numpy(zero_copy_only=False)  # type: ignore[attr-defined]
    indices = chunk.indices.fill_null(len(number)).to_numpy(zero_copy_only=False)
    if len(indices) and indices.min() < 0:
        raise IndexError("a category has a number below 0")
    out[...] = np.append(number, -1)[indices]
    missing = np.flatnonzero(out < 0)
    if missing.size and not wanted.table:
        yield missing, "null"


def _write_list(chunk: Any, out: np.ndarray, entry: Entry, wanted: Wanted, _: Any) -> Iterator[tuple[Any, str]]:
    width = entry.shape[0]
    if wanted.table:
        out[...] = _reals(chunk.values.slice(chunk.offset * width, len(chunk) * width)).reshape(-1, width)
        out[chunk.is_null().to_numpy(zero_copy_only=False)] = np.nan
        return
    values = chunk.values.slice(chunk.offset * width, len(chunk) * width)
    null = chunk.is_null().to_numpy(zero_copy_only=False)
    if values.null_count:
        null = null | values.is_null().to_numpy(zero_copy_only=False).reshape(-1, width).any(axis=1)
        values = values.fill_null(False if str(values.type) == "bool" else 0)
    out[...] = values.to_numpy(zero_copy_only=False).reshape(-1, width)
    if null.any():
        yield from _missing(np.flatnonzero(null), out, entry, wanted)


_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def _reals(chunk: Any) -> np.ndarray:
    """`f64[rows]`, NaN where null; dates as seconds since 1970, times since midnight, durations in all."""
    import pyarrow as pa

    type, divisor = chunk.type, 1.0
    if pa.types.is_date32(type):
        chunk, divisor = chunk.cast(pa.int32()), 1 / 86_400
    elif pa.types.is_temporal(type):
        divisor = _PER_SECOND["ms" if pa.types.is_date64(type) else type.unit]
        chunk = chunk.cast(pa.int32() if type.bit_width == 32 else pa.int64())
    elif pa.types.is_boolean(type):
        chunk = chunk.cast(pa.int8())
    values = chunk.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return values * 86_400 if divisor < 1 else values / divisor


_WRITERS = {"numbers": _write_numbers, "codes": _write_codes, "list": _write_list}


def _missing(rows: np.ndarray, out: np.ndarray, entry: Entry, wanted: Wanted) -> Iterator[tuple[Any, str]]:
    if wanted.fill is None or entry.leaf == "y":
        yield rows, "null"
    else:
        out[rows] = wanted.fill


def _encoded(chunk: Any) -> Any:
    return chunk if hasattr(chunk, "dictionary") else chunk.dictionary_encode()


# --- what a schema allows ------------------------------------------------------------------------------------------


def _names(schema: Any, wanted: Wanted, where: str) -> list[str]:
    """The columns to read, in the order of the file or of `columns`."""
    every = list(schema.names)
    groups = {"columns": wanted.columns or (), "x": wanted.x or (), "y": [] if wanted.y is None else [wanted.y]}
    for argument, group in {**groups, "categories": wanted.categories}.items():
        if isinstance(group, str):
            why = "a word alone would be taken letter by letter"
            raise ArgumentError(must(argument, "be a list of columns", group, why, f"{argument}=[{group!r}]"))
        for name in group:
            if name not in every:
                raise DataError(
                    must(argument, "name columns of the data", name, f"{where} has others", nearest(name, every))
                )
    if wanted.columns is None and wanted.x is None:
        return every
    return list(dict.fromkeys([*groups["columns"], *groups["x"], *wanted.categories, *groups["y"]]))


def _kind(type: Any, category: bool, table: bool) -> str | None:
    import pyarrow as pa

    if table and not category and (pa.types.is_temporal(type) or pa.types.is_decimal(type)):
        return "numbers"
    if pa.types.is_dictionary(type) or (category and (_is_word(type) or pa.types.is_integer(type))):
        return "codes"
    if _is_number(type):
        return "numbers"
    return "list" if pa.types.is_fixed_size_list(type) and _is_number(type.value_type) else None


def _is_number(type: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_boolean(type) or pa.types.is_integer(type) or pa.types.is_floating(type)


def _is_word(type: Any) -> bool:
    import pyarrow as pa

    words = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(is_one(type) for is_one in words)


def _refuse(refused: Mapping[str, Any], names: list[str], where: str) -> None:
    if not refused:
        return
    words = [name for name, type in refused.items() if _is_word(type)]
    got = ", ".join(f"{name} ({type})" for name, type in list(refused.items())[:6])
    more = f" and {len(refused) - 6} more" if len(refused) > 6 else ""
    kept = [name for name in names if name not in refused]
    remedy = f"categories={words[:6]} where words repeat, or columns={kept[:6]}" if words else f"columns={kept[:6]}"
    why = f"{where} has them, and no array of numbers can hold them"
    raise DataError(must("columns", "be numbers, categories or lists of one length", got + more, why, remedy))


def _require_numbers(names: Sequence[str], kinds: Mapping[str, str | None]) -> None:
    for name in names:
        if kinds[name] != "numbers":
            why, remedy = f"it is of {kinds[name]}, which get an array of their own", f"leaving {name!r} out of x"
            raise DataError(must("x", "name columns of numbers", name, why, remedy))


def _require_distinct(found: Sequence[Entry]) -> None:
    leaves = [entry.leaf for entry in found]
    twice = next((leaf for leaf in leaves if leaves.count(leaf) > 1), None)
    if twice is not None:
        why, remedy = f"the array {twice!r} is made of other columns", "renaming the column"
        raise DataError(must("columns", f"not be lists called {twice!r}", twice, why, remedy))
    if not found:
        why = "there is nothing to learn from"
        raise DataError(must("columns", "leave something to read", "none", why, "columns=[...]"))


def _common(schema: Any, names: Sequence[str], wanted: Wanted) -> np.dtype:
    return _checked(wanted, {name: _numpy(schema.field(name).type) for name in names})


def _list_entry(schema: Any, name: str, leaf: str, wanted: Wanted) -> Entry:
    type = schema.field(name).type
    dtype = _checked(wanted, {name: _numpy(type.value_type)})
    return Entry(leaf, (name,), "list", dtype, (type.list_size,))


def _target(schema: Any, name: str, kind: str | None, wanted: Wanted) -> Entry:
    if kind == "list":
        return _list_entry(schema, name, "y", wanted)
    if kind == "numbers" and _numpy(schema.field(name).type).kind == "f":
        return Entry("y", (name,), "numbers", _common(schema, [name], wanted), ())
    return Entry("y", (name,), "codes" if kind == "codes" else "numbers", np.dtype(np.int32), ())


def _numpy(type: Any) -> np.dtype:
    return np.dtype(type.to_pandas_dtype())


def _checked(wanted: Wanted, types: Mapping[str, np.dtype]) -> np.dtype:
    """The type of an array of columns of these types. Raises `ArgumentError` where it would cut off fractions."""
    dtype = np.result_type(*types.values()) if wanted.dtype is None else _dtype(wanted.dtype)
    whole = dtype.kind != "f"
    broken = next((name for name, own in types.items() if whole and own.kind == "f"), None)
    if broken is not None:
        why = f"column {broken!r} has fractions"
        raise ArgumentError(must("dtype", "be of real numbers", str(dtype), why, 'dtype="float32"'))
    if wanted.fill is not None and whole and not float(wanted.fill).is_integer():
        why, remedy = f"it takes the place of nulls in an array of {dtype}", "fill=0"
        raise ArgumentError(must("fill", "be a whole number", wanted.fill, why, remedy))
    return dtype


def _dtype(name: str) -> np.dtype:
    try:
        dtype = np.dtype(name)
    except TypeError:
        dtype = np.dtype(object)
    if dtype.kind not in "fiub":
        why = "columns are put together in one array of numbers"
        raise ArgumentError(must("dtype", "be a type of numbers", name, why, 'dtype="float32"'))
    return dtype
