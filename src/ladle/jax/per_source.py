"""Losses of each source of a mixture, beside that of all: `train_loss/NAME` in the record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp

from ladle.core.errors import ArgumentError, must
from ladle.core.observation import OWN_WEIGHT
from ladle.jax.objective import Objective


def by_source(objective: Objective, names: Sequence[str], field: str = "source") -> Objective:
    """`objective` that also tells the mean loss of each source: `train_loss/NAME` in a reading.

        train_loss/NAME = sum of w_i l_i / sum of w_i        over the examples i of that source

    Exact over any cut of the batch, padding (weight 0) and number of devices: both sums are carried like that of the
    loss, and divided once. A source without any weight in a window has no entry. Gradients and everything else stay as
    they are.

    - `names`: of source 0, 1, ... as the data numbers them (`Joined`, in the order of its sources). A number outside
      of `0 .. len(names) - 1` counts in the loss of all alone.
    - `field`: the entry of the data that holds the numbers, `i32[rows]`. The model does not see it. In evaluation it
      may be missing: there is then nothing to tell of any source.

    Raises `ArgumentError` for names that are not different, or (when the loss is traced) for data without the field.
    """
    told = tuple(names)
    if not told or len(set(told)) < len(told) or not all(told):
        why, remedy = "each source has its own line", 'names=("a", "b")'
        raise ArgumentError(must("names", "be one or more, all different", told, why, remedy))

    kinds = (kind + name for name in told for kind in (_LOSS, OWN_WEIGHT))
    losses = SourceLosses(objective.losses, told, field)
    return replace(objective, losses=losses, metrics=(*objective.metrics, *kinds))


@dataclass(frozen=True)
class SourceLosses:
    """`losses` with those of each source beside them; see `ladle.jax.objective.Objective`."""

    losses: Callable[..., Any]
    names: tuple[str, ...]
    field: str

    def applied(self) -> SourceLosses:
        return replace(self, losses=getattr(self.losses, "applied", lambda: self.losses)())

    def __call__(self, params: Any, model_state: Any, rows: Any, train: bool):
        source, rows = _taken_out(rows, self.field, train)
        values, metrics, model_state = self.losses(params, model_state, rows, train)
        if jnp.shape(values) != rows.weight.shape:
            return values, metrics, model_state  # Refused where losses are checked, in its own words.
        own = {}
        for number, name in enumerate(self.names):
            mine = source == number
            own[_LOSS + name] = jnp.where(mine, values.astype(jnp.float32), jnp.float32(0))
            own[OWN_WEIGHT + name] = mine.astype(jnp.float32)
        return values, {**metrics, **own}, model_state


_LOSS = "loss/"


def _taken_out(rows: Any, field: str, train: bool) -> tuple[Any, Any]:
    """The numbers of the sources, and the rows without them."""
    if field in rows.data:
        rest = {name: leaf for name, leaf in rows.data.items() if name != field}
        return rows.data[field], rows._replace(data=rest)
    if train:
        why, remedy = "it says which source a row is of", "Joined({...}) as the source"
        raise ArgumentError(must("data", f"have an entry {field!r}", sorted(rows.data), why, remedy))
    return jnp.full(rows.weight.shape, -1, jnp.int32), rows
