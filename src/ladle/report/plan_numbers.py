"""Numbers read off a plan as JSON, where it has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ladle.report import numbers


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
    """The sizes about as good as the best; `(None, None)` where speed was not told, and so neither were they."""
    if plan.get("bound") == "unresolved speed":
        return None, None
    low, high = plan.get("within_5_percent") or (None, None)
    return low, high
