from __future__ import annotations

import atexit
import pickle
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ladle.core.errors import ArgumentError, DataError, ExampleError
from ladle.feed.blocks import Blocks
from ladle.feed.host import HostFeed
from ladle.feed.source.parquet import Parquet

KINDS = ("f4", "f8", "i8", "u1", "?", "words", "list")
few = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def parquet_feed() -> HostFeed:
    """Two files of unequal row groups and slots for two, for the laws of feeds: 53 examples, `x[:, 0]` is the id."""
    ids, folder = np.arange(53), Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    for part, rows in enumerate((ids[:30], ids[30:])):
        table = pa.table({"id": rows, "twice": rows * 2.0, "y": rows % 3})
        pq.write_table(table, folder / f"part-{part}.parquet", row_group_size=11)
    source = Parquet(folder, y="y", cache_blocks=2)
    return HostFeed(source, Blocks.of(source, 5, mix=2))


def column(kind: str, n: int, rng: np.random.Generator) -> tuple[Any, np.ndarray]:
    """A column for the file, and what should be read from it."""
    if kind == "words":
        codes = rng.integers(0, 4, n)
        return pa.array(np.array(["b", "d", "a", "c"])[codes].tolist()).dictionary_encode(), codes
    if kind == "list":
        values = rng.standard_normal((n, 3)).astype(np.float32)
        return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), 3), values
    values = (rng.standard_normal(n) * 9).astype(kind)
    return pa.array(values), values


def save(table: Any, path: Path, group: int, format: str) -> None:
    if format == "parquet":
        pq.write_table(table, path, row_group_size=group)
    else:
        with pa.ipc.new_file(path, table.schema) as file:
            for batch in table.to_batches(max_chunksize=group):
                file.write_batch(batch)


