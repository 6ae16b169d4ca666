"""What can be known of a policy before a run: that it is one, how far it goes, and how its rate follows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeVar

from ladle.core.errors import ArgumentError, must
from ladle.policy.change import AnyCoupling, coupled
from ladle.policy.range import Range
from ladle.policy.segments import Segment

Kind = TypeVar("Kind")


def layers(policy: Any) -> Iterator[Any]:
    """`policy` and those that it wraps, outermost first."""
    while policy is not None:
        yield policy
        policy = getattr(policy, "inner", None)


def largest_of(policy: Any) -> int | None:
    """The largest size that `policy` may ask for; None where it does not say.

    >>> from ladle.policy import GrowInsteadOfDecay, NoiseFollow, Range, Retreating
    >>> largest_of(Retreating(NoiseFollow(Range(32, 1024, micro_size=256))))
    1024
    >>> largest_of(GrowInsteadOfDecay(64, decay=5, boundaries=(1000,), largest=2048, micro_size=256))
    320
    """
    *_, inner = layers(policy)
    table = getattr(inner, "table", ())
    if table and all(isinstance(segment, Segment) for segment in table):
        return max(segment.size for segment in table)
    bounds = getattr(inner, "sizes", inner)
    found = getattr(bounds, "largest", getattr(bounds, "size", None))
    return found if isinstance(found, int) else None


def within(policy: Kind, rows: int) -> Kind:
    """`policy` with limits of its size that end at `rows`, those of a pass: no batch is larger. Others are left alone.

    A limit is the end of a range, or a `largest`; a size that is asked for by name is none.

    >>> from ladle.policy import NoiseFollow, Range
    >>> within(NoiseFollow(Range(32, 1024, micro_size=256)), rows=500).sizes.grid
    (32, 64, 128, 256, 500)
    """
    held: Any = policy
    names = set(getattr(held, "__dataclass_fields__", ()))
    changed: dict[str, Any] = {}
    if "inner" in names:
        changed["inner"] = within(held.inner, rows)
    if "sizes" in names and isinstance(held.sizes, Range) and held.sizes.smallest <= rows < held.sizes.largest:
        sizes: Range = held.sizes
        changed["sizes"] = replace(sizes, largest=rows, first=sizes.first and min(sizes.first, rows))
    if {"first", "largest"} <= names and held.first <= rows < held.largest:
        changed["largest"] = rows
    return replace(held, **changed) if changed else policy


def coupling_of(policy: Any) -> AnyCoupling:
    """How the rate of `policy` follows its size; "none" where it says that itself, or nothing."""
    return next((layer.coupling for layer in layers(policy) if hasattr(layer, "coupling")), "none")


def rate_size_of(policy: Any, first: int) -> int:
    """The size that the run's rate belongs to: the policy's own word for it, or the `first` size."""
    return next((layer.rate_size for layer in layers(policy) if hasattr(layer, "rate_size")), first)


def require_policy(policy: Any) -> None:
    """Refuse what is no policy."""
    if not (hasattr(policy, "init") and hasattr(policy, "decide")):
        why, remedy = "it is asked for the next batch size", "ladle.policy.Steps(((0, 64), (10_000, 128)), 128)"
        raise ArgumentError(must("policy", "have methods init and decide", policy, why, remedy))


def require_reach(policy: Any, first: int) -> None:
    """Refuse now a coupling that has no answer at a size which `policy` may come to; its rate belongs to `first`.

    A rule that bends without bound is worst at the ends of a range. (A table has asked for all its sizes already.)
    """
    for layer in layers(policy):
        sizes, coupling = getattr(layer, "sizes", None), getattr(layer, "coupling", None)
        if isinstance(sizes, Range) and coupling is not None:
            for size in (sizes.smallest, sizes.largest):
                coupled(coupling, first, size)
