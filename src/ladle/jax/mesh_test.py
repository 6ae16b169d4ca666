from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.core.batch import Batch
from ladle.core.errors import ArgumentError
from ladle.jax.mesh import layout
from ladle.jax.rows import filled


def test_all_local_devices_by_default():
    assert layout().devices == jax.local_device_count()
    assert layout(1).devices == layout(jax.local_devices()[:1]).devices == 1


@pytest.mark.parametrize("devices", [0, -1, 1.5, 10_000])
def test_a_number_of_devices_that_there_is_not_is_refused(devices):
    with pytest.raises(ArgumentError, match="devices must be"):
        layout(devices)


def test_no_devices_are_refused():
    with pytest.raises(ArgumentError, match="devices must hold at least one"):
        layout([])


def test_rows_are_rounded_up_to_the_devices(on_devices: Callable[[int, str], str]):
    code = """
from ladle.jax.mesh import layout
three = layout(3)
print([three.rows(n) for n in (1, 3, 4, 6, 7)], len(three.in_parts(jax.numpy.ones(6)).sharding.device_set),
      [shard.data.shape for shard in three.everywhere(jax.numpy.ones(6)).addressable_shards])
"""
    assert on_devices(4, "import jax" + code) == "[3, 3, 6, 6, 9] 3 [(6,), (6,), (6,)]\n"


@given(real=st.integers(1, 9), more=st.integers(0, 20))
def test_missing_rows_are_filled_up_with_the_batchs_own_at_weight_zero(real, more):
    values = np.arange(1, real + 1)
    batch = filled(Batch({"x": values}, values.astype(np.float32), values + 100, values, real), real + more)
    assert batch.data["x"].tolist() == [1 + i % real for i in range(real + more)]
    assert batch.weight.tolist() == [*range(1, real + 1), *[0] * more]
    assert batch.weight.dtype == np.float32
    assert (batch.position - 100).tolist() == batch.data["x"].tolist()
