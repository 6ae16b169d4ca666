"""Models, losses and metrics. Nothing is imported before it is used, so that no JAX is loaded.

    ladle.models.mlp(64, 128, 10)      ladle.models.convnet((28, 28), 10)      ladle.models.from_equinox(factory)

Read `protocol.py` first (what a model is), then `perceptron.py` (the simplest one). Losses and
metrics, one number per example, are in `losses.py` and `metrics.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ladle.core.built_in import built_in_shape
from ladle.core.errors import ArgumentError, must

if TYPE_CHECKING:
    from ladle.models.anything import as_loss, as_metrics, as_model
    from ladle.models.blocks import block, recomputing
    from ladle.models.functions import FunctionModel
    from ladle.models.ghost import GhostNorm
    from ladle.models.images import convnet
    from ladle.models.kept import described, kept_loss, kept_metrics, rebuilt
    from ladle.models.module import from_equinox
    from ladle.models.perceptron import linear, mlp
    from ladle.models.protocol import Model
    from ladle.models.table import tabular

__all__ = [
    "FunctionModel", "GhostNorm", "Model", "as_loss", "as_metrics", "as_model", "block", "convnet",
    "default_for", "described", "from_equinox", "kept_loss", "kept_metrics", "linear", "mlp", "rebuilt", "recomputing",
    "tabular",
]  # fmt: skip

# No file bears the name of what it holds: loading it would hide the function behind the module.
_HOMES = {
    "FunctionModel": "functions",
    "block": "blocks",
    "recomputing": "blocks",
    "GhostNorm": "ghost",
    "Model": "protocol",
    "convnet": "images",
    "from_equinox": "module",
    "linear": "perceptron",
    "mlp": "perceptron",
    "tabular": "table",
    "as_loss": "anything",
    "as_metrics": "anything",
    "described": "kept",
    "kept_loss": "kept",
    "kept_metrics": "kept",
    "rebuilt": "kept",
    "as_model": "anything",
}


def default_for(name: str, *, input_shape: Sequence[int], outputs: int, cardinalities: Sequence[int] = ()) -> Model:
    """The built-in model of that name for data of these shapes: see `ladle.core.built_in.built_in_shape`.

    - `cardinalities`: levels of embedded category columns, beside the numbers of `input_shape`.

    **Raises** `ArgumentError` for an unknown name, and for a convnet over table rows.

    >>> default_for("mlp", input_shape=(28, 28), outputs=10).name
    'mlp 784-128-10'
    >>> default_for("mlp", input_shape=(13,), outputs=1).name
    'mlp 13-64-64-1'
    """
    hidden, inputs = built_in_shape(name, input_shape), math.prod(input_shape)
    from ladle.models.images import convnet
    from ladle.models.perceptron import mlp
    from ladle.models.table import tabular

    if hidden is None:
        return convnet(input_shape, outputs)
    if cardinalities:
        return tabular(inputs, cardinalities, outputs=outputs, hidden=hidden)
    return mlp(inputs, *hidden, outputs)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("jax", "jaxlib", "equinox"):
            raise
        why, remedy = f"{error.name} is not installed", f"pip install 'ladle[jax]', or ladle.torch.{name}"
        raise ArgumentError(must(f"ladle.models.{name}", "have JAX", None, why, remedy)) from None


def __dir__() -> list[str]:
    return sorted(__all__)
