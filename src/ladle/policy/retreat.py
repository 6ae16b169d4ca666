"""`Retreating`: any policy, with micro-batches cut before memory runs out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ladle.core.decision import Decision, Progress
from ladle.core.spec import require_count
from ladle.policy.ahead import require_policy
from ladle.policy.change import Memory, decided
from ladle.policy.refuse import require_between

if TYPE_CHECKING:
    from ladle.core.plan import Plan
    from ladle.core.protocols import Policy


@dataclass(frozen=True)
class Retreating:
    """Any policy, with micro-batches halved before memory runs out. The batch size stays, and with it the training.

    Halves when `memory_bytes` is above `share` of `memory_limit_bytes`; again only if the last time freed something, or
    memory has grown by a tenth since: what is not the micro-batch's memory is not fought. Never goes back up.

    - `inner`: the policy that sets sizes. `smallest`: micro-batches are not cut below.

    >>> from ladle.policy.constant import Constant
    >>> policy = Retreating(Constant(64, 64))
    >>> memory, _ = policy.decide(policy.init(None), Progress())
    >>> full = {"memory_bytes": 95e9, "memory_limit_bytes": 100e9}
    >>> policy.decide(memory, Progress(6400, reading=full))[1].reason
    'micro-batch 64 -> 32: 95 % of the memory in use at 6,400 examples (retreat)'
    """

    inner: Policy
    share: float = 0.9
    smallest: int = 1

    def __post_init__(self) -> None:
        require_policy(self.inner)
        require_between("share", self.share, 0, 1, why="it is a share of the memory", above=True)
        require_count("smallest", self.smallest)

    @property
    def needs(self) -> tuple[str, ...]:
        return (*getattr(self.inner, "needs", ()), "memory")

    def init(self, plan: Plan | None) -> Memory:
        return {"inner": self.inner.init(plan)}

    def decide(self, memory: Memory, progress: Progress) -> tuple[Memory, Decision]:
        kept = {"inner": None, **(memory or {})}  # The inner policy goes on from the last size by itself.
        kept["inner"], chosen = self.inner.decide(kept["inner"], progress)
        used = self._used(progress.reading)
        retreats = progress.examples > kept.get("looked", progress.examples) and self._retreats(kept, progress.reading)
        if retreats:
            half = 1 << ((kept["micro_size"] - 1).bit_length() - 1)
            kept |= {"most": max(half, self.smallest), "bytes": progress.reading["memory_bytes"]}
        kept["looked"] = progress.examples
        micro = min(chosen.spec.micro_size, kept.get("most", chosen.spec.micro_size))
        inputs = {**chosen.inputs, **({"memory_share": used} if used is not None else {})}
        why = f"{used:.0%} of the memory in use".replace("%", " %") if retreats and used is not None else ""
        how: dict[str, Any] = {"kind": "retreat", "why": why, "inputs": inputs, "stop": chosen.stop}
        spec = replace(chosen.spec, micro_size=micro)
        kept, decision = decided(kept, spec, (chosen.lr_factor, chosen.hyper), examples=progress.examples, **how)
        both = "; ".join(reason for reason in (chosen.reason, decision.reason if retreats else "") if reason)
        return kept, replace(decision, reason=both if decision.reason else "", clock=chosen.clock)

    def _used(self, reading: Mapping[str, float]) -> float | None:
        limit = reading.get("memory_limit_bytes", 0.0)
        return reading["memory_bytes"] / limit if limit > 0 and "memory_bytes" in reading else None

    def _retreats(self, memory: Mapping[str, Any], reading: Mapping[str, float]) -> bool:
        used = self._used(reading)
        if used is None or used <= self.share or memory["micro_size"] <= self.smallest:
            return False
        return not 0.98 <= reading["memory_bytes"] / memory.get("bytes", reading["memory_bytes"] * 2) <= 1.1