@given(
    st.lists(st.sampled_from(KINDS), min_size=1, max_size=6),
    st.lists(st.integers(1, 40), min_size=1, max_size=3),
    st.integers(1, 17),
    st.integers(1, 5),
    st.sampled_from(["parquet", "arrow"]),
    st.data(),
)
@few
def test_take_is_what_the_columns_say(tmp_path, kinds, sizes, group, cache_blocks, format, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    made = {f"c{i}": [column(kind, n, rng) for n in sizes] for i, kind in enumerate(kinds)}
    files = [tmp_path / f"{i}.{format}" for i in range(len(sizes))]
    for i, file in enumerate(files):
        save(pa.table({name: parts[i][0] for name, parts in made.items()}), file, group, format)
    n = sum(sizes)
    source = Parquet(files, cache_blocks=cache_blocks)
    ids = np.array(data.draw(st.lists(st.integers(0, n - 1), max_size=60)), np.int64)
    taken = source.take(ids)
    every = {name: np.concatenate([part[1] for part in parts])[ids] for name, parts in made.items()}
    numbers = [every[name] for name, kind in zip(made, kinds, strict=True) if kind not in ("words", "list")]
    if numbers:
        np.testing.assert_array_equal(taken["x"], np.stack(numbers, axis=1).astype(np.float32))
        assert taken["x"].dtype == np.float32
    names = [name for name, kind in zip(made, kinds, strict=True) if kind == "words"]
    for index, name in enumerate(names):
        words = np.array(source.levels[name])[taken["codes"][:, index]] if len(ids) else np.empty(0, str)
        assert words.tolist() == np.array(["b", "d", "a", "c"])[every[name]].tolist()
    for name, kind in zip(made, kinds, strict=True):
        if kind == "list":
            np.testing.assert_array_equal(taken[name], every[name])
    assert len(source) == n == source.blocks.sum()
    assert source.blocks.max() <= group


def test_what_becomes_the_target_and_the_matrix(tmp_path):
    path = tmp_path / "a.parquet"
    word = pa.array(["no", "yes", "no"])
    pq.write_table(pa.table({"a": [1, 2, 3], "b": [0.5, 1.5, 2.5], "w": word, "d": word.dictionary_encode()}), path)
    ids = np.arange(3)
    every = Parquet(path, y="b", categories=["w"])
    assert {name: value.dtype.str for name, value in every.take(ids).items()} == {
        "x": "<f4",
        "codes": "<i4",
        "y": "<f4",
    }
    assert every.names == {"x": ("a",), "codes": ("w", "d"), "y": ("b",)}
    only = Parquet(path, x=["b", "a"], y="a")
    assert only.take(ids)["x"].tolist() == [[0.5, 1], [1.5, 2], [2.5, 3]]
    assert only.take(ids)["y"].dtype == np.int32
    save(pq.read_table(path), tmp_path / "a.arrow", 2, "arrow")
    np.testing.assert_array_equal(
        Parquet(tmp_path / "a.arrow", x=["b", "a"], y="a").take(ids)["x"], only.take(ids)["x"]
    )
    assert Parquet(path, x=["a"], dtype=None).take(ids)["x"].dtype == np.int64
    assert Parquet(path, x=["a", "b"], dtype=None).take(ids)["x"].dtype == np.float64
    words = Parquet(path, columns=["b"], y="d")
    assert words.take(ids)["y"].tolist() == [0, 1, 0]
    assert words.levels == {"d": ("no", "yes")}
    numbered = Parquet(path, x=["b"], y="a", categories=["a"])
    assert numbered.take(ids)["y"].tolist() == [0, 1, 2]
    assert numbered.levels["a"] == (1, 2, 3)


def test_codes_are_the_same_whatever_group_or_file_a_row_is_of(tmp_path):
    for i, words in enumerate((["m", "a"], ["z", "a"], ["b"])):
        pq.write_table(
            pa.table({"w": pa.array(words).dictionary_encode()}), tmp_path / f"{i}.parquet", row_group_size=1
        )
    source = Parquet(tmp_path)
    assert source.levels["w"] == ("a", "b", "m", "z")
    assert source.take(np.arange(5))["codes"][:, 0].tolist() == [2, 0, 3, 0, 1]


def test_nulls_are_refused_by_row_or_filled(tmp_path):
    a, b = [1.0, None, 3.0, None, 5.0, 6.0], [1, 2, 3, 4, None, 6]
    y, w = [0, 0, 0, None, 0, 0], pa.array(["u", "u", None, "u", "u", "u"]).dictionary_encode()
    pq.write_table(pa.table({"a": a, "b": b, "y": y, "w": w}), tmp_path / "part-3.parquet", row_group_size=2)
    source = Parquet(tmp_path, columns=["a", "b"], cache_blocks=1)
    assert source.take(np.array([0, 2, 5]))["x"].tolist() == [[1, 1], [3, 3], [6, 6]]
    with pytest.raises(ExampleError, match=r"null in row 4, column 'b' of part-3\.parquet") as caught:
        source.take(np.array([4]))
    with pytest.raises(ExampleError) as caught:
        source.take(np.array([4, 3, 0, 1, 4]))
    assert sorted(caught.value.ids) == [1, 3, 4]
    filled = Parquet(tmp_path, columns=["a", "b"], fill=-1.0)
    assert filled.take(np.arange(6))["x"].tolist() == [[1, 1], [-1, 2], [3, 3], [-1, 4], [5, -1], [6, 6]]
    for options, id in (({"y": "y", "x": ["b"]}, 3), ({"x": ["b"], "columns": ["w"]}, 2)):
        with pytest.raises(ExampleError) as caught:
            Parquet(tmp_path, fill=0.0, **options).take(np.arange(6))
        assert caught.value.ids == (id,)


def test_nulls_in_lists(tmp_path):
    lists = pa.array([[1, 2], None, [None, 4], [5, 6]], pa.list_(pa.float32(), 2))
    pq.write_table(pa.table({"v": lists}), tmp_path / "a.parquet")
    with pytest.raises(ExampleError) as caught:
        Parquet(tmp_path).take(np.arange(4))
    assert caught.value.ids == (1, 2)
    assert Parquet(tmp_path, fill=0).take(np.array([3, 2]))["v"].tolist() == [[5, 6], [0, 0]]


def test_targets_beyond_32_bits_are_named(tmp_path):
    pq.write_table(pa.table({"a": [1.0, 2.0], "y": [1, 2**40]}), tmp_path / "a.parquet")
    source = Parquet(tmp_path, y="y")
    assert source.take(np.array([0]))["y"].tolist() == [1]
    with pytest.raises(ExampleError, match="beyond 32 bits in row 1, column 'y' of a.parquet"):
        source.take(np.array([1, 0]))


def test_numbers_that_do_not_fit_become_infinite_without_a_word(tmp_path):
    pq.write_table(pa.table({"a": [1e300, float("nan")]}), tmp_path / "a.parquet")
    assert np.isinf(Parquet(tmp_path).take(np.array([0]))["x"]).all()


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("wide") / "a.parquet"
    rows = np.arange(40_000, dtype=np.float32)
    pq.write_table(pa.table({f"c{j}": rows + j for j in range(5)}), path, row_group_size=1000)
    return path


def test_many_threads_take_at_once(wide):
    source = Parquet(wide, cache_blocks=4)
    order = Blocks.of(source, 1, mix=3)

    def work(start: int) -> bool:
        ids = order.ids(start, 500)
        return bool((source.take(ids)["x"] == ids[:, None] + np.arange(5)).all())

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(work, range(0, 40_000, 500)))


