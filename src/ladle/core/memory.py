"""How what a policy remembers travels: as its own value from window to window, as JSON through a checkpoint."""

from __future__ import annotations

from typing import Any


def plain(memory: Any) -> Any:
    """Turns a policy's memory into JSON: `memory.to_json()` where it has that, `memory` itself where it has not.

    The way back is the policy's own: `decide` takes what it returned last, or the JSON of it. So a checkpoint needs to
    know no policy, and another policy than the one that wrote it may go on from it.

    >>> plain({"asked": 3}), plain(None)
    ({'asked': 3}, None)
    """
    return memory.to_json() if hasattr(memory, "to_json") else memory
