"""Memory that a reading process shares with the one that asked it: arrays of a batch cross without a copy on the way.

Through a pipe a batch is copied in and out of the system in small pieces, which costs many times what one copy does. A
slab is memory without a name (`memfd_create`), so that no limit of `/dev/shm` and no file left behind can matter. The
reading process makes it, hands its number over the pipe once, and writes into it again when all arrays in it are gone.
"""

from __future__ import annotations

import mmap
import os
import weakref
from collections import deque
from collections.abc import Sequence
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

LEAST = 32_768
"""Bytes of an answer from which on a slab is worth its words."""
MOST = 4
"""Slabs of one process: what waits, what is at hand, and one to write into. Who keeps more batches gets copies."""
_ALIGNED = 64


class Written:
    """Slabs as the reading process has them: written into, lent, and written into again."""

    def __init__(self) -> None:
        self._slabs: list[mmap.mmap] = []
        self._free: list[int] = []
        self._most = MOST if hasattr(os, "memfd_create") else 0

    def free(self, numbers: Sequence[int]) -> None:
        """Those whose arrays are gone."""
        self._free += numbers

    def write(self, raws: Sequence[memoryview]) -> tuple[int | None, int]:
        """The slab that these bytes were written into, one after the other, and its file where it is new, or -1.

        None where the bytes have to travel. The caller closes the file.
        """
        ends = offsets([len(raw) for raw in raws])
        if ends[-1] < LEAST or not self._most:
            return None, -1
        number, file = self._fitting(ends[-1])
        if number is not None:
            with memoryview(self._slabs[number]) as whole:
                for at, raw in zip(ends, raws, strict=False):
                    whole[at : at + len(raw)] = raw
        return number, file

    def _fitting(self, size: int) -> tuple[int | None, int]:
        for place, number in enumerate(self._free):
            if len(self._slabs[number]) >= size:
                del self._free[place]
                return number, -1
        if len(self._slabs) == self._most and not self._free:
            return None, -1
        file = -1
        try:
            file = os.memfd_create("ladle-read")  # type: ignore[attr-defined]
            os.ftruncate(file, size)
            slab = mmap.mmap(file, size)
        except OSError:  # No memory, or no files left: what is there goes on, and the rest travels.
            if file >= 0:
                os.close(file)
            self._most = len(self._slabs)
            return None, -1
        if len(self._slabs) < self._most:
            self._slabs.append(slab)
            return len(self._slabs) - 1, file
        number = self._free.pop(0)  # Too small: the new one stands in its place.
        self._slabs[number].close()
        self._slabs[number] = slab
        return number, file


class Lent:
    """The same slabs as the asking process has them."""

    def __init__(self) -> None:
        self._slabs: dict[int, mmap.mmap] = {}
        self._gone: deque[int] = deque()

    def take(self, number: int, file: int) -> None:
        """A slab that is new. Its file is closed."""
        try:
            self._slabs[number] = mmap.mmap(file, 0)
        finally:
            os.close(file)

    def read(self, number: int, lengths: Sequence[int]) -> list[memoryview]:
        """The bytes in a slab, which is lent until nothing looks at them any more."""
        whole: Any = np.frombuffer(self._slabs[number], np.uint8)
        weakref.finalize(whole, self._gone.append, number).atexit = False
        return [memoryview(whole)[at : at + size] for at, size in zip(offsets(lengths), lengths, strict=False)]

    def gone(self) -> list[int]:
        """Slabs whose arrays are gone since the last time."""
        return [self._gone.popleft() for _ in range(len(self._gone))]


def offsets(lengths: Sequence[int]) -> list[int]:
    """Where each of some pieces begins, and where the last ends. Rows of arrays begin as memory for them does.

    >>> offsets([100, 8])
    [0, 128, 136]
    """
    places, end = [], 0
    for length in lengths:
        places.append(-(-end // _ALIGNED) * _ALIGNED)
        end = places[-1] + length
    return [*places, end]


def send_file(pipe: Connection, file: int) -> None:
    """Hand a file over, and close it here."""
    try:
        reduction.send_handle(pipe, file, None)  # type: ignore[attr-defined]
    finally:
        os.close(file)


def receive_file(pipe: Connection) -> int:
    return reduction.recv_handle(pipe)  # type: ignore[attr-defined]
