"""NumPy's own files, read with suspicion: never a pickle, no allocation before a header was checked."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ladle.data.idx import DEFLATE_LIMIT
from ladle.errors import DataError
from ladle.header import NPY_FAILURES, damaged, npy_header, one_line, require_file

_FAILURES = (*NPY_FAILURES, zipfile.BadZipFile, zlib.error, NotImplementedError)


def read_npy(path: Path) -> np.ndarray:
    """The array in a `.npy` file.

    Raises `DataError` for another format, a truncated file, Python objects inside, or a header that claims another
    number of bytes than the file holds.
    """
    require_file(path)
    try:
        with open(path, "rb") as file:
            npy_header(file, path.stat().st_size, path, path.name)
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
        npy_header(file, info.file_size, path, info.filename)
    with archive.open(info) as file:
        return np.lib.format.read_array(file, allow_pickle=False)
