from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ladle.feed.arrays import Arrays
from ladle.feed.source.memmap import Mapped
from ladle.feed.source.nonfinite import CHUNK, find_nonfinite
from ladle.feed.source.parquet import Parquet


def test_finite_data_has_none():
    assert (
        find_nonfinite(Arrays({"x": np.ones((9, 2)), "y": np.arange(9), "w": np.array(["a"] * 9)}), np.arange(9)) == []
    )


def test_places_are_named_in_the_order_asked_and_at_most_so_many():
    n = 2 * CHUNK + 5
    x, y = np.zeros((n, 2, 2), np.float32), np.zeros(n)
    x[7, 1, 0], y[7], y[CHUNK + 3], x[n - 1, 0, 0] = np.nan, np.inf, -np.inf, np.nan
    source = Arrays({"in": (x,), "y": y})
    found = find_nonfinite(source, np.arange(n)[::-1])
    assert [one.id for one in found] == [n - 1, CHUNK + 3, 7, 7]
    assert found[0].where == f"example {n - 1}, element [0, 0] of 'in.0'"
    assert found[1] == (CHUNK + 3, "y", -np.inf, f"example {CHUNK + 3}, 'y'")
    assert {one.leaf for one in found[2:]} == {"in.0", "y"}
    assert len(find_nonfinite(source, np.arange(n), most=2)) == 2
    assert find_nonfinite(Arrays(y), np.array([7]))[0].value == np.inf


def test_files_and_columns_are_named(tmp_path):
    (tmp_path / "arrays").mkdir()
    np.save(tmp_path / "arrays" / "x.npy", np.array([[0, 1], [np.inf, 2.0]]))
    (found,) = find_nonfinite(Mapped(tmp_path / "arrays"), np.arange(2))
    assert found.where == "row 1, element [0] of x.npy"
    b = np.zeros(20)
    b[17] = np.nan
    for part in (2, 3):
        pq.write_table(
            pa.table({"a": np.zeros(20), "b": b if part == 3 else np.zeros(20)}), tmp_path / f"part-{part}.parquet"
        )
    (found,) = find_nonfinite(Parquet(tmp_path), np.arange(40))
    assert (found.id, found.where) == (37, "row 17, column 'b' of part-3.parquet")


def test_small_floats_are_looked_at_too():
    jnp = pytest.importorskip("jax.numpy")
    x = jnp.asarray([[0.0, 1.0], [2.0, jnp.nan]], jnp.bfloat16)
    found = find_nonfinite(Arrays({"x": x, "h": np.array([np.inf, 0], np.float16)}), np.arange(2))
    assert [one.where for one in found] == ["example 0, 'h'", "example 1, element [1] of 'x'"]
