"""What a library has no type for is refused by name; what it has comes out as it went in."""

from __future__ import annotations

import warnings
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from ladle.core.errors import DataError
from ladle.feed import Joined, Loader
from ladle.feed.host import HostFeed
from ladle.feed.order import Sequential


def library(name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name)


def batch(x: Any, to: str) -> Any:
    return next(iter(Loader({"x": x}, len(x), order="sequential", to=to)))["x"]


@pytest.mark.parametrize("dtype", [">f4", ">i2", "<f8", "f2", "?", "u1", ">c8"])
def test_any_byte_order_to_jax(dtype: str) -> None:
    x = np.arange(6).astype(dtype)
    np.testing.assert_array_equal(np.asarray(batch(x, "jax")), x)


def test_small_floats_to_jax() -> None:
    x = jnp.arange(4, dtype=jnp.bfloat16)
    assert batch(x, "jax").dtype == jnp.bfloat16 and batch(x, "numpy").tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (np.array([1, 2**31]), "data 'x' must fit 32 bits; got 2147483648"),
        (np.array([-(2**31) - 1, 1]), "got -2147483649"),
        (np.array([1, 2**32], np.uint64), "got 4294967296"),
        (np.array([1.0, -1e39]), "got -1e.39"),
        (np.array(["2020", "2021"], "M8[D]"), "got 'datetime64"),
    ],
    ids="wide negative unsigned float dates".split(),
)
def test_what_jax_would_change_or_has_not(x: np.ndarray, said: str) -> None:
    with pytest.raises(DataError, match=said):
        batch(x, "jax")
    assert batch(x, "numpy").tolist() == x.tolist()


def test_text_stays_what_it_is() -> None:
    assert batch(np.array(["a", "b"]), "jax").tolist() == ["a", "b"], "a DataLoader leaves it alone as well"


@pytest.mark.slow
def test_everything_to_torch() -> None:
    torch = library("torch")
    for dtype in (">f4", ">i8", "f2", "?", "u1", ">c16"):
        x = np.arange(6).astype(dtype)
        np.testing.assert_array_equal(batch(x, "torch").numpy(), x)
    for kind in (torch.bfloat16, torch.float8_e4m3fn, torch.float16, torch.int64):
        x = torch.arange(4).to(kind)
        made = batch(x, "torch")
        assert made.dtype == kind and made.float().tolist() == [0, 1, 2, 3]
        rows = next(iter(Loader([{"x": one} for one in x], 4, order="sequential", to="torch")))["x"]
        assert rows.dtype == kind and rows.float().tolist() == [0, 1, 2, 3]
    with pytest.raises(DataError, match="data 'x' must be numbers; got 'datetime64.D.'; because torch"):
        batch(np.array(["2020", "2021"], "M8[D]"), "torch")
    assert batch(np.array(["a", "b"]), "torch").tolist() == ["a", "b"]


def test_a_file_in_another_byte_order_is_refused_rather_than_read_whole(tmp_path: Any) -> None:
    np.save(tmp_path / "x.npy", np.arange(6).astype(">f4"))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    with pytest.raises(DataError, match="data 'x' must be numbers of this machine; got '>f4'"):
        Loader({"x": mapped}, 2)


def test_an_array_is_rows_wherever_a_source_is_asked_for() -> None:
    x = np.arange(6).reshape(3, 2)
    for rows in (x, {"x": x}, x.astype(">i8")):
        feed = HostFeed(rows, Sequential(3))
        made = feed.source.take(np.array([2, 0]))
        assert (made["x"] if isinstance(made, dict) else made).tolist() == [[4, 5], [0, 1]]
    assert Joined({"a": x, "b": x + 10}).take(np.array([3, 1])).tolist() == [[10, 11], [2, 3]]  # type: ignore[dict-item]
    with pytest.raises(DataError, match="data 'x' must be alike in all sources"):
        Joined({"a": {"x": x}, "b": {"x": x * 1.0}}).take(np.array([0, 3]))  # type: ignore[dict-item]


@pytest.mark.parametrize("given", ["weight", "labels"])
def test_masks_beside_the_data(given: str) -> None:
    masked = np.ma.array([1.0, 2.0, 3.0], mask=[0, 1, 0])
    with pytest.raises(DataError, match=f"{given} must have a value in every cell; .* row 1 "):
        if given == "weight":
            HostFeed(np.zeros(3), Sequential(3), masked)  # type: ignore[arg-type]
        else:
            Loader(np.zeros(3), order="stratified", labels=masked.astype(int))


def test_a_masked_item_is_named_by_its_number() -> None:
    items = [{"x": np.zeros(2)}, {"x": np.ma.array([1.0, 2.0], mask=[0, 1])}]
    with pytest.raises(DataError, match="example 1 at 'x' must have a value in every cell"):
        next(iter(Loader(items, 2)))


@pytest.mark.slow
def test_transforms_and_formats_of_hugging_face_are_used() -> None:
    datasets = library("datasets")
    plain = datasets.Dataset.from_dict({"x": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], "y": [0, 1, 0]})

    def doubled(rows: Any) -> Any:
        return {"x": [[2 * one for one in row] for row in rows["x"]], "y": rows["y"]}

    def first(data: Any) -> Any:
        return next(iter(Loader(data, 3, order="sequential")))

    assert first(plain)["x"].tolist() == [[1, 2], [3, 4], [5, 6]]
    for data in (plain.with_transform(doubled), plain.with_transform(doubled, columns=["x", "y"]).select([0, 1, 2])):
        assert first(data)["x"].tolist() == [[2, 4], [6, 8], [10, 12]] and first(data)["y"].tolist() == [0, 1, 0]
    assert list(first(plain.with_format("numpy", columns=["x"]))) == ["x"]
    assert set(first(plain.with_format("numpy", columns=["x"], output_all_columns=True))) == {"x", "y"}
    assert first(plain.with_format("numpy", dtype="float16"))["x"].dtype == np.float16
    assert first({"x": plain["x"], "y": plain["y"]})["x"].tolist() == [[1, 2], [3, 4], [5, 6]]
