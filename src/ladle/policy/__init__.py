"""Policies: frozen values that pick the next batch size and say why."""

from ladle.policy.constant import Constant
from ladle.policy.parse import policy_from_text
from ladle.policy.schedule import Geometric, GrowInsteadOfDecay, Steps, Warmup

__all__ = ["Constant", "Geometric", "GrowInsteadOfDecay", "Steps", "Warmup", "policy_from_text"]
