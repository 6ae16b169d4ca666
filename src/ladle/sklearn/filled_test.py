"""The order of filled rows: laws against its own statement."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from ladle.sklearn.filled import Filled, filled_to, passes_at_once


@pytest.mark.parametrize(
    ("rows", "size"), [(1, 1), (5, 2), (63, 64), (64, 64), (1438, 64), (7, None), (64, None), (65, None)]
)
def test_a_pass_is_filled_to_whole_batches(rows: int, size: int | None):
    places = filled_to(rows, size)
    assert places >= rows and places % (size or 64) == 0 and places - rows < (size or 64)


@pytest.mark.parametrize("first", [0, 3])
def test_every_pass_holds_each_row_once_and_then_what_fills_up(first: int):
    order = Filled(rows=11, places=16, seed=7, first=first)
    passes = order.ids(first * 16, 3 * 16).reshape(3, 16)
    assert (np.sort(passes[:, :11], 1) == np.arange(11)).all() and (passes[:, 11:] == np.arange(11, 16)).all()
    assert len({tuple(one) for one in passes.tolist()}) == 3


def test_a_pass_does_not_depend_on_where_its_table_begins():
    one, other = Filled(11, 16, seed=7), Filled(11, 16, seed=7, first=5)
    assert (one.ids(5 * 16, 32) == other.ids(5 * 16, 32)).all()
    assert (one.ids(0, 16) != Filled(11, 16, seed=8).ids(0, 16)).any()


def test_the_device_computes_the_same_ids():
    order = Filled(11, 16, seed=7, first=2)
    offset = jnp.arange(16, dtype=jnp.uint32)
    tables = {name: jnp.asarray(table) for name, table in order.tables().items()}
    on_device = order.program(tables, jnp.uint32(4), offset, jnp, lax.while_loop)
    assert (np.asarray(on_device) == order.ids(4 * 16, 16)).all()


def test_the_program_knows_nothing_of_the_number_of_rows():
    assert Filled(1437, 1472, seed=0).program == Filled(1438, 1472, seed=1).program
    shapes = [
        {k: v.shape for k, v in Filled(n, 1472, 0, passes=p).tables().items()} for n, p in ((1437, 3), (1438, 16))
    ]
    assert shapes[0] == shapes[1] and passes_at_once(1472) == 16
