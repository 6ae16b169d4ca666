"""How the noise of an update is measured: decided once, as a `Way`, and taken along with its gradient."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp

from ladle.core.moments import Gauge
from ladle.jax.geometry import preconditioner
from ladle.jax.meaning import Meaning
from ladle.jax.noise_sums import View
from ladle.jax.offload import fetched
from ladle.jax.parts import gradient_of_parts
from ladle.jax.rows import MicroBatch
from ladle.jax.shard import kept
from ladle.jax.state import State
from ladle.jax.update import Accumulated, micro_gradient, zero


class Way(Enum):
    """What the pieces of an update are, of whose gradients its noise is made."""

    NOTHING = "not measured at all"
    MICRO_BATCHES = "its micro-batches; one alone has no spread"
    PARTS = "parts that its one micro-batch is cut into"
    DEVICES = "each device's share of its one micro-batch"
    EXAMPLES = "its examples"

    @property
    def cuts(self) -> bool:
        """Whether the micro-batch is cut for the purpose: only where its turn is, in a program of its own."""
        return self in (Way.PARTS, Way.DEVICES)


def way_of(meaning: Meaning, accumulate: bool) -> Way:
    """The way of updates that `accumulate` several micro-batches, or hold one."""
    gauge = meaning.gauge
    if not meaning.has_noise:
        return Way.NOTHING
    if gauge is not None and gauge.per_example:
        return Way.EXAMPLES
    if accumulate or gauge is None or gauge.parts == 1:
        return Way.MICRO_BATCHES
    return Way.PARTS if meaning.layout.devices == 1 else Way.DEVICES


def stride(meaning: Meaning, way: Way, epoch_size: int, size: int) -> int:
    """From one update that is measured to the next, in passes of `epoch_size`: the same in every window."""
    gauge = meaning.gauge or Gauge()
    if way is Way.EXAMPLES:
        return 1
    return gauge.every if way is Way.PARTS else gauge.stride(-(-epoch_size // size))


def is_due(offset: Any, size: Any, count: Any, every: Any) -> Any:
    """Whether the update of `count` examples at place `offset` of a pass is measured; also where these are traced.

    A ragged last batch is not: its |G|^2 would count as much as the others', with many times the error.
    """
    return (offset // size % every == 0) & (count == size)


def view_of(meaning: Meaning, state: State) -> View | None:
    """How gradients are looked at; None where no moments are taken, or the loss is no sum over examples."""
    if not meaning.has_noise:
        return None
    if meaning.gauge is None or meaning.gauge.geometry == "sgd":
        return View(layout=meaning.layout)
    return View(preconditioner(fetched(meaning.layout, state.opt_state), state.hyper), layout=meaning.layout)


def projects(meaning: Meaning) -> bool:
    """Whether the noise along the gradient is wanted too."""
    return meaning.has_noise and meaning.gauge is not None and meaning.gauge.projection


def nothing(meaning: Meaning, state: State) -> Accumulated:
    """Empty sums of an update from `state` on."""
    none = zero(state.params, state.model_state, len(meaning.objective.metrics), meaning.has_noise)
    return none._replace(gradient=kept(meaning.layout, none.gradient))


def measured_gradient(
    meaning: Meaning, way: Way, state: State, model_state: Any, micro: MicroBatch, view: View | None, due: Any
) -> Accumulated:
    """The sums of one micro-batch, with those of the noise as `way` has it.

    - `model_state`: that of the micro-batch before. `due`: `bool[]`, perhaps traced. What is cut is due.
    """
    what = meaning.objective, state.params, model_state
    if way is Way.EXAMPLES:
        each = gradient_of_parts(*what, micro, view, parts=micro.rows, together=True)
        # No condition, through which every example's gradient would go: its norm is taken where it is made.
        return each._replace(pieces=jax.tree.map(lambda leaf: jnp.where(due, leaf, 0), each.pieces))
    if way is Way.DEVICES:
        return gradient_of_parts(*what, micro, view, parts=meaning.layout.devices, together=True)
    if way is Way.PARTS:
        return _gradient_in_parts(meaning, state, model_state, micro, view)
    return micro_gradient(*what, micro, view, due, meaning.layout)


def _gradient_in_parts(
    meaning: Meaning, state: State, model_state: Any, micro: MicroBatch, view: View | None
) -> Accumulated:
    assert meaning.gauge is not None and view is not None
    what, parts = (meaning.objective, state.params, model_state), min(meaning.gauge.parts, micro.rows)
    if not meaning.gauge.projection or parts < 4:
        return gradient_of_parts(*what, micro, view, parts=parts)
    cuts = 0, *thirds(parts), parts
    thirds_of = [micro.between(*(micro.rows * cut // parts for cut in ends)) for ends in pairwise(cuts)]

    def walk(third: int, done: Accumulated, toward: Any) -> Accumulated:
        some = cuts[third + 1] - cuts[third]
        return done.add(gradient_of_parts(*what, thirds_of[third], view._replace(toward=toward), parts=some))

    return in_thirds(lambda: nothing(meaning, state), walk, lambda done: done.mean(view.scale), Accumulated.add)


def thirds(pieces: Any, largest: Callable[[Any, int], Any] = max) -> tuple[Any, Any]:
    """Where the first two thirds of so many pieces end; also of a traced number, with `largest=jnp.maximum`.

    >>> thirds(8), thirds(2)
    ((2, 4), (1, 2))
    """
    third = largest(pieces // 3, 1)
    return third, 2 * third


def in_thirds(
    nothing: Callable[[], Accumulated],
    walk: Callable[[int, Accumulated, Any], Accumulated],
    direction: Callable[[Accumulated], Any],
    join: Callable[[Accumulated, Accumulated], Accumulated],
) -> Accumulated:
    """The sums of an update walked in thirds, where the noise along the gradient is wanted.

    The last third is looked at along the mean gradients of the first two: three parts that share no example.

    - `nothing()`: empty sums. `walk(third, done, toward)`: `done` with third 0, 1 or 2 of the pieces added.
    - `direction(sums)`: P times their mean gradient. `join(sums, later)`: both.
    """
    one = walk(0, nothing(), None)
    two = walk(1, nothing()._replace(model_state=one.model_state), None)
    toward = direction(one), direction(two)
    return walk(2, join(one, two), toward)
