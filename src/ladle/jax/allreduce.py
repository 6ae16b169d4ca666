"""`AllReduce`: seconds of a sum over the devices of this host, as it is within a compiled update."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ladle.jax.mesh import Layout, layout

FEW, MANY = 1, 9
"""Sums in a call. The difference of their times is that of the sums alone: a call has a cost of its own."""


@dataclass(frozen=True)
class AllReduce:
    """Implements `ladle.core.reducer.Reducer` for the devices that JAX sees on this host."""

    devices: int

    @classmethod
    def of_this_host(cls) -> AllReduce | None:
        """None where there is one device."""
        count = jax.local_device_count()
        return cls(count) if count > 1 else None

    def seconds(self, size_bytes: int, devices: int, repeats: int) -> float:
        over = layout(devices)
        rows = jax.device_put(np.ones((devices, max(size_bytes // 4, 1)), np.float32), over.split)
        program = partial(_sums, over)

        def timed(count: int) -> float:
            began = time.perf_counter()
            jax.block_until_ready(program(rows, jnp.int32(count)))
            return time.perf_counter() - began

        timed(FEW)  # Compiles.
        few, many = (min(times) for times in zip(*((timed(FEW), timed(MANY)) for _ in range(repeats)), strict=True))
        # A machine that is never quiet may slow all of the short calls, and leave nothing for the sums.
        return (many - few) / (MANY - FEW) if many > few else many / MANY


@partial(jax.jit, static_argnums=0)
def _sums(over: Layout, rows: Any, count: Any) -> Any:
    """`count` means over the devices, one after the other: each is of what the last one left, so none can be spared."""

    def once(_: Any, now: Any) -> Any:
        mean = jax.lax.with_sharding_constraint(now.mean(axis=0), over.replicated)
        return jax.lax.with_sharding_constraint(jnp.broadcast_to(mean, now.shape), over.split)

    return jax.lax.fori_loop(0, count, once, rows)
