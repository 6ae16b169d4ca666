"""The idx format of the MNIST family: magic, sizes, values; often inside gzip. Nothing is allocated on a header's word.

    0x00 0x00  type  rank  |  rank sizes, u32 big-endian  |  values, big-endian, last axis fastest

Source: the format description by Y. LeCun, C. Cortes and C. J. C. Burges, http://yann.lecun.com/exdb/mnist/.
"""

from __future__ import annotations

import gzip
import io
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from ladle.core.errors import DataError, must
from ladle.core.npy import damaged, require_file
from ladle.core.npz import MOST_PACKED

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

_CHUNK_BYTES = 1 << 20


def is_idx(path: Path) -> bool:
    """Whether the name says idx: `train-images-idx3-ubyte`, `labels.idx`, each also with `.gz`."""
    name = path.name.lower().removesuffix(".gz")
    return name.endswith(".idx") or "-idx" in name or ".idx" in name


def read(path: Path) -> np.ndarray:
    """The array in an idx file, plain or gzip.

    Raises `DataError` for a wrong magic number, a header that claims more or less than the file holds, and damaged
    gzip. Never reads further than one byte past what the header claims.
    """
    return parse(read_bytes(path), path)


def read_bytes(path: Path) -> bytes:
    """Header and values, unpacked, as many bytes as the header claims."""
    require_file(path)
    zipped = path.name.lower().endswith(".gz")
    try:
        with gzip.open(path) if zipped else open(path, "rb") as file:
            return _whole(file, path, most_bytes=path.stat().st_size * (MOST_PACKED if zipped else 1))
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise damaged(path, f"the gzip data is cut off or damaged: {error}") from None
    except OSError as error:
        raise damaged(path, error) from None


def parse(content: bytes, path: Path) -> np.ndarray:
    """The array in the bytes of an idx file; `path` is for error messages only."""
    dtype, shape, start = _header(content, path)
    return np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def labels_beside(path: Path) -> Path:
    """The file of labels that goes with a file of images, by name.

    >>> labels_beside(Path("train-images-idx3-ubyte.gz")).name, labels_beside(Path("test_images.npy")).name
    ('train-labels-idx1-ubyte.gz', 'test_labels.npy')
    """
    if "images" not in path.name:
        because = "labels are found by that word: images.idx goes with labels.idx"
        raise DataError(
            must("data", "have the word 'images' in its file name", path.name, because, "the file of images")
        )
    return path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1").replace("idx4", "idx1"))


def _whole(file: io.BufferedIOBase, path: Path, *, most_bytes: int) -> bytes:
    head = file.read(4)
    if len(head) == 4:
        head += file.read(4 * head[3])
    dtype, shape, start = _header(head, path)
    claimed_bytes = start + dtype.itemsize * math.prod(shape)
    if claimed_bytes > most_bytes:
        raise damaged(path, f"its header claims {claimed_bytes:,} bytes, more than the file can hold")
    chunks, left = [head], claimed_bytes - start
    while left and (chunk := file.read(min(left, _CHUNK_BYTES))):
        chunks.append(chunk)
        left -= len(chunk)
    if left:
        raise damaged(
            path, f"it is cut off: {left:,} of the {claimed_bytes:,} bytes that its header claims are missing"
        )
    if file.read(1):  # At the end this also makes gzip check its checksum.
        raise damaged(path, f"it goes on after the {claimed_bytes:,} bytes that its header claims")
    return b"".join(chunks)


def _header(head: bytes, path: Path) -> tuple[np.dtype, tuple[int, ...], int]:
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in TYPES or head[3] == 0:
        raise damaged(path, f"it does not begin as idx files do (first bytes {head[:4].hex(' ')})")
    start = 4 + 4 * head[3]
    if len(head) < start:
        raise damaged(path, "its header is cut off")
    return np.dtype(TYPES[head[2]]), struct.unpack(f">{head[3]}I", head[4:start]), start
