"""What is done with a policy before a run: it is refused, or its sizes end with the pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from ladle.core.errors import ArgumentError, must
from ladle.core.traits import traits_of
from ladle.policy.coupling import coupled
from ladle.policy.range import Range

Kind = TypeVar("Kind")


def within(policy: Kind, rows: int) -> Kind:
    """Gives `policy` limits of its size that end at `rows`, those of a pass: no batch is larger. Others are left alone.

    A limit is what a policy declares as one in its traits; a size that is asked for by name is none.

    >>> from ladle.policy import NoiseFollow, Range
    >>> within(NoiseFollow(Range(32, 1024, micro_size=256)), rows=500).sizes.grid
    (32, 64, 128, 256, 500)
    """
    held: Any = policy
    traits = traits_of(policy)
    if traits.inner:
        return replace(held, **{traits.inner: within(getattr(held, traits.inner), rows)})
    if not traits.limit:
        return policy
    limit = getattr(held, traits.limit)
    if isinstance(limit, Range):
        ended = limit.ending(rows)
    else:
        ended = rows if (traits.smallest or 1) <= rows < limit else limit
    return replace(held, **{traits.limit: ended})


def rate_size_of(policy: Any, first: int) -> int:
    """Finds the size that the run's rate belongs to: the policy's own word for it, or the `first` size."""
    return traits_of(policy).rate_size or first


def directed(policy: Kind, higher: Callable[[str], bool]) -> Kind:
    """`policy` with its metric's direction, where it follows one and does not say that itself.

    - `higher(metric)`: whether more of it is better.
    """
    held: Any = policy
    traits = traits_of(policy)
    if traits.inner:
        return replace(held, **{traits.inner: directed(getattr(held, traits.inner), higher)})
    if traits.direction and getattr(held, traits.direction) is None:
        return replace(held, **{traits.direction: higher(traits.needs[0])})
    return policy


def require_policy(policy: Any) -> None:
    """Refuse what is no policy."""
    if not (hasattr(policy, "init") and hasattr(policy, "decide")):
        why, remedy = "it is asked for the next batch size", "ladle.policy.Steps(((0, 64), (10_000, 128)), 128)"
        raise ArgumentError(must("policy", "have methods init and decide", policy, why, remedy))
    alone = [name for name in ("needs", "made_for", "rate_size") if hasattr(policy, name)]
    if alone and not hasattr(policy, "traits"):
        why, remedy = "a run reads these from its traits alone", f"traits = ladle.Traits({alone[0]}=...)"
        raise ArgumentError(must("policy", f"declare {alone[0]} in its traits", type(policy).__name__, why, remedy))


def require_reach(policy: Any, first: int) -> None:
    """Refuse now a coupling that has no answer at a size which `policy` may come to; its rate belongs to `first`.

    A rule that bends without bound is worst at the ends of a range.
    """
    traits = traits_of(policy)
    for size in (traits.smallest, traits.largest):
        if size is not None:
            coupled(traits.coupling, first, size)
