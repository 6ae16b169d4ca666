"""`Mapped`: `.npy` files used where they lie. The operating system keeps in memory what is asked for, and no more."""

from __future__ import annotations

import math
import mmap
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ladle.core.errors import DataError, must
from ladle.core.npy import NPY_FAILURES, NpyHeader, damaged, npy_header, one_line, require_file
from ladle.feed.arrays import Arrays, leaves, map_tree
from ladle.feed.source.request import require_ids

BLOCK_ROWS = 128
MOST_BLOCKS = 2**20
PROBES = 64


@dataclass(frozen=True, eq=False)
class Mapped:
    """Examples in `.npy` files that stay on disk; implements `ladle.core.protocols.Source`.

    - `files`: a tree of paths (`{"x": "x.npy", "y": "y.npy"}`), one path, or a folder, each `.npy` file of which is an
      array of that name. Row `i` of every array belongs to example `i`.

    `blocks` are made up: 128 neighbouring rows (more, where there would be over a million of them), for
    `ladle.feed.Blocks`. Rows at random are as fast as from memory while the files fit the memory that is free; from a
    cold disk, blocks are about twenty times as fast. `memory_bytes` is 0: pages belong to the system, which takes them
    back when it must. Copies sent to other processes carry paths, not numbers.

    Every header is checked against the size of its file before anything is mapped. Raises `DataError` for a file that
    is missing, damaged or cut short, holds Python objects or columns side by side (Fortran order), and as `Arrays`.
    A file must not shrink while it is mapped: the system then ends the process.

    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> np.save(f"{folder}/x.npy", np.arange(6.0).reshape(3, 2))
    >>> source = Mapped({"x": f"{folder}/x.npy"})
    >>> len(source), source.take(np.array([2, 0]))["x"].tolist()
    (3, [[4.0, 5.0], [0.0, 1.0]])
    """

    files: Any
    _arrays: Arrays = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "files", map_tree(_resolved, self.files))
        object.__setattr__(self, "_arrays", Arrays(map_tree(_mapped, self.files)))

    gathers = True
    """Many rows cost little more than one: those of several batches may be taken at once."""

    def __len__(self) -> int:
        return len(self._arrays)

    def take(self, ids: np.ndarray) -> Any:
        """Rows `ids` (`i64[k]`) of every array, in that order, copied into memory."""
        return self._arrays.take(require_ids(ids, len(self)))

    @property
    def tree(self) -> Any:
        """The whole arrays, where they lie: reading all of one reads all of its file."""
        return self._arrays.tree

    @property
    def memory_bytes(self) -> int:
        return 0

    @cached_property
    def readers(self) -> int:
        """Threads worth reading ahead with: one that waits for the disk, none where the system has the files already.

        Copying is then all there is to do, and handing rows from thread to thread takes longer than that.
        """
        return 0 if all(_in_memory(path) for _, path in leaves(self.files)) else 1

    @cached_property
    def blocks(self) -> np.ndarray:
        """`i64[blocks]` rows of each made-up block."""
        rows = max(BLOCK_ROWS, -(-len(self) // MOST_BLOCKS))
        starts = np.arange(0, len(self), rows)
        return np.minimum(starts + rows, len(self)) - starts

    def place(self, id: int, leaf: str, index: tuple[int, ...]) -> str:
        """Where one number lies, in words."""
        return f"row {id}{f', element {list(index)}' if index else ''} of {dict(leaves(self.files))[leaf].name}"

    def describe(self) -> str:
        """One line to print before a run."""
        stored = sum(leaf.nbytes for _, leaf in leaves(self.tree))
        return f"{len(self):,} examples in {stored / 1e6:,.1f} MB of .npy files, mapped; none of it is held"

    def __reduce__(self) -> tuple[Any, ...]:
        return Mapped, (self.files,)


def _resolved(path: Any) -> Any:
    """A path, or the tree of a folder."""
    if not isinstance(path, str | Path):
        raise DataError(must("files", "be paths", path, "arrays are opened where they lie", '{"x": "x.npy"}'))
    path = Path(path).absolute()
    if not path.is_dir():
        return path
    found = {file.stem: file for file in sorted(path.glob("*.npy"))}
    if not found:
        raise DataError(must("files", "be a folder of .npy files", str(path), "it holds none", "np.save('x.npy', x)"))
    return found


def _in_memory(path: Path) -> bool:
    """Whether the system holds a file's pages, as far as `PROBES` places of it tell. Reads nothing from a disk."""
    if not hasattr(os, "RWF_NOWAIT"):
        return False
    file = os.open(path, os.O_RDONLY)
    try:
        for place in np.linspace(0, max(os.fstat(file).st_size - 1, 0), PROBES).astype(int).tolist():
            os.preadv(file, [bytearray(1)], place, os.RWF_NOWAIT)
    except OSError:  # It would have to wait, or this file system cannot tell.
        return False
    finally:
        os.close(file)
    return True


def _mapped(path: Path) -> np.ndarray:
    """The numbers of one file as a plain array: `np.memmap` would cost its bookkeeping at every take."""
    require_file(path)
    try:
        with open(path, "rb") as file:
            header = npy_header(file, path.stat().st_size, path, path.name)
            _check_layout(header, path)
            pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except DataError:
        raise
    except NPY_FAILURES as error:
        raise damaged(path, f"it is no whole .npy file: {one_line(error)}") from None
    flat = np.frombuffer(pages, header.dtype, math.prod(header.shape), header.offset_bytes)
    return flat.reshape(header.shape)


def _check_layout(header: NpyHeader, path: Path) -> None:
    if header.fortran_order and len(header.shape) > 1:
        why, remedy = "a row of it is spread over the whole file", "np.save(path, np.ascontiguousarray(x))"
        raise DataError(must("data", "be stored row by row", f"{path.name} in Fortran order", why, remedy))
    if not header.dtype.isnative:
        why, remedy = "its bytes are in the order of another machine", "x.astype(x.dtype.newbyteorder('='))"
        raise DataError(must("data", "be numbers of this machine", f"{path.name} of {header.dtype.str}", why, remedy))
    if not header.shape or not math.prod(header.shape):
        why = "there is nothing to take"
        raise DataError(must("data", "hold rows of numbers", f"{path.name} of shape {header.shape}", why, "more data"))
