"""`falls`: where a rate's curve has come down by so much: the boundaries of policies that go in its place."""

from __future__ import annotations

from collections.abc import Callable

from ladle.policy.refuse import require_growth


def falls(curve: Callable[[float], float], decay: float, end: int, *, most: int = 64) -> tuple[int, ...]:
    """Finds where in (0, end) a falling `curve` has come down to decay ** -k, k = 1, 2, ...; at most `most` positions.

    - `curve`: rate factor as a function of the share of the run that is done, 1 at 0 and never rising.

    The `boundaries` of `Seesaw` and `GrowInsteadOfDecay` in place of that curve. Found by halving, to one example.

    >>> import math
    >>> falls(lambda done: math.cos(math.pi * done / 2), decay=2, end=1000, most=3)
    (667, 840, 921)
    """
    require_growth("decay", decay)
    positions: list[int] = []
    for k in range(1, most + 1):
        low, high = 0, end  # curve(low) is above the level, curve(high) is not.
        if curve(1.0) > decay**-k:
            break
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if curve(middle / end) > decay**-k else (low, middle)
        if high >= end:
            break
        if not positions or high > positions[-1]:
            positions.append(high)
    return tuple(positions)
