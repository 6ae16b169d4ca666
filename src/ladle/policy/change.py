"""A decision that says what changed: against the last one, which every policy remembers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ladle.core.decision import Decision
from ladle.core.spec import BatchSpec
from ladle.policy.coupling import Rate
from ladle.policy.memory import named, noted

UNCHANGED = Rate(1.0, {})


@dataclass(frozen=True)
class Last:
    """Remembers what the last decision put in force: all that a table of sizes remembers.

    - `hyper`: optimiser constants in force; empty where no decision has named any.
    """

    size: int
    micro_size: int
    lr_factor: float
    hyper: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def recall(cls, memory: Any) -> Last | None:
        """The last decision in any policy's memory, or in the JSON of one; None before the first."""
        if isinstance(memory, cls):
            return memory
        names = named(memory)
        if not {"size", "micro_size", "lr_factor"} <= names.keys():
            return None
        return cls(names["size"], names["micro_size"], names["lr_factor"], names.get("hyper", {}))

    def to_json(self) -> dict[str, Any]:
        return noted(self)


@dataclass(frozen=True)
class Reason:
    """Says why a decision was made.

    - `kind`: of policy. `why`: in words, behind what changed. `inputs`: the numbers that it rests on, for the record.
    """

    kind: str
    why: str = ""
    inputs: Mapping[str, float] = field(default_factory=dict)


def decided(
    last: Last | None,
    spec: BatchSpec,
    rate: Rate = UNCHANGED,
    *,
    examples: int,
    reason: Reason,
    stop: int | None = None,
) -> tuple[Last, Decision]:
    """Makes the decision for a size, cut and rate: what is remembered of it, and itself.

    Its reason is there exactly when one of them differs from `last`: what changed, why, where, and by which kind of
    policy.

    >>> last, _ = decided(None, BatchSpec(64, 64), examples=0, reason=Reason("noise"))
    >>> decided(last, BatchSpec(128, 128), examples=12800, reason=Reason("noise", "noise scale 310"))[1].reason
    'batch size 64 -> 128: noise scale 310 at 12,800 examples (noise)'
    """
    # Constants stay in force until a decision names others.
    hyper = dict(rate.hyper) or (last.hyper if last else {})
    now = Last(spec.size, spec.micro_size, rate.lr_factor, hyper)
    changes = _changes(last, now) if last else []
    because = f": {reason.why}" if reason.why else ""
    text = f"{', '.join(changes)}{because} at {examples:,} examples ({reason.kind})" if changes else ""
    return now, Decision(spec, stop, rate.lr_factor, reason=text, hyper=rate.hyper, inputs=reason.inputs)


def rescaled(memory: Any, *, was: float, now: float) -> Any:
    """Counts the last factor of the rate in a memory from another base rate: `now`, where it was counted from `was`.

    For a sitting that goes on with another base rate: without this its first decision would tell of a change that is
    none. Any policy's memory, or the JSON of one; what remembers no factor is left as it is.

    >>> rescaled({"size": 64, "lr_factor": 4.0}, was=0.1, now=0.2)
    {'size': 64, 'lr_factor': 2.0}
    """
    names = named(memory)
    if was == now or "lr_factor" not in names:
        return memory
    return {**names, "lr_factor": names["lr_factor"] * was / now}


def _changes(last: Last, now: Last) -> list[str]:
    """What differs, in words."""
    changes = []
    if not _same(last.size, now.size):
        changes.append(f"batch size {last.size} -> {now.size}")
    if not _same(last.lr_factor, now.lr_factor):
        changes.append(f"learning rate x{last.lr_factor:g} -> x{now.lr_factor:g}")
    changes += [
        f"{name} {last.hyper.get(name, value):.6g} -> {value:.6g}"
        for name, value in now.hyper.items()
        if value != last.hyper.get(name)
    ]
    if not changes and last.micro_size != now.micro_size:
        return [f"micro-batch {last.micro_size} -> {now.micro_size}"]
    return changes


def _same(last: float, now: float) -> bool:
    """What six digits do not show is no change."""
    return math.isclose(last, now, rel_tol=1e-6)
