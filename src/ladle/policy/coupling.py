"""The rate, and the optimiser's constants, at a size: of a rule by its name, or of a value that knows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ladle.core.errors import ArgumentError, must
from ladle.core.scaling.rules import lr_factor
from ladle.core.traits import AnyCoupling


class Rate(NamedTuple):
    """What a decision puts in force: `lr_factor` multiplies the learning rate; `hyper`: constants, empty for none."""

    lr_factor: float
    hyper: Mapping[str, float]


def coupled(coupling: AnyCoupling, first: int, size: int) -> Rate:
    """Computes the rate at `size`: by a rule, counted from `first`, or by a value with `at(size)`.

    Raises `ArgumentError` for an unknown rule.

    >>> coupled("linear", first=64, size=256)
    Rate(lr_factor=4.0, hyper={})
    """
    if isinstance(coupling, str):
        return Rate(lr_factor(coupling, size / first), {})
    factor, hyper = coupling.at(size)
    return Rate(float(factor), dict(hyper))


def require_coupling(coupling: AnyCoupling) -> None:
    """Refuse an unknown rule now, not at the first change."""
    if isinstance(coupling, str):
        lr_factor(coupling, 1.0)
    elif not hasattr(coupling, "at"):
        why, remedy = "the rate has to follow the size somehow", "coupling='square root'"
        raise ArgumentError(must("coupling", "be a rule or have a method at(size)", coupling, why, remedy))
