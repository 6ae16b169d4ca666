"""`Retreating`: any policy, with micro-batches cut before memory runs out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ladle.core.decision import Decision, Progress
from ladle.core.memory import plain
from ladle.core.spec import require_count
from ladle.core.traits import Traits, traits_of
from ladle.policy.ahead import require_policy
from ladle.policy.change import Last, Reason, decided
from ladle.policy.coupling import Rate
from ladle.policy.memory import named
from ladle.policy.refuse import require_between

if TYPE_CHECKING:
    from ladle.core.plan import Plan
    from ladle.core.protocols import Policy


@dataclass(frozen=True)
class Retreat:
    """Remembers how far micro-batches were cut, and what the policy within remembers.

    - `last`: the last decision, made at position `looked`; both None before the first.
    - `most`: largest micro-batch since the last cut; None where none was made. `used_bytes`: in use at that cut.
    """

    inner: Any
    last: Last | None = None
    looked: int | None = None
    most: int | None = None
    used_bytes: float | None = None

    @classmethod
    def recall(cls, memory: Any) -> Retreat:
        """From any policy's memory, or the JSON of one. The inner policy finds by itself what it lacks."""
        if isinstance(memory, cls):
            return memory
        names = named(memory)
        last, most, used = Last.recall(memory), names.get("most"), names.get("bytes")
        return cls(names.get("inner"), last, names.get("looked"), most, used)

    def to_json(self) -> dict[str, Any]:
        own = {"looked": self.looked, "most": self.most, "bytes": self.used_bytes}
        last = self.last.to_json() if self.last else {}
        return {"inner": plain(self.inner), **last, **{name: value for name, value in own.items() if value is not None}}


@dataclass(frozen=True)
class Retreating:
    """Cuts the micro-batches of any policy before memory runs out. The batch size stays, and with it the training.

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
    def traits(self) -> Traits:
        inner = traits_of(self.inner)
        return replace(inner, needs=(*inner.needs, "memory"), limit="", direction="", inner="inner")

    def init(self, plan: Plan | None) -> Retreat:
        return Retreat(self.inner.init(plan))

    def decide(self, memory: Any, progress: Progress) -> tuple[Retreat, Decision]:
        kept = Retreat.recall(memory)
        inner, chosen = self.inner.decide(kept.inner, progress)
        cut = self._cut(kept, progress)
        kept = replace(cut or kept, inner=inner, looked=progress.examples)
        micro = chosen.spec.micro_size if kept.most is None else min(chosen.spec.micro_size, kept.most)
        share = _share(progress.reading)
        inputs = {**chosen.inputs, **({} if share is None else {"memory_share": share})}
        why = f"{share:.0%} of the memory in use".replace("%", " %") if cut else ""
        before = kept.last
        if before and cut and chosen.reason:  # What the policy within changed, it tells by itself.
            hyper = dict(chosen.hyper) or before.hyper
            before = replace(before, size=chosen.spec.size, lr_factor=chosen.lr_factor, hyper=hyper)
        last, decision = decided(
            before,
            replace(chosen.spec, micro_size=micro),
            Rate(chosen.lr_factor, chosen.hyper),
            examples=progress.examples,
            reason=Reason("retreat", why, inputs),
            stop=chosen.stop,
        )
        both = "; ".join(text for text in (chosen.reason, decision.reason if cut else "") if text)
        decision = replace(decision, reason=both if decision.reason else "", clock=chosen.clock, reset=chosen.reset)
        return replace(kept, last=last), decision

    def _cut(self, kept: Retreat, progress: Progress) -> Retreat | None:
        """What is remembered of a cut that is due here; None where none is."""
        if kept.last is None or kept.looked is None or progress.examples <= kept.looked:
            return None
        share = _share(progress.reading)
        if share is None or share <= self.share or kept.last.micro_size <= self.smallest:
            return None
        used = progress.reading["memory_bytes"]
        if kept.used_bytes is not None and 0.98 <= used / kept.used_bytes <= 1.1:
            return None  # The last cut freed nothing: it is not the micro-batch.
        half = 1 << ((kept.last.micro_size - 1).bit_length() - 1)
        return replace(kept, most=max(half, self.smallest), used_bytes=used)


def _share(reading: Mapping[str, float]) -> float | None:
    """Share of the memory in use; None where that is not known."""
    limit = reading.get("memory_limit_bytes", 0.0)
    return reading["memory_bytes"] / limit if limit > 0 and "memory_bytes" in reading else None
