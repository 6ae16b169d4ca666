"""Policies: frozen values that pick the next batch size and say why. One policy a file, under its own name.

Read first `segments.py` (sizes fixed in advance), `move.py` (sizes that follow a measurement), `parse.py` (from text).
"""

from ladle.policy.adadagrad import AdAdaGrad
from ladle.policy.adascale import AdaScale
from ladle.policy.cabs import CABS
from ladle.policy.constant import Constant
from ladle.policy.divebatch import DiveBatch
from ladle.policy.falls import falls
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
