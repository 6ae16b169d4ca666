"""What a file must show before it is trusted: that it is there, and that its header and its size agree.

Every reader of files words its refusals here, so that each is said once.
"""

from __future__ import annotations

import math
import tokenize
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from ladle.core.beside import files_beside
from ladle.core.errors import DataError, must

NPY_FAILURES = (
    ValueError,
    OSError,
    EOFError,
    RuntimeError,
    MemoryError,
    OverflowError,
    SyntaxError,
    tokenize.TokenError,
)
"""What NumPy raises for a header that is none."""

OTHERWISE = "the path of a data file, or `ladle data` for known names"
"""What is offered where no file nearby looks like the one that was meant."""

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class NpyHeader(NamedTuple):
    """What the header of a `.npy` file says. `offset_bytes`: where the numbers begin."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype
    offset_bytes: int


def npy_header(file: IO[bytes], length_bytes: int, path: Path, name: str) -> NpyHeader:
    """Read the header only, and hold its claim against the number of bytes that are there. Allocates nothing.

    - `file`: at its beginning, and `length_bytes` long. `path`, `name`: what messages call it.

    Raises `DataError` for Python objects, named fields, an unknown version, or a claim of more or fewer bytes;
    one of `NPY_FAILURES`, from NumPy, where this is no header at all.
    """
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise damaged(path, f"{name} has .npy version {version}, which only named fields need", remedy="a plain array")
    shape, fortran_order, dtype = _HEADERS[version](file)
    if dtype.hasobject or dtype.names:
        what = (
            "Python objects, which only pickle can read and pickle can run code" if dtype.hasobject else "named fields"
        )
        remedy = "saving it as a plain array, X.astype(float)"
        raise DataError(
            must("data", "hold plain arrays", f"{path.name}: {name} of {dtype}", f"it holds {what}", remedy)
        )
    claimed_bytes = file.tell() + math.prod(shape) * dtype.itemsize
    if claimed_bytes != length_bytes:
        because = f"the header of {name} claims {claimed_bytes:,} bytes, but {length_bytes:,} are there"
        raise damaged(path, because)
    return NpyHeader(shape, fortran_order, dtype, file.tell())


def one_line(text: object, longest: int = 160) -> str:
    """The first line of what a library said, shortened: an error of ours is always one line.

    >>> one_line("bad header\\n  at offset 3")
    'bad header'
    """
    lines = str(text).strip().splitlines()
    line = lines[0].strip() if lines else "no reason given"
    return line if len(line) <= longest else line[: longest - 3] + "..."


def damaged(path: Path | str, because: object, *, remedy: str = "a fresh copy of the file") -> DataError:
    """The error for a file whose content is not what its name or its own header promises."""
    return DataError(must("data", "be a whole, readable file", str(path), one_line(because), remedy))


def require_file(path: Path) -> Path:
    """`path` where it is a file with something in it. Raises `DataError` and offers the nearest file beside it."""
    if path.is_dir():
        inside = files_beside(path / "none", OTHERWISE)
        raise DataError(must("data", "be a file", str(path), "it is a folder", inside))
    try:
        length_bytes = path.stat().st_size
    except OSError:
        why = "there is no such file"
        raise DataError(must("data", "be a file that exists", str(path), why, files_beside(path, OTHERWISE))) from None
    if length_bytes == 0:
        raise damaged(path, "the file is empty")
    return path
