"""What `conftest.py` promises, as the other tests rely on it."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest


def test_types_and_ranks_do_not_promote_by_accident():
    with pytest.raises(ValueError, match="dtype promotion"):
        jnp.ones(2, jnp.float32) + jnp.ones(2, jnp.int32)
    with pytest.raises(ValueError, match="rank_promotion"):
        jnp.ones(2) + jnp.ones((2, 2))


def test_warnings_are_errors():
    with pytest.raises(UserWarning):
        warnings.warn("unheard", stacklevel=1)


def test_compiled_programs_are_not_kept():
    assert jax.config.jax_compilation_cache_dir is None


def test_compilations_counts_shapes_not_calls(compilations: Counter[str]):
    @jax.jit
    def double(x):
        return 2 * x

    for rows in (3, 3, 4):
        double(np.ones(rows, np.float32))
    assert compilations["double"] == 2
    assert compilations.total() == 2


def test_on_devices_gives_that_many(on_devices: Callable[[int, str], str]):
    assert on_devices(4, "import jax; print(jax.device_count())") == "4\n"


def test_a_failing_child_fails_the_test(fresh_python: Callable[..., str]):
    with pytest.raises(pytest.fail.Exception, match="ZeroDivisionError"):
        fresh_python("1 / 0")
