"""What all policies share: a rate that follows the size, and a decision that says what changed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

from ladle.core.decision import Decision
from ladle.core.errors import ArgumentError, must
from ladle.core.scaling.coupling import Rule, lr_factor
from ladle.core.spec import BatchSpec

Memory = dict[str, Any] | None
"""`{"size": ..., "micro_size": ..., "lr_factor": ...}` of the last decision, `hyper` where there is one, and whatever
else a policy keeps; JSON. None before the first."""

Rate = tuple[float, Mapping[str, float]]
"""Factor of the learning rate, and the optimiser constants in force (empty for none)."""


class Coupled(Protocol):
    """How rate and constants follow the size, such as `ladle.scaling.Coupling`: a frozen value."""

    def at(self, size: int) -> tuple[float, Mapping[str, float]]:
        """`(lr_factor, constants)` at `size`."""
        ...


AnyCoupling = Rule | Coupled


def coupled(coupling: AnyCoupling, first: int, size: int) -> Rate:
    """`(lr_factor, constants)` at `size`: of a rule by name, counted from `first`, or of a value with `at(size)`.

    Raises `ArgumentError` for an unknown rule.

    >>> coupled("linear", first=64, size=256)
    (4.0, {})
    """
    if isinstance(coupling, str):
        return lr_factor(coupling, size / first), {}
    factor, hyper = coupling.at(size)
    return float(factor), dict(hyper)


def require_coupling(coupling: AnyCoupling) -> None:
    """Refuse an unknown rule now, not at the first change."""
    if isinstance(coupling, str):
        lr_factor(coupling, 1.0)
    elif not hasattr(coupling, "at"):
        why, remedy = "the rate has to follow the size somehow", "coupling='square root'"
        raise ArgumentError(must("coupling", "be a rule or have a method at(size)", coupling, why, remedy))


def decided(
    memory: Memory,
    spec: BatchSpec,
    rate: Rate = (1.0, {}),
    *,
    examples: int,
    kind: str,
    why: str = "",
    inputs: Mapping[str, float] | None = None,
    stop: int | None = None,
) -> tuple[dict[str, Any], Decision]:
    """`memory` with the new size, cut and rate in it, and the decision that says so.

    The reason is there exactly when one of them differs from `memory`: what changed, `why`, where, and by which `kind`
    of policy.

    >>> memory, _ = decided(None, BatchSpec(64, 64), examples=0, kind="noise")
    >>> decided(memory, BatchSpec(128, 128), examples=12800, why="noise scale 310", kind="noise")[1].reason
    'batch size 64 -> 128: noise scale 310 at 12,800 examples (noise)'
    """
    factor, hyper = rate
    new: dict[str, Any] = {"size": spec.size, "micro_size": spec.micro_size, "lr_factor": factor}
    if hyper:
        new["hyper"] = dict(hyper)
    changes = _changes(memory, new) if memory and "size" in memory else []
    because = f": {why}" if why else ""
    reason = f"{', '.join(changes)}{because} at {examples:,} examples ({kind})" if changes else ""
    return {**(memory or {}), **new}, Decision(spec, stop, factor, reason=reason, hyper=hyper, inputs=inputs or {})


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    changes = [
        f"{words} {mark}{old[name]:g} -> {mark}{new[name]:g}" if mark else f"{words} {old[name]} -> {new[name]}"
        for name, words, mark in (("size", "batch size", ""), ("lr_factor", "learning rate", "x"))
        if not math.isclose(old[name], new[name], rel_tol=1e-6)  # What six digits do not show is no change.
    ]
    was, now = old.get("hyper", {}), new.get("hyper", {})
    changes += [
        f"{name} {was.get(name, value):.6g} -> {value:.6g}" for name, value in now.items() if value != was.get(name)
    ]
    if not changes and old["micro_size"] != new["micro_size"]:
        return [f"micro-batch {old['micro_size']} -> {new['micro_size']}"]
    return changes


def rescaled(memory: Any, ratio: float) -> Any:
    """A policy's memory with the last factor of the rate times `ratio`: counted from another base rate."""
    if ratio == 1 or not isinstance(memory, Mapping) or "lr_factor" not in memory:
        return memory
    return {**memory, "lr_factor": memory["lr_factor"] * ratio}
