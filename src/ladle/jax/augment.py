"""Rows changed at random inside a compiled update: where that is done, and whether a function can be traced for it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import numpy as np

from ladle.core.npy import one_line
from ladle.core.stage import DeviceStage


def changed(augment: DeviceStage | None, tables: Mapping[str, Any], epoch: Any, places: Any, rows: Any) -> Any:
    """`rows` as `augment` makes them at `places` (`u32[k]`) of pass `epoch`; as they are where nothing says its seed.

    A feed whose rows were changed on the way says none.
    """
    if augment is None or augment.table not in tables:
        return rows
    return augment.traced(rows, tables[augment.table], epoch, places, jax.vmap)


def why_not(augment: DeviceStage, data: Any) -> str | None:
    """Why `augment` cannot change rows of `data` inside a compiled program; None where it can. Nothing is computed."""
    one, words = jax.ShapeDtypeStruct((), np.uint32), jax.ShapeDtypeStruct((2,), np.uint32)
    kept = jax.dtypes.canonicalize_dtype
    rows = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((2, *leaf.shape[1:]), kept(leaf.dtype)), data)
    try:
        traced = partial(augment.traced, vmap=jax.vmap)
        made = jax.eval_shape(traced, rows, words, one, words)
    except Exception as error:  # Whatever a user's function makes of arrays that have no values yet.
        return f"{type(error).__name__}: {one_line(error)}"
    bad = [leaf.shape for leaf in jax.tree.leaves(made) if leaf.shape[:1] != (2,)]
    return f"two rows became an array of shape {bad[0]}" if bad else None
