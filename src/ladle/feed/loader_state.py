"""What a `Loader`'s state must be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ladle.core.errors import ArgumentError, must


def position_of(state: Any, facts: Mapping[str, Any], epoch_size: int, *, one_pass: bool = True) -> tuple[int, int]:
    """`(position, pass)` of a state. `one_pass`: positions count on from pass to pass.

    Raises `ArgumentError` for what is no state of a loader, and for one whose facts are others.

    >>> position_of({"drawn": 10, "epoch": 0, "seed": 1}, {"seed": 1}, 10), position_of({"drawn": 10}, {}, 10)
    ((10, 0), (10, 1))
    """
    if not isinstance(state, Mapping) or "drawn" not in state:
        got = f"entries {', '.join(map(str, state))}" if isinstance(state, Mapping) else type(state).__name__
        why, remedy = "it holds a position", "what state_dict() of a Loader returned"
        raise ArgumentError(must("state", "be that of a Loader", got, why, remedy))
    drawn = _whole("the state's drawn", state["drawn"])
    epoch = _whole("the state's epoch", state.get("epoch", drawn // epoch_size))
    for name, own in facts.items():
        if state.get(name) != own:
            why, remedy = f"the state is of {name}={state.get(name)}", f"{name}={state.get(name)}"
            raise ArgumentError(must(f"the loader's {name}", "be the state's", own, why, remedy))
    if one_pass and not epoch * epoch_size <= drawn <= (epoch + 1) * epoch_size:
        why, remedy = f"a pass is {epoch_size} examples", "what state_dict() of this Loader returned"
        raise ArgumentError(must("the state's drawn", f"lie in pass {epoch}", drawn, why, remedy))
    return drawn, epoch


def require_epoch(epoch: Any) -> int:
    """A pass, as an int. Raises `ArgumentError`."""
    return _whole("epoch", epoch)


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__") or value.__index__() < 0:
        raise ArgumentError(must(name, "be a whole number from 0 on", value, "passes and examples are counted", "0"))
    return value.__index__()
