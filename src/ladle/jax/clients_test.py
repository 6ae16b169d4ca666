"""A client's order is a permutation of its rows that no filling changes."""

from __future__ import annotations

import jax
import numpy as np

from ladle.jax.clients import order_of


def test_an_order_is_a_permutation_that_filling_does_not_change():
    key, orders = jax.random.key(3), []
    for capacity in (11, 16, 64):
        order = np.asarray(order_of(key, np.uint32(11), capacity))
        assert sorted(order[:11].tolist()) == list(range(11))
        assert sorted(order[11:].tolist()) == list(range(11, capacity))
        orders.append(order[:11].tolist())
    assert orders[0] == orders[1] == orders[2]


def test_orders_are_alike_often():
    firsts = [int(order_of(jax.random.key(seed), np.uint32(4), 4)[0]) for seed in range(200)]
    assert np.bincount(firsts, minlength=4).min() > 28  # 3.6 standard errors below 50.
