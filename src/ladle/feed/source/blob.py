"""`Blob`: many encoded examples in one array of bytes, with offsets."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ladle.core.errors import ArgumentError, DataError, must, nearest
from ladle.core.foreign import as_array
from ladle.core.npz import archive_arrays, archive_names
from ladle.feed.source.codec import Decoder, Kind, decoded, kind_of
from ladle.feed.source.decode import Pixels
from ladle.feed.source.request import require_ids
from ladle.feed.source.threads import Threads


@dataclass(frozen=True, eq=False)
class Blob:
    """Encoded examples end to end in one array; implements `ladle.core.protocols.Source`.

    Example `i` is `decode(data[offsets[i]:offsets[i + 1]])`. Rows are `{"x": decoded}`, and `"y"` beside it where
    there is one.

    - `data`: `u8[bytes]`, may be memory-mapped. `offsets`: `i64[n + 1]`, from 0, never falling.
    - `decode`: bytes -> array; images in colour by default, see `ladle.feed.source.decode.Pixels`. A named function
      or a frozen value travels to other processes; a lambda does not.
    - `y`: an array with one row for each example.
    - `threads`: that many decode at a time, where examples are large; None: one for each core.
    - `memory_bytes`: of `data`, where it is in memory.

    Raises `DataError` for offsets that do not fit the bytes, `ExampleError` with the ids of all that cannot be
    decoded.

    >>> two = Blob(np.frombuffer(b"P5 1 1 255 aP5 1 1 255 b", np.uint8), [0, 12, 24], Pixels("L"), y=[0, 1])
    >>> two.take(np.array([1]))["x"].tobytes()
    b'b'
    """

    data: Any
    offsets: Any
    decode: Decoder = field(default_factory=Pixels)
    y: Any = None
    threads: int | None = None
    memory_bytes: int = field(init=False, repr=False)
    _kind: Kind = field(init=False, repr=False)
    _pool: Threads = field(init=False, repr=False)

    def __post_init__(self) -> None:
        data, offsets = np.asanyarray(self.data), np.asarray(self.offsets)
        _check(data, offsets)
        y = None if self.y is None else as_array(self.y, "y")
        if y is not None and (y.ndim == 0 or len(y) != len(offsets) - 1 or y.dtype == object):
            got, why = f"{y.dtype} of shape {y.shape}", f"there are {len(offsets) - 1} examples"
            raise DataError(must("y", "have a row for each example", got, why, "y=None where there is none"))
        held = 0 if isinstance(data, np.memmap) else data.nbytes
        made = {"data": data, "offsets": offsets.astype(np.int64, copy=False), "y": y, "memory_bytes": held}
        for name, value in {**made, "_pool": Threads(self.threads)}.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_kind", kind_of(self._read, self.decode, len(self), self._told))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def take(self, ids: np.ndarray) -> dict[str, Any]:
        """Decoded examples `ids` (`i64[k]`), in that order."""
        ids = require_ids(ids, len(self))
        rows = {"x": decoded(ids, self._read, self.decode, self._kind, self._told, self._pool)}
        return rows if self.y is None else {**rows, "y": self.y[ids]}

    def fetch(self, ids: np.ndarray) -> list[bytes]:
        """The bytes of `ids` as they are: `take` without the decoding."""
        return [self._read(id) for id in ids.tolist()]

    def _read(self, id: int) -> bytes:
        return self.data[self.offsets[id] : self.offsets[id + 1]].tobytes()

    def _told(self, id: int) -> str:
        return f"bytes {self.offsets[id]:,} to {self.offsets[id + 1]:,}"


def open_blob(path: Path | str, part: str = "train", decode: Decoder | None = None, threads: int | None = None) -> Blob:
    """The `Blob` in a `.npz` file with arrays `{part}_bytes`, `{part}_offsets` and, perhaps, `{part}_labels`.

    Labels become `y`, as `i32`. Raises `DataError` for missing arrays, Python objects, or damaged files.
    """
    names = archive_names(path)
    parts = [name.removesuffix("_bytes") for name in names if name.endswith("_bytes")]
    if part not in parts or f"{part}_offsets" not in names:
        got, remedy = ", ".join(names) or "no arrays", nearest(part, parts) if parts else "ImageFolder or TarShards"
        why = "encoded examples are bytes and where each begins"
        raise ArgumentError(must("part", f"name arrays {part}_bytes and {part}_offsets", got, why, remedy))
    wanted = [f"{part}_{what}" for what in ("bytes", "offsets", "labels")]
    found = archive_arrays(path, [name for name in wanted if name in names])
    labels = found.get(f"{part}_labels")
    y = None if labels is None else labels.astype(np.int32) if labels.dtype.kind in "iu" else labels
    return Blob(found[f"{part}_bytes"], found[f"{part}_offsets"], decode or Pixels(), y, threads)


def _check(data: np.ndarray, offsets: np.ndarray) -> None:
    if data.ndim != 1 or data.dtype != np.uint8:
        got = f"{data.dtype} of shape {data.shape}"
        raise DataError(must("data", "be bytes in one row, u8[bytes]", got, "examples are cut from it", "np.uint8"))
    if offsets.ndim != 1 or offsets.dtype.kind not in "iu" or len(offsets) < 2:
        got, why = f"{offsets.dtype} of shape {offsets.shape}", "each example lies between two of them"
        raise DataError(must("offsets", "be whole numbers, i64[examples + 1]", got, why, "np.cumsum([0, *lengths])"))
    if offsets[0] < 0 or offsets[-1] > len(data) or (offsets[1:] < offsets[:-1]).any():
        got = f"from {offsets.min()} to {offsets.max()} for {len(data)} bytes"
        got += ", falling somewhere" if (offsets[1:] < offsets[:-1]).any() else ""
        why, remedy = "each example lies between two of them", "np.cumsum([0, *lengths])"
        raise DataError(must("offsets", "rise within the bytes", got, why, remedy))
