from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from ladle.core.errors import ArgumentError
from ladle.models import FunctionModel

KEYS = jax.random.split(jax.random.key(0), 4)


def seen(apply, *, train: bool):
    model = FunctionModel(lambda key: {}, apply)
    return model.apply({}, (), jnp.ones((4, 2)), keys=KEYS, weight=jnp.ones(4), train=train)[0]


def test_one_key_or_all_by_name() -> None:
    assert seen(lambda params, x, keys: keys, train=True) is KEYS
    assert (seen(lambda params, x, *, key: key, train=True) == KEYS[0]).all()
    assert seen(lambda params, x: x, train=True).shape == (4, 2)


def test_no_keys_in_evaluation() -> None:
    assert seen(lambda params, x, keys: keys, train=False) is None
    assert seen(lambda params, x, key=1: key, train=False) is None


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(ArgumentError, match="apply must be a function"):
        FunctionModel(lambda key: {}, None)  # type: ignore[arg-type]
