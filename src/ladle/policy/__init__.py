"""Policies: frozen values that pick the next batch size and say why. One policy a file, under its own name.

Read first `segments.py` (sizes fixed in advance), `move.py` (sizes that follow a measurement), `parse.py` (from text).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ladle.policy.adadagrad import AdAdaGrad
    from ladle.policy.adascale import AdaScale
    from ladle.policy.boundaries import falls
    from ladle.policy.cabs import CABS
    from ladle.policy.constant import Constant
    from ladle.policy.divebatch import DiveBatch
    from ladle.policy.geometric import Geometric
    from ladle.policy.goodput import Goodput
    from ladle.policy.grow_instead_of_decay import GrowInsteadOfDecay
    from ladle.policy.inner_product import InnerProduct
    from ladle.policy.late_switch import LateSwitch
    from ladle.policy.measured_warmup import MeasuredWarmup
    from ladle.policy.noise_follow import NoiseFollow
    from ladle.policy.normtest import NormTest
    from ladle.policy.parse import policy_from_text
    from ladle.policy.plateau import Plateau
    from ladle.policy.range import Range
    from ladle.policy.retreat import Retreating
    from ladle.policy.seesaw import Seesaw
    from ladle.policy.segments import serial_fraction
    from ladle.policy.steps import Steps
    from ladle.policy.utilisation import Utilisation
    from ladle.policy.warmup import Warmup

__all__ = [
    "CABS",
    "AdAdaGrad",
    "AdaScale",
    "Constant",
    "DiveBatch",
    "Geometric",
    "Goodput",
    "GrowInsteadOfDecay",
    "InnerProduct",
    "LateSwitch",
    "MeasuredWarmup",
    "NoiseFollow",
    "NormTest",
    "Plateau",
    "Range",
    "Retreating",
    "Seesaw",
    "Steps",
    "Utilisation",
    "Warmup",
    "falls",
    "policy_from_text",
    "serial_fraction",
]

# A run of one size needs none of the others: each is loaded when it is asked for.
_HOMES = {
    "AdAdaGrad": "adadagrad",
    "AdaScale": "adascale",
    "CABS": "cabs",
    "Constant": "constant",
    "DiveBatch": "divebatch",
    "Geometric": "geometric",
    "Goodput": "goodput",
    "GrowInsteadOfDecay": "grow_instead_of_decay",
    "InnerProduct": "inner_product",
    "LateSwitch": "late_switch",
    "MeasuredWarmup": "measured_warmup",
    "NoiseFollow": "noise_follow",
    "NormTest": "normtest",
    "Plateau": "plateau",
    "Range": "range",
    "Retreating": "retreat",
    "Seesaw": "seesaw",
    "Steps": "steps",
    "Utilisation": "utilisation",
    "Warmup": "warmup",
    "falls": "boundaries",
    "policy_from_text": "parse",
    "serial_fraction": "segments",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value  # Over the file of that name, which loading it has bound here.
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