def test_copies_travel_by_path(wide):
    source = Parquet(wide, x=["c1"], cache_blocks=2)
    sent = pickle.dumps(source)
    assert len(sent) < 1000
    copy = pickle.loads(sent)
    assert copy.take(np.array([7]))["x"].tolist() == [[8.0]]
    assert copy.memory_bytes == source.memory_bytes


def test_memory_is_bounded_and_stated(tmp_path, fresh_python):
    """Arrow's peak over a pass is within what is stated beyond the slots, and no file is held whole."""
    path = tmp_path / "a.parquet"
    rows = np.arange(200_000, dtype=np.float32)
    pq.write_table(pa.table({f"c{j}": rows + j for j in range(5)}), path, row_group_size=10_000)
    code = f"""
import numpy as np, pyarrow as pa
from ladle.feed.source.parquet import Parquet
source = Parquet({str(path)!r}, cache_blocks=4)
slab = sum(a.nbytes for a in source._opened._slab.values())
for start in range(0, 200_000, 5000):
    source.take(np.arange(start, start + 5000))
print(pa.default_memory_pool().max_memory(), slab, source.memory_bytes)
"""
    peak, slab, stated = map(int, fresh_python(code).split())
    assert slab == 4 * 10_000 * 5 * 4
    assert peak <= stated - slab < 4_000_000 / 2


def test_what_is_said_before_a_run(wide):
    source = Parquet(wide)
    assert source.describe() == (
        "40,000 examples in 1 file, 40 row groups of at most 1,000; 40 decoded at a time, 1 MB"
    )
    assert Blocks.of(source).mix == 40
    assert source.place(1234, "x", (3,)) == "row 1234, column 'c3' of a.parquet"


# --- refusals ------------------------------------------------------------------------------------------------------


def table(**columns: Any) -> Any:
    return pa.table(columns or {"a": [1.0, 2.0], "b": [3.0, 4.0]})


def refusal(files: Any, **options: Any) -> str:
    with pytest.raises(ArgumentError) as caught:
        Parquet(files, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"PAR1", "a.parquet"),
        (b"PAR1" + b"x" * 100 + b"PAR1", "a.parquet"),
        (b"ARROW1" + b"x" * 100, "a.parquet"),
        (b"hello, world", "it begins with b'hello,', as neither Parquet nor Arrow files do"),
        (b"\xff\xff\xff\xff\x00\x00\x00\x00", "it is a stream of Arrow batches"),
        (None, "there is no such file"),
    ],
)
def test_files_that_are_none(tmp_path, content, message):
    if content is not None:
        (tmp_path / "a.parquet").write_bytes(content)
    assert message in refusal(tmp_path / "a.parquet")


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_truncated_files(tmp_path, format):
    path = tmp_path / f"a.{format}"
    save(table(a=np.arange(500.0)), path, 100, format)
    whole = path.read_bytes()
    for length in (len(whole) - 1, len(whole) // 2, 20):
        path.write_bytes(whole[:length])
        assert f"a.{format}" in refusal(path)


def test_damaged_and_changed_files_are_named_when_they_are_read(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(table(a=np.arange(5000.0)), path, compression="none", use_dictionary=False, write_page_checksum=True)
    whole = bytearray(path.read_bytes())
    whole[200:260] = bytes(60)
    path.write_bytes(whole)
    with pytest.raises(DataError, match=r"a\.parquet"):
        Parquet(path).take(np.array([0]))
    pq.write_table(table(a=np.arange(5000.0)), path)
    source = Parquet(path)
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(DataError, match=r"bytes when it was opened and has"):
        source.take(np.array([0]))


@pytest.fixture(scope="module", params=["parquet", "arrow"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    words = pa.array([f"w{i % 5}" for i in range(90)]).dictionary_encode()
    path = tmp_path_factory.mktemp("whole") / f"a.{request.param}"
    save(pa.table({"a": np.arange(90.0), "w": words, "i": np.arange(90) % 7}), path, 40, request.param)
    return path.with_name(f"b.{request.param}"), path.read_bytes()


@given(st.data())
@settings(max_examples=40)
def test_damage_anywhere_is_refused_in_one_line_or_does_no_harm(whole, data):
    path, content = whole[0], bytearray(whole[1])
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=3)):
        content[at] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.just(len(content)) | st.integers(1, len(content)))])
    try:
        source = Parquet(path)
        assert len(source.take(np.arange(len(source)))) in (1, 2)
    except DataError as error:
        assert "\n" not in str(error)


