"""What the norms of built-in models are called, and which of them can be over which layers, in every backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ladle.core.errors import ArgumentError, must, nearest

KINDS = ("batch", "layer", "group", "rms")

GROUPS = 8
"""Groups of a group norm where nothing is said."""


def checked_norm(
    kind: str | None, groups: Any, widths: Sequence[int], *, places: int = 1, known: Sequence[str] = KINDS
) -> int | None:
    """The groups of a norm over layers of `widths` features, each at `places` places or more; None but for "group".

    - `known`: the norms that this kind of model has.

    Raises `ArgumentError` for what is no norm, and for one of single values, which would all become zero.

    >>> checked_norm("group", None, (16, 32)), checked_norm("layer", None, (16,))
    (8, None)
    """
    if kind is not None and kind not in known:
        why = "there is no such norm" if kind not in KINDS else "it is made for hidden layers of another kind of model"
        raise ArgumentError(must("norm", "be a known name or None", kind, why, nearest(str(kind), known)))
    if kind is not None and not widths:
        why = "a linear model has no hidden layer to normalise"
        raise ArgumentError(must("norm", "be None for two widths", kind, why, "mlp(64, 128, 10)"))
    if groups is not None and kind != "group":
        why = "it is how many groups of features group norm takes apart"
        raise ArgumentError(must("groups", "come with norm='group'", groups, why, "norm='group'"))
    found = _groups(groups, widths) if kind == "group" else None
    if kind in ("layer", "group") and places * min(widths) // (found or 1) < 2:
        why, width = "a single value has no variance, and would become zero", min(widths)
        raise ArgumentError(must("norm", "have two values or more to normalise", f"{kind}, {width} wide", why, "'rms'"))
    return found


def _groups(groups: Any, widths: Sequence[int]) -> int:
    """`groups` as a whole number that divides each of `widths`, `GROUPS` for None."""
    groups = GROUPS if groups is None else groups
    if isinstance(groups, bool) or not hasattr(groups, "__index__") or groups < 1:
        why = "features are cut into groups"
        raise ArgumentError(must("groups", "be a whole number of at least 1", groups, why, f"groups={GROUPS}"))
    for width in widths:
        if width % groups:
            best = max(count for count in range(1, min(groups, width) + 1) if not any(one % count for one in widths))
            why = f"a layer has {width} features, and groups are of one size"
            raise ArgumentError(must("groups", f"divide {width}", groups, why, f"groups={best}"))
    return int(groups)
