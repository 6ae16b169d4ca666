from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ladle.core.errors import DataError
from ladle.data import npy


def npy_bytes(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def tampered(shape: tuple[int, ...], dtype: str = "<f8") -> bytes:
    """A file of a few bytes whose header claims `shape`."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue() + bytes(64)


FORTY_TERABYTES = tampered((5_000_000, 1_000_000))


@pytest.mark.parametrize("array", [np.arange(6.0).reshape(2, 3), np.asfortranarray(np.eye(3)), np.array(["ab", "c"])])
def test_round_trip(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", x=array)
    np.savez_compressed(tmp_path / "b.npz", x=array, y=np.zeros((0, 2)))
    np.testing.assert_array_equal(npy.read_npy(tmp_path / "a.npy"), array)
    np.testing.assert_array_equal(npy.read_npz(tmp_path / "a.npz")["x"], array)
    assert npy.read_npz(tmp_path / "b.npz")["y"].shape == (0, 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"PK nonsense", "no whole .npy file"),
        (npy_bytes(np.arange(10))[:-1], "claims 208 bytes, but 207 are there"),
        (npy_bytes(np.arange(10)) + b"x", "claims 208 bytes, but 209 are there"),
        (npy_bytes(np.arange(10))[:40], "no whole .npy file"),
        (FORTY_TERABYTES, "claims 40,000,000,000,128 bytes"),
        (tampered((2**40, 2**40)), "bytes, but"),
        (tampered((-1,)), "bytes, but"),
        (tampered((8,), "|O"), "holds Python objects, which only pickle can read"),
        (npy_bytes(np.zeros(2, [("a", "f4"), ("b", "i4")])), "holds named fields"),
    ],
)
def test_bad_npy(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        npy.read_npy(path)
    assert "\n" not in str(caught.value)


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], object), allow_pickle=True)
    np.savez(tmp_path / "a.npz", x=np.array([print], object))
    for read, name in ((npy.read_npy, "a.npy"), (npy.read_npz, "a.npz")):
        with pytest.raises(DataError, match=r"pickle can run code"):
            read(tmp_path / name)


def _archive(path: Path, content: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", content)
    return path


def test_bad_npz(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=np.arange(100), y=np.arange(100))
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    with pytest.raises(DataError, match=r"no whole .npz archive"):
        npy.read_npz(path)
    middle = whole.index(np.arange(100).tobytes()) + 50
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    with pytest.raises(DataError, match=r"Bad CRC-32"):
        npy.read_npz(path)
    with pytest.raises(DataError, match=r"claims 40,000,000,000,128 bytes, but 192 are there"):
        npy.read_npz(_archive(path, FORTY_TERABYTES))


def test_npz_that_claims_more_than_deflate_can_hold(tmp_path: Path) -> None:
    path = _archive(tmp_path / "a.npz", npy_bytes(np.zeros(8)))
    content = bytearray(path.read_bytes())
    directory = content.rindex(b"PK\x01\x02")
    content[directory + 24 : directory + 28] = b"\xff\xff\xff\x7f"  # the uncompressed size
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"more than its packed bytes can hold"):
        npy.read_npz(path)
