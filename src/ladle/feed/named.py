"""`Named`: a batch by names that cannot be taken for a tuple."""

from __future__ import annotations

import sys
from dis import opmap
from typing import Any

from ladle.core.errors import ArgumentError, must

_UNPACKING = {opmap[name] for name in ("UNPACK_SEQUENCE", "UNPACK_EX")}


class Named(dict):
    """A dict in every way but one: `xb, yb = batch` is refused, where a dict would hand out its names in silence.

    Raises `ArgumentError` there.

    >>> batch = Named(x=1, y=2)
    >>> list(batch), {**batch}, batch == {"x": 1, "y": 2}
    (['x', 'y'], {'x': 1, 'y': 2}, True)
    """

    def __iter__(self) -> Any:
        # Which instruction asks tells an unpacking from a loop or a call; nothing else does.
        frame = sys._getframe(1)
        if frame.f_code.co_code[frame.f_lasti] in _UNPACKING:
            names = list(map(repr, super().__iter__()))
            why = "a mapping would be unpacked into its names"
            remedy = f"batch[{names[0] if names else '...'}], or a tuple of arrays as data"
            raise ArgumentError(must("a batch", "be asked by name", ", ".join(names), why, remedy))
        return super().__iter__()
