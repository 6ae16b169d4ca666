"""Arrays in `.npz` archives and `.npy` bytes, read with suspicion: never a pickle, no claim believed unchecked."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ladle.core.errors import DataError
from ladle.core.npy import NPY_FAILURES, damaged, npy_header, one_line, require_file

MOST_PACKED = 1032
"""Bytes that one byte of a DEFLATE stream can stand for, at most: https://zlib.net/zlib_tech.html."""

_FAILURES = (*NPY_FAILURES, zipfile.BadZipFile, zlib.error, NotImplementedError)


def archive_names(path: Path | str) -> list[str]:
    """What arrays a `.npz` file has; none is read. Raises `DataError` for a damaged archive."""
    with _opened(path) as archive:
        return list(_members(archive))


def archive_arrays(path: Path | str, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The arrays `names` of a `.npz` file.

    Raises `DataError` for a damaged archive, Python objects, or an array that claims another size than is there.
    """
    with _opened(path) as archive:
        members = _members(archive)
        return {name: _array(archive, members[name], Path(path)) for name in names}


@contextmanager
def _opened(path: Path | str) -> Iterator[zipfile.ZipFile]:
    require_file(Path(path))
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except DataError:
        raise
    except KeyError as error:
        raise damaged(path, f"it has no array {error}") from None
    except _FAILURES as error:
        raise damaged(path, f"it is no whole .npz archive: {one_line(error)}") from None


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    return {info.filename.removesuffix(".npy"): info for info in archive.infolist()}


def npy_array(encoded: bytes) -> np.ndarray:
    """The array in the bytes of a `.npy` file. Raises `DataError` as `archive_arrays` does.

    >>> file = io.BytesIO()
    >>> np.save(file, np.arange(3))
    >>> npy_array(file.getvalue()).tolist()
    [0, 1, 2]
    """
    file = io.BytesIO(encoded)
    try:
        npy_header(file, len(encoded), Path(".npy"), "a member")
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)
    except DataError:
        raise
    except _FAILURES as error:
        raise damaged(".npy", error) from None


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> np.ndarray:
    if info.file_size > MOST_PACKED * info.compress_size + 64:
        raise damaged(path, f"{info.filename} claims {info.file_size:,} bytes, more than its packed bytes can hold")
    with archive.open(info) as file:
        npy_header(file, info.file_size, path, info.filename)
    with archive.open(info) as file:
        return np.lib.format.read_array(file, allow_pickle=False)
