"""State that the devices share: every array of it is cut along one axis, and each device keeps a part.

Parameters, gradients, the optimiser's state and the average of the weights are all cut by one rule of their shapes, so
that what belongs together lies together: an update reads and writes nothing but a device's own part. While a
micro-batch is computed each device needs the weights whole, and gathers them; its gradient goes back to the parts as a
sum over the devices (Rajbhandari et al. 2020, "ZeRO: Memory optimizations toward training trillion parameter models",
arXiv 1910.02054, section 5). The programs say where arrays lie, and the compiler puts the messages in.

Nothing here changes anything for a layout whose `shard_state` is False; of one with `offload`, `kept` says that arrays
which are not in the host's memory are whole on every device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
from jax.sharding import NamedSharding, PartitionSpec

from ladle.jax.mesh import AXIS, Layout
from ladle.jax.objective import Objective

SMALL = 4096
"""Arrays of fewer numbers are on every device: a message costs more than their memory is worth."""


def axis_of(shape: Sequence[int], devices: int) -> int | None:
    """The axis along which an array of `shape` is cut into equal parts: the largest one that `devices` divides.

    The first of several that are as large. None where there is no such axis, or the array has fewer than `SMALL`
    numbers: every device then has all of it.

    >>> axis_of((784, 512), 8), axis_of((3, 3, 64, 128), 8), axis_of((512,), 8), axis_of((1001, 33), 8)
    (0, 3, None, None)
    """
    if math.prod(shape) < SMALL or devices < 2:
        return None
    divided = [axis for axis, length in enumerate(shape) if length % devices == 0]
    return max(divided, key=lambda axis: shape[axis], default=None)


def sharding_of(layout: Layout, shape: Sequence[int]) -> NamedSharding:
    """Where an array of a state lies."""
    axis = axis_of(shape, layout.devices) if layout.shard_state else None
    return layout.replicated if axis is None else NamedSharding(layout.mesh, PartitionSpec(*[None] * axis, AXIS))


def axis_in(sharding: Any) -> int | None:
    """The axis that `sharding` cuts, of an array of a state; None where it cuts none.

    >>> from ladle.jax.mesh import layout
    >>> axis_in(layout(1).split), axis_in(layout(1).replicated), axis_in(None)
    (0, None, None)
    """
    spec = tuple(getattr(sharding, "spec", ()))
    return spec.index(AXIS) if AXIS in spec else None


def is_cut(layout: Layout | None, leaf: Any) -> bool:
    """Whether `layout` keeps an array of that shape in parts."""
    return layout is not None and layout.shard_state and axis_of(leaf.shape, layout.devices) is not None


def kept(layout: Layout | None, tree: Any) -> Any:
    """Inside a compiled program: `tree` as a state is kept, each array in its parts."""
    if layout is None or layout.uniform:
        return tree

    def leaf(value: Any) -> Any:
        if value.dtype == jax.dtypes.float0:  # The gradient of a whole number is no array.
            return value
        if jax.typeof(value).memory_space == jax.memory.Space.Host:  # It was told its place when it went there.
            return value
        return jax.lax.with_sharding_constraint(value, sharding_of(layout, value.shape))

    return jax.tree.map(leaf, tree)


def whole(layout: Layout, tree: Any) -> Any:
    """Inside a compiled program: `tree` with every array whole on every device."""
    if not layout.shard_state:
        return tree

    def leaf(value: Any) -> Any:
        return jax.lax.with_sharding_constraint(value, layout.replicated) if is_cut(layout, value) else value

    return jax.tree.map(leaf, tree)


def bytes_each(layout: Layout, tree: Any) -> int:
    """Bytes that each device keeps of a state, of arrays or shapes."""
    parts = (leaf.size // (layout.devices if is_cut(layout, leaf) else 1) for leaf in jax.tree.leaves(tree))
    return sum(part * leaf.dtype.itemsize for part, leaf in zip(parts, jax.tree.leaves(tree), strict=True))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def gathered(layout: Layout, params: Any) -> Any:
    """`whole`, whose gradient is in parts: a device receives the sum of its own part alone.

    As it stands, the gradient of what is whole would be whole on every device.
    """
    return whole(layout, params)


def _gathered_forward(layout: Layout, params: Any) -> tuple[Any, None]:
    return whole(layout, params), None


def _gathered_backward(layout: Layout, _: None, gradient: Any) -> tuple[Any]:
    return (kept(layout, gradient),)


gathered.defvjp(_gathered_forward, _gathered_backward)


def over(objective: Objective, layout: Layout) -> Objective:
    """`objective` of parameters in parts; the same where they are whole."""
    if not layout.shard_state:
        return objective
    predict = objective.predict and OutputsOfParts(objective.predict, layout)
    return replace(objective, losses=LossesOfParts(objective.losses, layout), predict=predict)


@dataclass(frozen=True)
class LossesOfParts:
    """`losses` of parameters in parts: see `Objective`."""

    losses: Callable[..., Any]
    layout: Layout

    def __call__(self, params: Any, model_state: Any, rows: Any, train: bool) -> Any:
        return self.losses(gathered(self.layout, params), whole(self.layout, model_state), rows, train)


@dataclass(frozen=True)
class OutputsOfParts:
    """`predict` of parameters in parts."""

    predict: Callable[..., Any]
    layout: Layout

    def __call__(self, params: Any, model_state: Any, x: Any) -> Any:
        return self.predict(whole(self.layout, params), whole(self.layout, model_state), x)
