"""The colours that runs are told apart by, in every picture and page."""

from __future__ import annotations

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#4d4d4d", "#8c564b", "#b5a900")
"""Colours told apart with any colour vision (Okabe and Ito 2008, their yellow replaced: too pale on white)."""

PALETTE_ON_DARK = ("#4aa8e0", "#ff8a3d", "#2fc79b", "#e39fc4", "#8fd0ff", "#ffc04d", "#b4bac0", "#c99a8e", "#d8cf3e")
"""The same on a dark ground: lighter, in the same order."""


def colors(count: int, dark: bool = False) -> list[str]:
    """The first `count` colours, from the beginning again when they are spent.

    >>> colors(10)[9] == colors(1)[0], colors(1, dark=True)[0] == PALETTE_ON_DARK[0]
    (True, True)
    """
    palette = PALETTE_ON_DARK if dark else PALETTE
    return [palette[i % len(palette)] for i in range(count)]
