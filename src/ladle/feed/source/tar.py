"""What lies in a tar file: an index made of its headers alone, each member checked before it is believed.

Members are never written to disk: they are byte ranges of the tar file.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ladle.core.errors import DataError, must
from ladle.core.npy import one_line

REFUSED = frozenset("pickle pkl pth pt pyd".split())
"""Extensions of pickles in shards: reading one can run any code."""

_PACKED = ((b"\x1f\x8b", "gzip"), (b"BZh", "bzip2"), (b"\xfd7zXZ\x00", "xz"), (b"\x28\xb5\x2f\xfd", "zstd"))
_BLOCK = tarfile.BLOCKSIZE
_MOST_BYTES = 2**31 - 1  # What one read may ask for. A file with holes can claim far more than a disk holds.


class Member(NamedTuple):
    """A file in a tar: `key` and `extension` are its path up to and after the first dot of its name."""

    key: str
    extension: str
    offset: int
    length_bytes: int


def members(path: Path | str) -> Iterator[Member]:
    """The files of a tar in order; folders and hidden files are passed over.

    Raises `DataError` for a missing, compressed, truncated or damaged tar, and for members that are links, devices,
    pickles, or have names that lead out of a folder.
    """
    length_bytes = _require_plain(path)
    end = 0
    try:
        with tarfile.open(path, "r:") as tar:
            for found in tar:
                end = found.offset_data + (-(-found.size // _BLOCK) * _BLOCK if found.isreg() else 0)
                _check(found, path, length_bytes)
                folder, _, name = found.name.rpartition("/")
                if found.isdir() or name.startswith("."):
                    continue
                stem, _, extension = name.partition(".")
                key = f"{folder}/{stem}" if folder else stem
                yield Member(key, extension.lower(), found.offset_data, found.size)
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        if isinstance(error, DataError):
            raise
        raise _damaged(path, one_line(error)) from None
    _require_end(path, end, length_bytes)


def _require_plain(path: Path | str) -> int:
    """The number of bytes of the file. `tarfile` would unpack a compressed one from its start for every example."""
    try:
        with open(path, "rb") as file:
            start, length_bytes = file.read(_BLOCK), os.fstat(file.fileno()).st_size
    except OSError as error:
        why, remedy = error.strerror or "it cannot be opened", "the path of a tar file"
        raise DataError(must("shard", "be a file that can be read", str(path), why, remedy)) from None
    for signature, name in _PACKED:
        if start.startswith(signature) and start[257:262] != b"ustar":  # A tar starts with the name of its first file.
            why = f"it is {name}, which can only be read from its start; images are packed already"
            raise DataError(must("shard", "be an uncompressed tar", str(path), why, "unpacking it once, to plain .tar"))
    if length_bytes == 0:
        raise _damaged(path, "it is empty")
    return length_bytes


def _check(found: tarfile.TarInfo, path: Path | str, length_bytes: int) -> None:
    """Stricter than Python's filter for data, which is asked as well: here even a link inside the tar is refused."""
    if found.issym() or found.islnk():
        raise _refused(found, path, "be a file", f"it is a link to {found.linkname!r}")
    if not (found.isreg() or found.isdir()) or found.issparse():
        raise _refused(found, path, "be a plain file", "devices, pipes and sparse files hold no examples")
    if found.name.startswith(("/", "\\")) or ".." in found.name.replace("\\", "/").split("/") or ":" in found.name[:3]:
        raise _refused(found, path, "have a name inside the tar", "such names lead out of the folder they are put in")
    safe = getattr(tarfile, "data_filter", None)  # Python 3.11.4 and later.
    if safe is not None:
        try:
            safe(found, os.sep)
        except tarfile.FilterError as error:
            raise _refused(found, path, "be data", str(error)) from None
    if found.name.rpartition(".")[2].lower() in REFUSED:
        raise _refused(found, path, "not be a pickle", "reading a pickle can run any code")
    if found.size < 0 or found.offset_data + found.size > length_bytes:
        because = f"{found.name!r} should end at byte {found.offset_data + found.size:,} of {length_bytes:,}"
        raise _damaged(path, because)
    if found.size > _MOST_BYTES:
        raise _refused(found, path, "be below 2 GiB", f"it has {found.size:,} bytes, and an example is read at once")


def _require_end(path: Path | str, end: int, length_bytes: int) -> None:
    """A tar ends with blocks of zeros. `tarfile` stops without a word at a header that it cannot read."""
    with open(path, "rb") as file:
        file.seek(end)
        mark = file.read(_BLOCK)
    if len(mark) < _BLOCK:
        raise _damaged(path, f"the blocks of zeros that end a tar are missing at byte {end:,}: it was cut short")
    if any(mark):
        raise _damaged(path, f"the header at byte {end:,} of {length_bytes:,} cannot be read")


def _refused(found: tarfile.TarInfo, path: Path | str, be: str, because: str) -> DataError:
    return DataError(must("member", be, f"{found.name!r} of {str(path)!r}", because, "a tar of plain files"))


def _damaged(path: Path | str, because: str) -> DataError:
    return DataError(must("shard", "be a whole tar file", str(path), because, "a fresh copy of the file"))
