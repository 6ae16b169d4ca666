import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.core.errors import ArgumentError
from ladle.feed.fold import Fold, Tabled


@given(st.integers(1, 40), st.integers(0, 1), st.integers(0, 2**64 - 1))
def test_a_pass_holds_a_member_once_at_most(count, short, seed):
    members = np.arange(count) * 3 + 1
    size = max(count - short, 1)
    order = Fold(members, size, seed)
    for epoch in range(2):
        ids = order.ids(epoch * size, size)
        assert len(set(ids.tolist())) == size
        assert set(ids.tolist()) <= set(members.tolist())
    assert order.ids(1, 2 * size).tolist() == np.concatenate([order.ids(1, size), order.ids(1 + size, size)]).tolist()


def test_a_short_pass_leaves_out_another_member_each_time():
    missing = {(set(range(9)) - set(Fold(np.arange(9), 8, 1).ids(8 * epoch, 8).tolist())).pop() for epoch in range(40)}
    assert len(missing) > 6


def test_folds_of_other_lengths_share_one_program_and_agree_with_the_host(compilations):
    compiled = jax.jit(lambda tables, epoch, place: order.program(tables, epoch, place, jnp, jax.lax.while_loop))
    compilations.clear()
    for count, seed in ((11, 0), (12, 5)):
        order = Fold(np.arange(count) * 2, 11, seed, room=23)
        for epoch in (0, 7):
            ids = compiled(order.tables(), np.uint32(epoch), np.arange(11, dtype=np.uint32))
            assert np.asarray(ids).tolist() == order.ids(11 * epoch, 11).tolist()
    assert compilations["<lambda>"] == 1


def test_a_table_holds_the_order_it_was_made_of():
    order = Fold(np.arange(12) * 2, 11, seed=5)
    tabled = Tabled(order, 3)
    for epoch in range(3):
        places = np.arange(11, dtype=np.uint32)
        ids = tabled.program(tabled.tables(), np.uint32(epoch), places, np, None)
        assert ids.tolist() == order.ids(11 * epoch, 11).tolist() == tabled.ids(11 * epoch, 11).tolist()


def test_more_places_than_members_are_refused():
    with pytest.raises(ArgumentError, match="epoch_size must be from 1 to 3; got 4"):
        Fold(np.arange(3), 4)
