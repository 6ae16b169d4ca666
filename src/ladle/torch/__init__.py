"""PyTorch: exact updates for a loop of your own, and the backend by which `ladle.fit` trains an `nn.Module`.

Read `update.py` first (one update, however it is cut), then `losses.py` (sums with weights), `noise_sums.py` (moments
by hooks) and `step.py` (the same for `ladle.fit`). Nothing is loaded before it is used, and nothing of it loads JAX.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ladle.core.errors import ArgumentError, must

if TYPE_CHECKING:
    from ladle.torch.built_in import convnet, mlp, tabular
    from ladle.torch.follow import Follow
    from ladle.torch.row_losses import per_row
    from ladle.torch.update import Done, Part, Update

    plan: Any
    task: Any

__all__ = ["Done", "Follow", "Part", "Update", "convnet", "mlp", "per_row", "plan", "tabular", "task"]

# `task` makes a value of the roof's, which a room may name and not import.
# No file bears the name of what it holds: loading it would hide the function behind the module.
_HOMES = {
    "Done": "ladle.torch.update",
    "Follow": "ladle.torch.follow",
    "Part": "ladle.torch.update",
    "Update": "ladle.torch.update",
    "convnet": "ladle.torch.built_in",
    "mlp": "ladle.torch.built_in",
    "per_row": "ladle.torch.row_losses",
    "plan": "ladle.api.torch_plan",
    "tabular": "ladle.torch.built_in",
    "task": "ladle.api.torch_task",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        why, remedy = "torch is not installed", "pip install 'ladle[torch]'"
        raise ArgumentError(must(f"ladle.torch.{name}", "have PyTorch", None, why, remedy)) from None
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
