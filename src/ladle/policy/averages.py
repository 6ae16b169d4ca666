"""What policies that measure remember: sums of the gradient moments of all windows, older ones fading.

Sums are divided once, in `estimate`: a ratio is one of averages, never an average of ratios.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ladle.core.decision import Progress
from ladle.core.moments import Moments
from ladle.core.noise import NoiseScale, estimate
from ladle.policy.change import Memory
from ladle.policy.range import Range


def absorb(sizes: Range, memory: Memory, progress: Progress, *, also: tuple[str, ...] = ()) -> dict[str, Any]:
    """`memory` with the last window in it: its moments, and readings named in `also` weighted by measured updates.

    Old sums fade by 0.5 ** (updates measured in the window / half_life), so means are exponential averages that are
    right from the first window on (nothing to debias), and ratios are of averages. After a growth they fade by the
    ratio of sizes as well: an update then says that much more. A window that was absorbed before, or measured nothing,
    changes nothing.
    """
    kept = sizes.recall(memory, progress)
    new = progress.moments()
    values = {field.name: getattr(new, field.name) for field in fields(Moments)}
    values |= {name: progress.reading.get(name, math.nan) * new.count for name in also}
    finite = all(math.isfinite(value) for value in values.values())
    if new.count > 0 and finite and progress.examples > kept.get("measured", -1):
        fade, old = 0.5 ** (new.count / sizes.half_life), kept.get("sums", {})
        old = old if old.keys() == values.keys() else {}
        size = sizes.present(kept)
        fade *= min(1.0, kept.get("at", size) / size)
        kept["at"] = size
        kept["sums"] = {name: fade * old.get(name, 0.0) + value for name, value in values.items()}
        kept["measured"] = progress.examples
    return kept


def moments_of(memory: Mapping[str, Any]) -> Moments:
    """The faded sums."""
    sums = memory.get("sums", {})
    return Moments(**{field.name: sums.get(field.name, 0.0) for field in fields(Moments)})


def noise_of(sizes: Range, memory: Mapping[str, Any]) -> NoiseScale:
    """The noise scale of the faded sums. Their weight counts as their number, which is on the careful side."""
    return estimate(moments_of(memory), confidence=sizes.confidence)


def mean_of(memory: Mapping[str, Any], name: str) -> float:
    """The faded mean of a reading that `absorb` was told of; nan where there is none."""
    sums = memory.get("sums", {})
    return sums[name] / sums["count"] if name in sums else math.nan
