"""Which way a metric is better, as its record states it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ladle.core.backend import Direction
from ladle.core.duration import direction_of


def direction(metric: str, facts: Mapping[str, Any]) -> Direction:
    """Tell which way `metric` is better: as `facts["directions"]` states it; None where that says nothing.

    Records without directions, and names that they leave out, are read by name. `facts`: of a run.json, compare.json
    or search.json.

    >>> direction("valid_hits", {"directions": {"hits": "higher"}}), direction("hits", {"directions": {"hits": None}})
    ('higher', None)
    >>> direction("valid_accuracy", {}), direction("hits", {})
    ('higher', None)
    """
    name = metric.removeprefix("valid_").removeprefix("train_")
    stated = facts.get("directions")
    if not isinstance(stated, Mapping) or name not in stated:
        return direction_of(name)
    return stated[name] if stated[name] in ("higher", "lower") else None


def unstated(metric: str) -> str:
    """The footnote of a metric without a direction.

    >>> unstated("hits")
    'hits did not state its direction: nothing is called best by it.'
    """
    return f"{metric} did not state its direction: nothing is called best by it."
