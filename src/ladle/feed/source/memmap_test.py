from __future__ import annotations

import atexit
import io
import pickle
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ladle.core.errors import ArgumentError, DataError
from ladle.feed.blocks import Blocks
from ladle.feed.host import HostFeed
from ladle.feed.source.memmap import Mapped, _in_memory

DTYPES = st.sampled_from(["u1", "i8", "f4", "f8", "?", "f2"])


def mapped_feed() -> HostFeed:
    """53 examples in blocks of unequal size, for the laws of feeds."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    np.save(folder / "id.npy", np.arange(53))
    np.save(folder / "x.npy", np.ones((53, 2)))
    return HostFeed(Mapped(folder), Blocks([20, 1, 25, 7], 5, mix=2))


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def claims(shape: tuple[int, ...], dtype: str = "<f8") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue()


@given(st.data(), st.integers(1, 30))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_take_is_what_the_arrays_say(tmp_path, data, n):
    tail = st.lists(st.integers(1, 4), max_size=2).map(lambda shape: (n, *shape))
    tree = {name: data.draw(hnp.arrays(DTYPES.map(np.dtype), tail)) for name in ("x", "y")}
    for name, array in tree.items():
        np.save(tmp_path / f"{name}.npy", array)
    ids = np.array(data.draw(st.lists(st.integers(0, n - 1), max_size=40)), np.int64)
    for source in (Mapped({name: tmp_path / f"{name}.npy" for name in tree}), Mapped(tmp_path)):
        taken = source.take(ids)
        assert len(source) == n
        for name, array in tree.items():
            np.testing.assert_array_equal(taken[name], array[ids])
            assert taken[name].dtype == array.dtype
            assert taken[name].flags.owndata


def test_trees_and_single_files(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(3))
    assert Mapped(tmp_path / "a.npy").take(np.array([1])).tolist() == [1]
    nested = Mapped({"in": (str(tmp_path / "a.npy"), tmp_path / "a.npy")})
    assert nested.take(np.array([2]))["in"][1].tolist() == [2]
    with pytest.raises(ArgumentError, match=r"ids must be in 0 \.\. 2; got -1"):
        nested.take(np.array([-1]))


def test_copies_travel_by_path_and_threads_agree(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(100_000.0))
    sent = pickle.dumps(Mapped({"x": tmp_path / "x.npy"}))
    assert len(sent) < 1000
    copy = pickle.loads(sent)
    with ThreadPoolExecutor(4) as pool:
        sums = list(pool.map(lambda i: copy.take(np.arange(i, 100_000, 8))["x"].sum(), range(8)))
    assert sum(sums) == np.arange(100_000).sum()


def test_blocks_cover_the_rows(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(300, np.uint8))
    source = Mapped(tmp_path)
    assert source.blocks.tolist() == [128, 128, 44]
    assert Blocks.of(source).epoch_size == 300
    assert source.memory_bytes == 0
    assert source.describe() == "300 examples in 0.0 MB of .npy files, mapped; none of it is held"
    assert source.place(7, "x", (1,)) == "row 7, element [1] of x.npy"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"PK nonsense", "it is no whole .npy file"),
        (npy(np.arange(10))[:-1], "claims 208 bytes, but 207 are there"),
        (npy(np.arange(10))[:40], "it is no whole .npy file"),
        (claims((5_000_000, 1_000_000)), "claims 40,000,000,000,128 bytes, but 128 are there"),
        (claims((2**62, 2**62)), "bytes, but 128 are there"),
        (claims((-1,)), "bytes, but 128 are there"),
        (claims((8,), "|O"), "Python objects, which only pickle can read"),
        (npy(np.array([None], object)), "Python objects, which only pickle can read"),
        (npy(np.zeros(2, [("a", "f4")])), "holds named fields"),
        (npy(np.asfortranarray(np.ones((2, 3)))), "data must be stored row by row; got 'a.npy in Fortran order'"),
        (npy(np.arange(3, dtype=">i4")), "a.npy of >i4"),
        (npy(np.zeros((0, 3))), "data must hold rows of numbers"),
        (npy(np.array(3.0)), "a.npy of shape ()"),
    ],
    ids=lambda value: None if isinstance(value, bytes) else value[:24],
)
def test_bad_files_are_refused_before_they_are_mapped(tmp_path, content, message):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(DataError) as caught:
        Mapped({"x": tmp_path / "a.npy"})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_trees(tmp_path):
    with pytest.raises(DataError, match="it holds none"):
        Mapped(tmp_path)
    np.save(tmp_path / "x.npy", np.zeros(3))
    with pytest.raises(DataError, match=r"there is no such file.*x\.npy"):
        Mapped({"x": tmp_path / "xx.npy"})
    with pytest.raises(DataError, match="files must be paths"):
        Mapped({"x": np.zeros(3)})
    np.save(tmp_path / "y.npy", np.zeros(4))
    with pytest.raises(DataError, match=r"equally many rows.*'x': 3, 'y': 4"):
        Mapped(tmp_path)


def test_a_file_that_was_just_written_needs_no_reader(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(100_000))
    assert Mapped({"x": str(tmp_path / "x.npy")}).readers in (0, 1)  # Not every file system can tell.
    assert not _in_memory(Path("/proc/self/mem"))
