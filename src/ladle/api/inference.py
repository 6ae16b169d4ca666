"""`inferred`: what was found out about the data, in the lines that a verb shows before it begins."""

from __future__ import annotations

from typing import Any


def inferred(data: Any) -> list[str]:
    """The data in a line, then what was inferred, filled in or left out, a line each.

    >>> import ladle
    >>> print(inferred(ladle.data.load("digits"))[1])
    data: digits: 1,797 images of 8 x 8 from the UCI repository (CC BY 4.0), counts from 0 to 16, divided by 16.
    """
    described = getattr(data, "describe", None)
    return [f"data: {line}" for line in (*([described()] if described else []), *getattr(data, "notes", ()))]
