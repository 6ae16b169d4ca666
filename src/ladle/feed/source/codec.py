"""Examples that are bytes until they are asked for: read, decode, and put in place, in several threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ladle.core.errors import DataError, ExampleError, must
from ladle.feed.source.request import all_bad
from ladle.feed.source.threads import Threads

Decoder = Callable[[bytes], Any]
"""Bytes of one example -> an array, or what `numpy.asarray` makes one of. Raises `DataError` for bad bytes."""

Read = Callable[[int], bytes]
"""Example id -> its bytes. Raises `DataError` or `OSError`."""

LEAST = 4
"""Examples that a thread takes at a time, or more."""

# What is decoded in a moment keeps threads waiting for the interpreter's lock: for JPEG files of 32 x 32 (0.9 kB,
# 0.13 ms) two threads took 1.5 times as long as one.
_HEAVY_BYTES, _HEAVY_ROW_BYTES = 2**12, 2**15


@dataclass(frozen=True)
class Kind:
    """What one decoded example is; every other of the source must be like it.

    `example`: which one was looked at. `heavy`: it takes so long that threads are worth while.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    example: int
    heavy: bool


def kind_of(read: Read, decoder: Decoder, count: int, told: Callable[[int], str]) -> Kind:
    """The kind of the first example that can be read. Raises `ExampleError` where none of `count` can."""
    errors = []
    for id in range(count):
        try:
            encoded = read(id)
            row = np.asarray(decoder(encoded))
        except (DataError, OSError) as error:
            errors.append(_bad(id, told, error))
        else:
            heavy = len(encoded) >= _HEAVY_BYTES or row.nbytes >= _HEAVY_ROW_BYTES
            return Kind(row.shape, row.dtype, id, heavy)
    raise all_bad(errors)


def decoded(
    ids: np.ndarray, read: Read, decoder: Decoder, kind: Kind, told: Callable[[int], str], threads: Threads
) -> np.ndarray:
    """The examples `ids`, decoded straight into one array: `[k, *kind.shape]`. Each is decoded once, however often
    it is asked for, and read in order of number.

    - `told`: id -> what to call it in an error, such as its file.

    Light examples are decoded by the caller alone.

    Raises `ExampleError` with the ids of all that cannot be read, `DataError` for one of another shape or type.
    """
    rows = np.empty((len(ids), *kind.shape), kind.dtype)
    order = np.argsort(ids, kind="stable")
    ascending = ids[order]
    fresh = np.ones(len(ids), bool)
    fresh[1:] = ascending[1:] != ascending[:-1]
    work = list(zip(ascending[fresh].tolist(), order[fresh].tolist(), strict=True))
    errors: dict[int, ExampleError] = {}

    def some(start: int, stop: int) -> None:
        for id, place in work[start:stop]:
            try:
                row = decoder(read(id))
            except (DataError, OSError) as error:
                errors[id] = _bad(id, told, error)
                continue
            row = np.asarray(row)
            if row.shape != kind.shape or row.dtype != kind.dtype:
                raise _unlike(row, id, kind, told)
            rows[place] = row

    threads.spans(some, len(work), LEAST if kind.heavy else max(1, len(work)))
    if errors:
        raise all_bad([errors[id] for id in sorted(errors)])
    again = ~fresh
    if again.any():
        rows[order[again]] = rows[order[fresh][np.cumsum(fresh)[again] - 1]]
    return rows


def _bad(id: int, told: Callable[[int], str], error: Exception) -> ExampleError:
    said = error.strerror or "it cannot be read" if isinstance(error, OSError) else str(error)
    return ExampleError(f"example {id} ({told(id)}): {said}", [id])


def _unlike(row: np.ndarray, id: int, kind: Kind, told: Callable[[int], str]) -> DataError:
    first = f"{kind.dtype} of shape {kind.shape} in example {kind.example} ({told(kind.example)})"
    got = f"{first}, {row.dtype} of shape {row.shape} in example {id} ({told(id)})"
    remedy = "size=(height, width) to resize images, or a decode of your own"
    return DataError(must("examples", "be of one shape and type", got, "rows stand in one array", remedy))
