"""What an estimator was asked for, checked once, when it is fitted: scikit-learn's clones must take any parameter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np

from ladle.core.errors import ArgumentError, must
from ladle.core.plan import Plan


@dataclass(frozen=True)
class Settings:
    """The parameters of an estimator that training reads; see `ladle.sklearn.classifier.BatchClassifier`."""

    hidden: tuple[int, ...]
    activation: str
    dropout: float
    optimizer: str
    hyper: Mapping[str, float] = field(hash=False)
    batch_size: int | str | Plan
    learning_rate: float | Literal["auto"]
    max_iter: int
    tol: float
    patience: int
    early_stopping: bool
    validation_fraction: float
    plan_seconds: float

    @classmethod
    def of(cls, estimator: Any) -> Settings:
        """Those of `estimator`. Raises `ArgumentError`, a ValueError, for what cannot be."""
        given = estimator.get_params(deep=False)
        return cls(
            _hidden(given["hidden_layer_sizes"]),
            given["activation"],
            _between("dropout", given["dropout"], 0, 1, "dropout=0.1"),
            _name("optimizer", given["optimizer"]),
            _hyper(given["optimizer_options"]),
            _batch_size(given["batch_size"]),
            _rate(given["learning_rate"]),
            _whole("max_iter", given["max_iter"], "max_iter=100"),
            _number("tol", given["tol"], "tol=1e-4"),
            _whole("n_iter_no_change", given["n_iter_no_change"], "n_iter_no_change=10"),
            _flag("early_stopping", given["early_stopping"]),
            _between("validation_fraction", given["validation_fraction"], 0, 1, "validation_fraction=0.1", open_=True),
            _number("plan_seconds", given["plan_seconds"], "plan_seconds=15"),
        )


def _hidden(given: Any) -> tuple[int, ...]:
    listed = given if isinstance(given, tuple | list | np.ndarray) else (given,)
    return tuple(_whole("hidden_layer_sizes", one, "hidden_layer_sizes=(100,)") for one in listed)


def _whole(name: str, given: Any, remedy: str) -> int:
    if not isinstance(given, Integral) or isinstance(given, bool | np.bool_) or given < 1:
        raise ArgumentError(must(name, "be a whole number of at least 1", given, "it counts something", remedy))
    return int(given)


def _is_number(given: Any) -> bool:
    return isinstance(given, Real) and not isinstance(given, bool | np.bool_)


def _number(name: str, given: Any, remedy: str) -> float:
    if not _is_number(given) or not given >= 0:
        raise ArgumentError(must(name, "be a number of at least 0", given, "less has no meaning", remedy))
    return float(given)


def _between(name: str, given: Any, low: float, high: float, remedy: str, open_: bool = False) -> float:
    if not _is_number(given) or not low <= given < high or (open_ and given == low):
        be = f"be above {low} and below {high}" if open_ else f"be at least {low} and below {high}"
        raise ArgumentError(must(name, be, given, "it is a share", remedy))
    return float(given)


def _flag(name: str, given: Any) -> bool:
    if not isinstance(given, bool | np.bool_):
        raise ArgumentError(must(name, "be True or False", given, "it is asked for or not", f"{name}=True"))
    return bool(given)


def _name(name: str, given: Any) -> str:
    if not isinstance(given, str):
        why = "a fitted estimator is copied and pickled, and functions are not"
        raise ArgumentError(must(name, "be the name of an optimiser", type(given).__name__, why, f"{name}='adam'"))
    return given


def _hyper(given: Any) -> dict[str, float]:
    if given is None:
        return {}
    good = isinstance(given, Mapping) and all(isinstance(key, str) and _is_number(of) for key, of in given.items())
    if not good:
        remedy = 'optimizer_options={"weight_decay": 1e-4}'
        raise ArgumentError(must("optimizer_options", "be numbers by name", given, "they are constants", remedy))
    if "lr" in given:
        why, remedy = "the rate has a parameter of its own", f"learning_rate={given['lr']}"
        raise ArgumentError(must("optimizer_options", "be without 'lr'", dict(given), why, remedy))
    return {key: float(of) for key, of in given.items()}


def _batch_size(given: Any) -> int | str | Plan:
    if isinstance(given, Plan) or (isinstance(given, str) and given in ("auto", "full")):
        return given
    if not isinstance(given, Integral) or isinstance(given, bool | np.bool_) or given < 1:
        be, why = "be a whole number of at least 1, 'auto', 'full' or a ladle.Plan", "examples are counted"
        raise ArgumentError(must("batch_size", be, given, why, "batch_size=64"))
    return int(given)


def _rate(given: Any) -> float | Literal["auto"]:
    if isinstance(given, str) and given == "auto":
        return "auto"
    if not _is_number(given) or not 0 < float(given) < np.inf:
        be, why = "be a positive number or 'auto'", "a rate of zero learns nothing"
        raise ArgumentError(must("learning_rate", be, given, why, "learning_rate='auto'"))
    return float(given)
