"""Policies: frozen values that pick the next batch size and say why."""

from ladle.policy.adaptive import Range
from ladle.policy.constant import Constant
from ladle.policy.convergence import Plateau
from ladle.policy.gains import AdaScale, Goodput
from ladle.policy.gradient_error import AdAdaGrad, InnerProduct, NormTest
from ladle.policy.parse import policy_from_text
from ladle.policy.phases import LateSwitch, MeasuredWarmup, Seesaw, falls
from ladle.policy.resources import Retreating, Utilisation
from ladle.policy.schedule import Geometric, GrowInsteadOfDecay, Steps, Warmup
from ladle.policy.segments import serial_fraction
from ladle.policy.statistics import CABS, DiveBatch, NoiseFollow

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
