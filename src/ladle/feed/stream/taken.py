"""`taken_of`: the position of streams that count what was taken of them, `{"taken": n}`."""

from __future__ import annotations

from typing import Any

from ladle.core.errors import DataError, must


def taken_of(position: Any, kind: str) -> int:
    """The events before `position`. Raises `DataError` for one that is not of such a stream, which is `kind`.

    >>> taken_of({"taken": 3}, "a pipe")
    3
    """
    try:
        taken = int(position["taken"])
        if taken >= 0:
            return taken
    except (KeyError, TypeError, ValueError):
        pass
    be, why = f"be one of {kind}", "it is where reading goes on"
    raise DataError(must("position", be, position, why, "the cursor of this feed"))
