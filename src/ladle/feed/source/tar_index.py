"""The index of a tar kept in a file, where that is asked for: the headers of a large tar are then read only once."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np

from ladle.core.errors import DataError
from ladle.core.npz import archive_arrays
from ladle.feed.source.tar import Member, members

_ARRAYS = ("stamp", "names", "offset", "length_bytes")


def kept_members(path: Path | str, folder: Path | str | None) -> list[Member]:
    """`members(path)`, from a file in `folder` where there is one of this very tar; else made, and kept there.

    A tar of another size or time of change is another tar. A file that cannot be used is made anew. With None for
    `folder` nothing is read or written.
    """
    if folder is None:
        return list(members(path))
    file = Path(folder) / f"{hashlib.sha256(os.path.abspath(path).encode()).hexdigest()[:24]}.npz"
    try:
        stat = os.stat(path)
    except OSError:
        return list(members(path))  # Which says what is wrong.
    stamp = np.array([stat.st_size, stat.st_mtime_ns], np.int64)
    return _read(file, stamp) or _written(file, stamp, list(members(path)))


def _read(file: Path, stamp: np.ndarray) -> list[Member] | None:
    try:
        kept = archive_arrays(file, _ARRAYS)
    except DataError:
        return None
    offset, length = kept["offset"], kept["length_bytes"]
    names = kept["names"].tobytes().decode("utf-8", "surrogateescape").split("\0")
    whole = kept["stamp"].tolist() == stamp.tolist() and len(names) == 2 * len(offset) == 2 * len(length)
    if not whole or (offset < 0).any() or (length < 0).any() or (offset + length > stamp[0]).any():
        return None
    return list(map(Member, names[::2], names[1::2], offset.tolist(), length.tolist()))


def _written(file: Path, stamp: np.ndarray, found: list[Member]) -> list[Member]:
    names = "\0".join(part for member in found for part in member[:2]).encode("utf-8", "surrogateescape")
    arrays = {"stamp": stamp, "names": np.frombuffer(names, np.uint8)}
    arrays |= {name: np.array([getattr(member, name) for member in found], np.int64) for name in _ARRAYS[2:]}
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.stem}.{os.getpid()}.part")
    with open(part, "wb") as out:
        np.savez(out, **arrays)
    os.replace(part, file)
    return found