def test_files_of_different_schema(tmp_path):
    pq.write_table(table(), tmp_path / "1.parquet")
    pq.write_table(table(a=[1, 2], b=[1.0, 2.0]), tmp_path / "2.parquet")
    assert "column a must be of one type in all files; got 'int64 in 2.parquet and double in 1" in refusal(tmp_path)
    pq.write_table(table(a=[1.0]), tmp_path / "2.parquet")
    assert "column b must be of one type in all files; got 'none in 2.parquet" in refusal(tmp_path)


def test_empty_files_folders_and_lists(tmp_path):
    assert "none of that kind is there" in refusal(tmp_path)
    assert "none of that kind is there" in refusal(tmp_path / "*.parquet")
    assert "files must be at least one file" in refusal([])
    pq.write_table(table().slice(0, 0), tmp_path / "b.parquet")
    assert "data must hold at least one row" in refusal(tmp_path)
    pq.write_table(table(), tmp_path / "a.parquet")
    assert "b.parquet" in refusal(tmp_path / "*.parquet")


def test_columns_that_cannot_be_used_are_named(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(table(a=[1.0], name=["x"], when=pa.array([0], pa.timestamp("s")), many=[[1, 2]]), path)
    message = refusal(path)
    assert "got 'name (string), when (timestamp[ms]), many (list<element: int64>)'" in message
    assert "categories=['name'] where words repeat, or columns=['a']" in message
    assert Parquet(path, columns=["a"]).take(np.array([0]))["x"].tolist() == [[1.0]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"x": ["aa"]},
            "x must name columns of the data; got 'aa'; because a.parquet has others; try 'a' (known: a, b)",
        ),
        ({"x": "a"}, "x must be a list of columns; got 'a'"),
        ({"y": "c"}, "y must name columns of the data; got 'c'"),
        ({"x": []}, "columns must leave something to read"),
        ({"dtype": "text"}, "dtype must be a type of numbers"),
        ({"dtype": "int32"}, "dtype must be of real numbers; got 'int32'; because column 'a' has fractions"),
        ({"cache_blocks": 0}, "cache_blocks must be at least 1"),
        ({"x": ["a"], "categories": ["w"]}, "categories must name columns of the data; got 'w'"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else None,
)
def test_bad_arguments(tmp_path, options, message):
    pq.write_table(table(), tmp_path / "a.parquet")
    assert message in refusal(tmp_path / "a.parquet", **options)


def test_more_bad_arguments(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(table(a=[1], w=pa.array(["u"]).dictionary_encode(), x=pa.array([[1]], pa.list_(pa.int8(), 1))), path)
    assert "x must name columns of numbers; got 'w'" in refusal(path, x=["w"])
    assert "fill must be a whole number; got 0.5" in refusal(path, columns=["a"], dtype="int32", fill=0.5)
    assert "columns must not be lists called 'x'" in refusal(path)
    pq.write_table(pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]), path)
    assert "data must name each column once; got 'a'" in refusal(path)


def test_ids_are_checked(wide):
    with pytest.raises(ArgumentError, match=r"ids must be in 0 \.\. 39999; got 40000"):
        Parquet(wide).take(np.array([0, 40_000]))


def test_feather_files(tmp_path):
    feather.write_feather(table(), str(tmp_path / "a.feather"), compression="lz4")
    assert Parquet(tmp_path / "a.feather").take(np.array([1]))["x"].tolist() == [[2.0, 4.0]]
