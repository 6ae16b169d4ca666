"""What the processes of a run tell each other of a micro-batch: its sums, as few messages of many arrays.

The compiler adds up each array of a gradient by itself, and between processes on processors a message takes some
milliseconds however short it is. So each device sums over its own rows here, the sums are laid one behind the other,
and these go: a perceptron of 1.6 million weights waits 9 ms of an update for it, and 32 as the compiler has it
(docs/log.md; Li et al. 2020, "PyTorch Distributed", section 3.2, fill buckets for the same reason).
Accelerators' compilers join messages themselves, and send them while the backward pass still runs: they are left alone.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import Any

import jax
import jax.numpy as jnp

from ladle.jax.devices import on_host
from ladle.jax.freeze import own_state
from ladle.jax.mesh import AXIS, Layout
from ladle.jax.objective import Objective

MOST = 2**22
"""Numbers of one message: 16 MiB. A larger array is one by itself."""


def joins(layout: Layout, objective: Objective, params: Any, model_state: Any) -> bool:
    """Whether the sums of a micro-batch travel so: several processes on processors, and rows that know only themselves.

    A loss that couples rows needs all of them in one place, as far as the program is concerned.
    """
    if layout.alone or not on_host():
        return False
    alike = all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
    return alike and objective.additive and not jax.tree.leaves(own_state(model_state))


def added(layout: Layout, function: Callable[[Any, Any], Any], whole: Any, rows: Any) -> Any:
    """`function(whole, rows)`, a tree of sums over rows in float32, over those of all devices.

    - `whole`: what every device has. `rows`: a tree whose leading axis is split over the devices.
    """
    return layout.each(lambda whole, rows: _over_devices(function(whole, rows)), whole, rows, spread=False)


def _over_devices(tree: Any) -> Any:
    leaves, form = jax.tree.flatten(tree)
    done: list[Any] = []
    for first, end in messages([leaf.size for leaf in leaves], MOST):
        part = leaves[first:end]
        told = jax.lax.psum(jnp.concatenate([leaf.reshape(-1) for leaf in part]), AXIS)
        ends = list(accumulate(leaf.size for leaf in part))[:-1]
        done += [flat.reshape(leaf.shape) for flat, leaf in zip(jnp.split(told, ends), part, strict=True)]
    return form.unflatten(done)


def messages(sizes: list[int], most: int) -> list[tuple[int, int]]:
    """Which arrays of these sizes go together: from one to before another, each together at most `most` numbers.

    >>> messages([3, 4, 9, 1, 1], most=8)
    [(0, 2), (2, 3), (3, 5)]
    """
    found, first, held = [], 0, 0
    for place, size in enumerate(sizes):
        if place > first and held + size > most:
            found.append((first, place))
            first, held = place, 0
        held += size
    return [*found, (first, len(sizes))] if sizes else []
