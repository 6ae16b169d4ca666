"""What of a record goes to a tracker, and by which names: the numbers of a line, parameters, the end of a run."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

ENDING = ("status", "why", "final", "best", "energy", "checkpoint", "refused")
"""What `run.json` says of how a run went: no parameters of it."""


def numbers(line: Mapping[str, Any]) -> dict[str, float]:
    """Every finite number of a record line.

    >>> numbers({"examples": 64, "train_loss": 0.5, "noise_scale": None, "reason": "grew"})
    {'examples': 64, 'train_loss': 0.5}
    """
    return {name: value for name, value in line.items() if _number(value)}


def parameters(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What a run is, flat: names joined by dots, lists as JSON. The plan is among it.

    >>> parameters({"size": 64, "optimizer": {"name": "adam", "lr": 0.001}, "status": "running", "plan": None})
    {'size': 64, 'optimizer.name': 'adam', 'optimizer.lr': 0.001}
    """
    return dict(_flat({name: value for name, value in facts.items() if name not in ENDING}, ""))


def ending(facts: Mapping[str, Any]) -> dict[str, float]:
    """The last numbers of a run and its best evaluation, as `final/valid_loss` and `best/valid_loss`."""
    final = {f"final/{name}": value for name, value in numbers(facts.get("final") or {}).items()}
    best = facts.get("best") or {}
    return final | ({f"best/{best['metric']}": best["value"]} if _number(best.get("value")) else {})


def words_of(facts: Mapping[str, Any]) -> dict[str, str]:
    """How a run ended in words: its status and why."""
    return {name: str(facts[name]) for name in ("status", "why") if facts.get(name)}


def _flat(value: Mapping[str, Any], before: str) -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _flat(inner, f"{before}{name}.")
        elif inner is not None:
            yield f"{before}{name}", json.dumps(inner) if isinstance(inner, list | tuple) else inner


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
