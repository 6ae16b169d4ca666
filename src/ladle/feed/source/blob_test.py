from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ladle.core.errors import ArgumentError, DataError, ExampleError
from ladle.core.npz import npy_array
from ladle.feed.source.blob import Blob, open_blob
from ladle.feed.source.decode import Pixels


def jpeg(seed: int) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def packed(parts: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    return np.frombuffer(b"".join(parts), np.uint8), np.cumsum([0, *map(len, parts)])


def as_text(encoded: bytes) -> np.ndarray:
    return np.frombuffer(encoded, np.uint8)


def test_rows_are_the_decoded_parts():
    parts = [jpeg(seed) for seed in range(50)]
    source = Blob(*packed(parts), y=np.arange(50))
    ids = np.random.default_rng(0).integers(0, 50, 120)
    rows = pickle.loads(pickle.dumps(source)).take(ids)
    assert rows["y"].tolist() == ids.tolist()
    expected = [np.asarray(Image.open(io.BytesIO(parts[id]))) for id in ids]
    np.testing.assert_array_equal(rows["x"], expected)
    assert source.memory_bytes == sum(map(len, parts))


def test_any_function_of_bytes_decodes():
    source = Blob(*packed([b"ab", b"cd"]), decode=as_text)
    assert {name: rows.tolist() for name, rows in source.take(np.array([1])).items()} == {"x": [[99, 100]]}
    with pytest.raises(
        DataError, match="uint8 of shape .2,. in example 0 .bytes 0 to 2., uint8 of shape .3,. in example 1"
    ):
        Blob(*packed([b"ab", b"cde"]), decode=as_text).take(np.array([0, 1]))


def test_damaged_parts_are_named_all_at_once():
    parts = [jpeg(0), jpeg(1)[:200], jpeg(2), b""]
    with pytest.raises(ExampleError, match="example 1 .bytes .*2 bad examples in all") as caught:
        Blob(*packed(parts)).take(np.array([3, 0, 1, 1]))
    assert caught.value.ids == (1, 3)


@pytest.mark.parametrize(
    ("data", "offsets", "y", "said"),
    [
        (np.zeros(4), [0, 4], None, "data must be bytes in one row, u8.bytes.; got 'float64 of shape .4,.'"),
        (np.zeros(4, np.uint8), [0.0, 4.0], None, "offsets must be whole numbers"),
        (np.zeros(4, np.uint8), [0], None, "offsets must be whole numbers"),
        (np.zeros(4, np.uint8), [0, 5], None, "offsets must rise within the bytes; got 'from 0 to 5 for 4 bytes'"),
        (np.zeros(4, np.uint8), [0, 3, 2, 4], None, "falling somewhere"),
        (np.zeros(4, np.uint8), [-1, 4], None, "from -1 to 4"),
        (np.zeros(4, np.uint8), [0, 4], [1, 2], "y must have a row for each example; got 'int64 of shape .2,.'"),
    ],
    ids=["type", "fractions", "too-few", "beyond", "falling", "negative", "labels"],
)
def test_offsets_that_do_not_fit_are_refused(data, offsets, y, said):
    with pytest.raises(DataError, match=said):
        Blob(data, offsets, decode=as_text, y=y)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    data, offsets = packed([jpeg(seed) for seed in range(5)])
    arrays = {"test_bytes": data, "test_offsets": offsets, "test_labels": np.arange(5, dtype=np.uint8)}
    np.savez_compressed(tmp_path / "data.npz", **arrays)
    return tmp_path / "data.npz"


def test_an_archive_is_opened_by_the_name_of_its_part(archive):
    rows = open_blob(archive, "test").take(np.array([4, 2]))
    assert (rows["x"].shape, rows["y"].tolist(), rows["y"].dtype) == ((2, 8, 8, 3), [4, 2], np.int32)
    with pytest.raises(ArgumentError, match="part must name arrays train_bytes and train_offsets; got 'test_bytes, "):
        open_blob(archive)


@pytest.mark.skipif("LADLE_DATA" not in os.environ, reason="LADLE_DATA names the folder of data sets")
def test_the_real_images_are_those_of_the_lossless_set():
    data = Path(os.environ["LADLE_DATA"])
    source = open_blob(data / "cifar10_jpeg" / "cifar10_jpeg.npz")
    exact = np.load(data / "cifar10_exact" / "train_images.npy", mmap_mode="r")
    rows = source.take(np.arange(200))
    assert len(source) == 50_000
    np.testing.assert_array_equal(rows["y"], np.load(data / "cifar10_exact" / "train_labels.npy")[:200])
    assert np.abs(rows["x"].astype(np.int32) - exact[:200]).mean() < 7  # JPEG loses 5.8 on average.


def rewritten(path: Path, name: str, content: bytes) -> Path:
    with zipfile.ZipFile(path) as old:
        members = {info.filename: old.read(info) for info in old.infolist()} | {name: content}
    with zipfile.ZipFile(path, "w") as new:
        for member, bytes_ in members.items():
            new.writestr(member, bytes_)
    return path


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def claiming(shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"shape": shape, "fortran_order": False, "descr": "|u1"})
    return file.getvalue() + b"few"


def test_python_objects_are_never_read(archive):
    rewritten(archive, "test_labels.npy", npy(np.array([{"a": 1}] * 5, object)))
    with pytest.raises(
        DataError, match="data must hold plain arrays; got '.*test_labels.npy of object'.*pickle can run code"
    ):
        open_blob(archive, "test")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (claiming((2**40,)), "the header of test_bytes.npy claims 1,099,511,627,[0-9]+ bytes, but"),
        (b"no array", "it is no whole .npz archive: the magic string is not correct"),
        (b"", "it is no whole .npz archive: EOF"),
    ],
    ids=["lying", "other", "empty"],
)
def test_arrays_that_are_not_what_they_claim_are_refused(archive, content, said):
    with pytest.raises(DataError, match=f"data must be a whole, readable file; got '.*data.npz'; because {said}"):
        open_blob(rewritten(archive, "test_bytes.npy", content), "test")
    with pytest.raises(DataError, match="data must be a whole, readable file"):
        npy_array(content)


def test_objects_in_a_member_are_never_read():
    with pytest.raises(DataError, match="which only pickle can read"):
        npy_array(npy(np.array([None], object)))


def test_no_part_of_an_archive_passes_for_a_whole_one(archive):
    data = archive.read_bytes()
    for length in range(0, len(data), len(data) // 20):
        archive.write_bytes(data[:length])
        with pytest.raises(DataError, match="data must be a whole, readable file"):
            open_blob(archive, "test")


def test_a_missing_archive_is_named(tmp_path):
    with pytest.raises(DataError, match="got '.*nowhere.npz'; because there is no such file"):
        open_blob(tmp_path / "nowhere.npz")


def test_settings_are_those_of_the_decoder(archive):
    assert open_blob(archive, "test", Pixels("L", (2, 4))).take(np.array([0]))["x"].shape == (1, 2, 4, 1)
