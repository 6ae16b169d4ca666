"""NumPy's own files, read with suspicion: never a pickle, no allocation before a header was checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ladle.core.errors import DataError
from ladle.core.npy import NPY_FAILURES, damaged, npy_header, one_line, require_file
from ladle.core.npz import archive_arrays, archive_names


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
    except NPY_FAILURES as error:
        raise damaged(path, f"it is no whole .npy file: {one_line(error)}") from None


def read_npz(path: Path) -> Mapping[str, np.ndarray]:
    """All arrays in a `.npz` file by key. Raises `DataError` as `read_npy` does, and for damaged archives."""
    return archive_arrays(path, archive_names(path))
