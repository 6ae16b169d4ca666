"""A model as plain data and back: a built-in one by its name and arguments, another by what the user gives again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ladle.core.errors import ArgumentError, must
from ladle.models.images import ConvNet, convnet
from ladle.models.losses import BY_NAME
from ladle.models.metrics import default_for as usual_metrics
from ladle.models.perceptron import Mlp, mlp
from ladle.models.table import Tabular, tabular

OWN = "own"
"""The kind of a model that only its module, or its functions, can make again."""


def described(model: Any) -> dict[str, Any]:
    """`{"kind": "mlp", "name": ..., ...arguments}` of a built-in model, `{"kind": "own", ...}` of any other.

    >>> described(mlp(64, 128, 10))["widths"]
    [64, 128, 10]
    """
    if type(model) is Mlp:
        return {
            "kind": "mlp",
            "name": model.name,
            "widths": list(model.widths),
            "activation": model.activation,
            "dropout": model.dropout,
            **model.norm.described(),
        }
    if type(model) is ConvNet:
        return {
            "kind": "convnet",
            "name": model.name,
            "shape": list(model.shape),
            "outputs": model.outputs,
            "width": model.width,
            "dropout": model.dropout,
            **model.norm.described(),
        }
    if type(model) is Tabular:
        inner = model.mlp
        return {
            "kind": "tabular",
            "name": model.name,
            "numbers": model.numbers,
            "cardinalities": list(model.cardinalities),
            "outputs": inner.widths[-1],
            "hidden": list(inner.widths[1:-1]),
            "activation": inner.activation,
            "dropout": inner.dropout,
        }
    return {"kind": OWN, "name": getattr(model, "name", type(model).__name__), "library": type(model).__name__}


def rebuilt(description: Mapping[str, Any]) -> Any:
    """The built-in model that `described` describes. Raises `ArgumentError` for a kind that is not known.

    >>> rebuilt(described(mlp(64, 128, 10))) == mlp(64, 128, 10)
    True
    """
    kind = description["kind"]
    how = {name: value for name, value in description.items() if name not in ("kind", "name")}
    if kind not in _MAKERS:
        why = "this ladle has no built-in model of that kind"
        raise ArgumentError(must("model", "be of a known kind", kind, why, "the ladle that wrote it"))
    return _MAKERS[kind](how)


def kept_loss(loss: Any) -> str | None:
    """The name by which `loss` can be found again: of ladle's own losses; None for a user's."""
    return next((name for name, known in BY_NAME.items() if loss is known), None)


def kept_metrics(metrics: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Those of the metrics of that `kind` of task that are ladle's own usual ones, which can be found again."""
    usual = usual_metrics(kind)
    return {name: metric for name, metric in metrics.items() if usual.get(name) is metric}


def _mlp(how: dict[str, Any]) -> Mlp:
    return mlp(*how.pop("widths"), **how)


def _convnet(how: dict[str, Any]) -> ConvNet:
    return convnet(how.pop("shape"), how.pop("outputs"), **how)


def _tabular(how: dict[str, Any]) -> Tabular:
    return tabular(how.pop("numbers"), how.pop("cardinalities"), **how)


_MAKERS: Mapping[str, Callable[[dict[str, Any]], Any]] = {"mlp": _mlp, "convnet": _convnet, "tabular": _tabular}
