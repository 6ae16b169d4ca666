"""Numbers read off a plan as JSON, where it has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ladle.report import numbers

SURE = 0.9
"""The probability with which a plan promises that sizes are as good as the best (`planner/sure.py`)."""


def evidence(plan: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The evidence of that name where it has a number, else an empty mapping."""
    listed = plan.get("evidence")
    known = [one for one in listed if isinstance(one, Mapping)] if isinstance(listed, list | tuple) else []
    return next((one for one in known if one.get("name") == name and numbers.finite(one.get("value"))), {})


def update_seconds(plan: Mapping[str, Any], size: float) -> float | None:
    """t(B) = fixed + per example * B, the plan's line; None where it has none."""
    fixed, each = (evidence(plan, name).get("value") for name in ("fixed_seconds", "per_example_seconds"))
    return None if fixed is None or each is None else fixed + each * size


def within_5_percent(plan: Mapping[str, Any]) -> tuple[Any, Any]:
    """The sizes that surely are about as good as the best; `(None, None)` where the plan promises that of none.

    That is where speed was not told, and where the chosen size is named alone, with a smaller probability or none.
    """
    low, high = plan.get("within_5_percent") or (None, None)
    alone = low == high and (evidence(plan, "within_confidence").get("value") or 0.0) < SURE
    return (None, None) if alone or plan.get("bound") == "unresolved speed" else (low, high)


def evidence_values(plan: Mapping[str, Any], *names: str) -> list[float] | None:
    """The values of these numbers among the evidence, or None where one of them is not there."""
    values = [evidence(plan, name).get("value") for name in names]
    return [float(value) for value in values if value is not None] if None not in values else None


def curve_points(plan: Mapping[str, Any], name: str, width: int) -> np.ndarray:
    """Points of a curve as `f64[points, columns]`, those with a missing number among the first `width` left out."""
    rows = (plan.get("curves") or {}).get(name) or []
    table = np.array([[np.nan if v is None else float(v) for v in row] for row in rows], dtype=float)
    if table.ndim != 2 or table.shape[1] < width:
        return np.empty((0, width))
    table = table[np.isfinite(table[:, :width]).all(axis=1)]
    return table[np.argsort(table[:, 0])]


def interpolated(points: np.ndarray, x: Any, log: bool = False) -> float | None:
    """The second column at `x` of the first, linear between points; by the logarithm of `x` where `log`."""
    if not numbers.finite(x):
        return None
    places = np.log(points[:, 0]) if log else points[:, 0]
    return float(np.interp(np.log(x) if log else x, places, points[:, 1]))


def speed_at(size: Any, fixed: float, each: float) -> float | None:
    """Examples per second at `size` by the plan's line; None where it takes no time."""
    seconds = fixed + each * size if numbers.finite(size) else 0.0
    return size / seconds if seconds > 0 else None
