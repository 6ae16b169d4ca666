"""The published definitions of a critical batch size, and how one becomes another on a fitted hyperbola.

On the same table they differ by factors (3 to 4 between the first two), so a number here always has its name.

    S(B) = S_min (1 + Bc/B)          E(B) = B S(B) = E_min (1 + B/Bc)        Bc = E_min / S_min
    S(B) B <= (1 + share) S(base) base     <=>     B <= (1 + share) base + share Bc
    E(B)   <= (1 + share) E_min            <=>     B <= share Bc
    S(B)   <= (1 + share) S_min            <=>     B >= Bc / share

All of them rise with Bc, so an interval for Bc becomes theirs end by end, without another approximation.

Two that are published are no function of a fit. The batch that minimises stochastic first-order oracle complexity,
S(B) B (Iiduka and Sato, such as arXiv 2507.01598): on a hyperbola S(B) B rises with B and has no minimum. A table of
measured steps may have one, see `fewest_examples`. And B_min and B_opt of runs with a warm-up, a constant rate and a
decay (WSD, Zhou et al. 2026, arXiv 2601.05034), whose loss curves cross, so that the hyperbola does not hold: they are
read off another curve E(S), in three pieces, which is fitted nowhere here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ladle.core.errors import ArgumentError, must
from ladle.core.hyperbola import Hyperbola

MCCANDLISH = "McCandlish et al. 2018, arXiv 1812.06162, eq. 2.11"
ZHANG = "Zhang et al. 2024, arXiv 2410.21676"
SFO = "minimum of S(B) B, Iiduka and Sato, as in arXiv 2507.01598; of the measured table"

SHARE, BASE = 0.2, 256.0
"""Zhang et al.: at most 20 % above ideal scaling from batches of 256."""


@dataclass(frozen=True)
class Definition:
    """One critical batch size, in examples per update: what it is called, its value, its interval, who defined it.

    An end that the measurement does not bound is 0 or inf; nan where there is no interval.
    """

    name: str
    value: float
    low: float
    high: float
    source: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def definitions(fit: Hyperbola, *, base: float = BASE, share: float = SHARE) -> tuple[Definition, ...]:
    """The published critical sizes that a steps-to-target hyperbola answers, each with its 95 % interval.

    `base`, `share`: of the second, see `share_size`.

    >>> from ladle.core.hyperbola import fit_hyperbola
    >>> fit = fit_hyperbola([64, 256, 1024, 4096], [46000, 13282, 3840, 1917])
    >>> [f"{one.name} = {one.value:.0f}" for one in definitions(fit)][:2]
    ['Bc = E_min/S_min = 2496', 'B_20% from 256 = 806']
    """

    def made(name: str, source: str, size: Callable[[float], float]) -> Definition:
        return Definition(name, size(fit.critical), size(fit.interval[0]), size(fit.interval[1]), source)

    return (
        made("Bc = E_min/S_min", MCCANDLISH, lambda critical: critical),
        made(f"B_{share:.0%} from {base:g}", ZHANG, lambda critical: share_size(critical, share=share, base=base)),
        made("B at 10 % more examples", f"the hyperbola of {MCCANDLISH}", lambda c: examples_size(c, share=0.1)),
        made("B at 10 % more steps", f"the hyperbola of {MCCANDLISH}", lambda c: steps_size(c, share=0.1)),
    )


def fewest_examples(sizes: Sequence[float], steps: Sequence[float]) -> Definition:
    """The measured size that took the fewest examples S(B) B; `low`, `high`: the measured sizes beside it.

    0 or inf for an end where there is none beside it: the minimum may then be below or above all sizes. `sizes` ascend.

    >>> found = fewest_examples([8, 16, 32], [60, 25, 20])
    >>> found.value, found.low, found.high
    (16.0, 8.0, 32.0)
    """
    best = min(range(len(sizes)), key=lambda k: sizes[k] * steps[k])
    low, value, high = (0.0, *map(float, sizes), math.inf)[best : best + 3]
    return Definition("B_SFO: fewest examples", value, low, high, SFO)


def share_size(critical: float, *, share: float = SHARE, base: float = BASE) -> float:
    """B_share: the largest size whose steps are at most 1 + share times ideal scaling from `base` (Zhang et al.).

    >>> round(share_size(2190.6), 2)
    745.32
    """
    _require_positive(share=share, base=base)
    return (1 + share) * base + share * critical


def critical_from_share(size: float, *, share: float = SHARE, base: float = BASE) -> float:
    """Bc of the hyperbola on which `size` is B_share: the inverse of `share_size`.

    Raises `ArgumentError` where there is none: every hyperbola has B_share > (1 + share) base.

    >>> round(critical_from_share(745.32), 1)
    2190.6
    """
    _require_positive(share=share, base=base)
    least = (1 + share) * base
    if not size > least:
        why = "no hyperbola scales worse than not at all"
        raise ArgumentError(must("size", f"be above (1 + share) * base = {least:g}", size, why, "a smaller base"))
    return (size - least) / share


def examples_size(critical: float, *, share: float) -> float:
    """The size that needs 1 + share times the fewest examples: share * Bc. Share 1 is Bc itself."""
    _require_positive(share=share)
    return share * critical


def steps_size(critical: float, *, share: float) -> float:
    """The size that needs 1 + share times the fewest steps: Bc / share. Share 1 is Bc itself."""
    _require_positive(share=share)
    return critical / share


def steps_saved(segments: Sequence[tuple[float, float]], total: float, *, base: float | None = None) -> float:
    """Share of the steps that a schedule of sizes saves over a constant `base` (its first size where left out).

    - `segments`: `(start, size)`, starts ascending from 0 in examples (or tokens: only ratios matter).
    - `total`: the whole run in the same unit.

    The published warm-up of Merrill et al. 2025 (arXiv 2505.23971), anneal included:

    >>> round(steps_saved([(0, 1024), (168e9, 2048), (503e9, 4096)], 658e9), 4)
    0.4312
    >>> steps_saved([(0, 4096)], 658e9, base=1024)
    0.75
    """
    starts = [start for start, _ in segments]
    good = bool(starts) and starts[0] == 0 and all(a < b for a, b in zip(starts, [*starts[1:], total], strict=True))
    if not good or any(size <= 0 for _, size in segments):
        why = "each size holds from its start to the next"
        remedy = "segments=[(0, 64), (1e6, 128)], total=2e6"
        raise ArgumentError(must("segments", "ascend from 0 to below total", list(segments), why, remedy))
    base = segments[0][1] if base is None else base
    _require_positive(base=base)
    ends = [*starts[1:], total]
    steps = sum((end - start) / size for (start, size), end in zip(segments, ends, strict=True))
    return 1 - steps / (total / base)


def _require_positive(**values: float) -> None:
    for name, value in values.items():
        if not 0 < value < math.inf:
            why = "the definition compares with a part of it"
            remedy = {"share": f"share={SHARE}", "base": f"base={BASE:g}"}[name]
            raise ArgumentError(must(name, "be a positive number", value, why, remedy))
