"""NumPy's own files, read with suspicion: never a pickle, no allocation before a header was checked."""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np

from ladle.data.idx import DEFLATE_LIMIT
from ladle.data.refuse import damaged, one_line, require_file
from ladle.errors import DataError, must

_FAILURES = (
    ValueError,
    OSError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    RuntimeError,
    MemoryError,
    SyntaxError,
    tokenize.TokenError,
)
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_npy(path: Path) -> np.ndarray:
    """The array in a `.npy` file.

    Raises `DataError` for another format, a truncated file, Python objects inside, or a header that claims another
    number of bytes than the file holds.
    """
    require_file(path)
    try:
        with open(path, "rb") as file:
            _check(file, path.stat().st_size, path, path.name)
            file.seek(0)
            return np.lib.format.read_array(file, allow_pickle=False)
    except DataError:
        raise
    except _FAILURES as error:
        raise damaged(path, f"it is no whole .npy file: {one_line(error)}") from None


def read_npz(path: Path) -> Mapping[str, np.ndarray]:
    """All arrays in a `.npz` file by key. Raises `DataError` as `read_npy` does, and for damaged archives."""
    require_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            return {info.filename.removesuffix(".npy"): _member(archive, info, path) for info in archive.infolist()}
    except DataError:
        raise
    except _FAILURES as error:
        raise damaged(path, f"it is no whole .npz archive: {one_line(error)}") from None


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> np.ndarray:
    if info.file_size > DEFLATE_LIMIT * info.compress_size + 64:
        raise damaged(path, f"{info.filename} claims {info.file_size:,} bytes, more than its packed bytes can hold")
    with archive.open(info) as file:
        _check(file, info.file_size, path, info.filename)
    with archive.open(info) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _check(file: IO[bytes], length_bytes: int, path: Path, name: str) -> None:
    """Read the header only, and hold its claim against the number of bytes that are there."""
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise damaged(path, f"{name} has .npy version {version}, which only named fields need", remedy="a plain array")
    shape, _, dtype = _HEADERS[version](file)
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
