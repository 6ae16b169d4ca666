from __future__ import annotations

from collections.abc import Callable

from ladle.jax.allreduce import AllReduce


def test_one_device_sums_over_nothing():
    assert AllReduce.of_this_host() is None


CODE = """
import jax, numpy as np
from ladle.jax.allreduce import AllReduce, _sums
from ladle.jax.mesh import layout
found = AllReduce.of_this_host()
print(found.devices, found.seconds(4096, 2, 2) > 0)
over = layout(4)
rows = jax.device_put(np.arange(8, dtype=np.float32).reshape(4, 2), over.split)
print(_sums(over, rows, jax.numpy.int32(1)).tolist()[0], _sums(over, rows, jax.numpy.int32(0)).tolist()[3])
text = _sums.lower(over, rows, jax.numpy.int32(2)).compile().as_text()
print("all-reduce" in text)
"""


def test_what_is_timed_is_an_all_reduce_of_all_devices(on_devices: Callable[[int, str], str]):
    assert on_devices(4, CODE).splitlines() == ["4 True", "[3.0, 4.0] [6.0, 7.0]", "True"]
