"""Errors of a regression in the target's own unit, beside the standardised ones that training works with.

rmse = sqrt(squared_error) * target_sd        target_sd: of the training rows, in the target's unit
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ladle.report.numbers import finite, short

FIELD = "valid_rmse"
"""The field that `with_rmse` adds."""

_SQUARED = ("squared_error", "mse")
"""Names of the metric, and of the loss, that are a mean squared error."""


def with_rmse(rows: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Add the root mean squared validation error in the target's unit to the rows that have one, with its seeds' range.

    The squared error is the field `valid_squared_error`, the metric, or the loss where `facts` say that it is one.
    Over seeds it is the root of their mean square. Rows stay as they are where the facts give no scale.

    >>> row = {"name": "64", "metric": "squared_error", "valid_metric": 0.25}
    >>> facts = {"data": {"kind": "regression", "target_sd": 200.0, "target": "price"}}
    >>> with_rmse([row], facts)[0]["valid_rmse"]
    100.0
    """
    made = []
    for row in rows:
        scale, field = target_scale(row, facts), _squared_field(row, facts)
        made.append(row if scale is None or field is None else _scaled(row, field, scale))
    return made


def target_scale(row: Mapping[str, Any], facts: Mapping[str, Any]) -> float | None:
    """Give the target's standard deviation in its own unit: the row's own, or that of `facts`; None where not told."""
    data = facts.get("data")
    known = data if isinstance(data, Mapping) else {}
    scale = row.get("target_sd", known.get("target_sd") if known.get("kind") == "regression" else None)
    return float(scale) if finite(scale) and scale > 0 else None


def target_unit(facts: Mapping[str, Any]) -> str:
    """Name the unit of such an error: that of the target's column, where that has a name.

    >>> target_unit({"data": {"target": "price"}}), target_unit({})
    ('the unit of price', "the target's own unit")
    """
    name = target_name(facts)
    return f"the unit of {name}" if name else "the target's own unit"


def target_name(facts: Mapping[str, Any]) -> str:
    """Name the target's column; "" where it is not told."""
    data = facts.get("data")
    return str((data.get("target") if isinstance(data, Mapping) else None) or "")


def target_words(facts: Mapping[str, Any]) -> str:
    """Describe the target of a regression with its scale; "" where the facts do not tell it.

    >>> target_words({"data": {"kind": "regression", "target": "price", "target_mean": 5398.3, "target_sd": 3574.5}})
    'price, mean 5,400, sd 3,570'
    """
    scale = target_scale({}, facts)
    if scale is None:
        return ""
    mean = facts["data"].get("target_mean")
    parts = [target_name(facts), f"mean {short(mean)}" if finite(mean) else "", f"sd {short(scale)}"]
    return ", ".join(part for part in parts if part)


def _squared_field(row: Mapping[str, Any], facts: Mapping[str, Any]) -> str | None:
    if finite(row.get("valid_squared_error")):
        return "valid_squared_error"
    if str(row.get("metric")).removeprefix("valid_") in _SQUARED:
        return "valid_metric"
    return "valid_loss" if facts.get("loss") in _SQUARED else None


def _scaled(row: Mapping[str, Any], field: str, scale: float) -> Mapping[str, Any]:
    value, spread = row.get(field), row.get("spread") or {}
    if not finite(value) or value < 0:
        return row
    band = spread.get(field)
    ends = [math.sqrt(end) * scale for end in band or () if finite(end) and end >= 0]
    added = {FIELD: ends} if len(ends) == 2 else {}
    return {**row, FIELD: math.sqrt(value) * scale, "spread": {**spread, **added}}
