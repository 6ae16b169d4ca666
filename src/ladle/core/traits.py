"""`Traits`: what a policy declares of itself, and a run reads before it begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ladle.core.scaling.rules import Rule


class Coupled(Protocol):
    """How rate and constants follow the size, such as `ladle.scaling.Coupling`: a frozen value."""

    def at(self, size: int) -> tuple[float, Mapping[str, float]]:
        """`(lr_factor, constants)` at `size`."""
        ...


AnyCoupling = Rule | Coupled
"""A rule by its name, counted from the first size, or a value that has its own reference."""


@dataclass(frozen=True)
class Traits:
    """Tells a run what a policy needs and how far it goes. Each default says nothing.

    - `needs`: what must be measured for it: "noise" (the gradient moments), "projection" (the noise along the gradient
      too), "seconds", "memory", or a metric by its name.
    - `smallest`, `largest`: the limits of its sizes; None where it does not say.
    - `coupling`: how the rate follows the size; "none" where it does not, or the policy says that itself.
    - `rate_size`: the size that the run's rate belongs to; None for the first one.
    - `made_for`: names of the optimisers it was made for; empty for any.
    - `lr`: the rate that its sizes rest on, which has to be the run's; None where they rest on none.

    Three name a field of a frozen policy, which a run sets anew before it begins; "" for none:

    - `limit`: the largest size, or a `Range` that ends with it. Brought down to the number of examples in a pass.
    - `direction`: whether more of the first of `needs`, a metric, is better. Filled in where it is None.
    - `inner`: the policy that this one wraps, for which the same is done.

    >>> Traits(needs=("noise",), smallest=32, largest=1024).rate_size is None
    True
    """

    needs: tuple[str, ...] = ()
    smallest: int | None = None
    largest: int | None = None
    coupling: AnyCoupling = "none"
    rate_size: int | None = None
    made_for: tuple[str, ...] = ()
    lr: float | None = None
    limit: str = ""
    direction: str = ""
    inner: str = ""


def traits_of(policy: Any) -> Traits:
    """What `policy` declares: its `traits`, or nothing where it has none. The one place that looks for them.

    >>> class Own: ...
    >>> traits_of(Own()) == Traits()
    True
    """
    return getattr(policy, "traits", Traits())
