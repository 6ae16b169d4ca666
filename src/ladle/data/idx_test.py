from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from ladle.core.errors import DataError
from ladle.data import idx


def encode(array: np.ndarray) -> bytes:
    code = {np.dtype(text): code for code, text in idx.TYPES.items()}[array.dtype]
    return bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.mark.parametrize("dtype", list(idx.TYPES.values()))
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_round_trip(tmp_path: Path, dtype: str, ending: str) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    path = tmp_path / f"a-idx3{ending}"
    path.write_bytes(gzip.compress(encode(array)) if ending else encode(array))
    result = idx.read(path)
    assert result.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(result, array)


WHOLE = encode(np.arange(12, dtype=np.uint8).reshape(3, 4))


def packed(content: bytes) -> bytes:
    # Without the time: a parameter's bytes are its test's name, the same in every process that runs the tests.
    return gzip.compress(content, mtime=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\0\0\x08", "does not begin as idx files do"),
        (b"\x89PNG\r\n", "does not begin as idx files do"),
        (b"\0\0\x07\x01\0\0\0\0", "does not begin as idx files do"),
        (WHOLE[:9], "header is cut off"),
        (WHOLE[:-1], "claims 24 bytes, more than the file can hold"),
        (WHOLE + b"x", "goes on after the 24 bytes"),
        (b"\0\0\x0e\x03" + b"\xff" * 12, "more than the file can hold"),
    ],
)
def test_bad_plain_file(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.idx"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        idx.read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (packed(WHOLE)[:-9], "cut off or damaged"),
        (packed(WHOLE)[:-8] + b"\0" * 8, "cut off or damaged"),
        (WHOLE, "cut off or damaged"),
        (packed(WHOLE[:-1]), "1 of the 24 bytes"),
        (packed(WHOLE + b"x"), "goes on after"),
        (packed(b"\0\0\x0e\x03" + b"\xff" * 12), "more than the file can hold"),
    ],
)
def test_bad_gzip_file(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.idx.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        idx.read(path)


def test_a_bomb_is_unpacked_only_as_far_as_its_header_says(tmp_path: Path) -> None:
    path = tmp_path / "bomb.idx.gz"
    path.write_bytes(gzip.compress(WHOLE + bytes(50_000_000)))
    with pytest.raises(DataError, match=r"goes on after the 24 bytes"):
        idx.read(path)


def test_labels_need_images_in_the_name() -> None:
    with pytest.raises(DataError, match=r"'images' in its file name"):
        idx.labels_beside(Path("train-labels-idx1-ubyte"))
