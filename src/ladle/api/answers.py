"""Outputs as answers: classes by name, chances of each, amounts in their own unit.

classes        cross entropy: the largest output; binary cross entropy: whether the log odds are above 0
chances        softmax(outputs), or 1 / (1 + exp(-outputs)) of the second class
amounts        outputs sd + mean of the training rows' targets
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from ladle.core.errors import ArgumentError, DataError, must

if TYPE_CHECKING:
    from ladle.api.form import Form

_WHOLE = re.compile(r"(0|-?[1-9]\d{0,17})\Z")


def named_classes(classes: tuple[str, ...]) -> np.ndarray:
    """Names of classes as they are answered.

    >>> named_classes(("0", "1")).tolist(), named_classes(("no", "yes")).tolist()
    ([0, 1], ['no', 'yes'])
    """
    whole = bool(classes) and all(_WHOLE.match(name) for name in classes)
    return np.array([int(name) for name in classes], np.int64) if whole else np.array(classes, str)


def answers(form: Form, outputs: np.ndarray) -> np.ndarray:
    """What `predict` returns: `[rows]` names of classes or amounts; `[rows, T]` where rows have several.

    Raises `ArgumentError` where outputs are no scores of the classes, `DataError` where some are not finite.
    """
    _require_finite(outputs)
    if form.kind == "regression":
        amounts = outputs.astype(np.float64) * form.target_sd + form.target_mean
        return amounts[:, 0] if amounts.ndim == 2 and amounts.shape[1] == 1 else amounts
    return form.names[class_numbers(form, outputs)]


def class_numbers(form: Form, outputs: np.ndarray) -> np.ndarray:
    """The class that each row's outputs speak for, by its number: `i64[rows]`. Raises `ArgumentError` as `answers`."""
    if form.loss == "binary_cross_entropy" and len(form.classes) == 2:
        return (_flat(outputs) > 0).astype(np.int64)
    return _scores(form, outputs, "predict").argmax(-1)


def chances(form: Form, outputs: np.ndarray) -> np.ndarray:
    """What `predict_proba` returns: `f64[rows, classes]`, rows of sum 1.

    Raises `ArgumentError` for amounts and for losses whose outputs are no log chances.
    """
    if form.kind == "regression":
        why = f"{form.target or 'the target'} is an amount"
        raise ArgumentError(must("predict_proba", "be asked of classes", "amounts", why, "predict"))
    if form.loss not in ("cross_entropy", "binary_cross_entropy"):
        why = "only under cross entropy are outputs log chances"
        remedy = "outputs(x), which are the model's own"
        raise ArgumentError(must("predict_proba", "be asked under cross entropy", "another loss", why, remedy))
    _require_finite(outputs)
    if form.loss == "binary_cross_entropy":
        odds = _flat(outputs).astype(np.float64)
        second = np.exp(-np.logaddexp(0, -odds))
        return np.stack([np.exp(-np.logaddexp(0, odds)), second], axis=1)
    scores = _scores(form, outputs, "predict_proba").astype(np.float64)
    scores -= scores.max(-1, keepdims=True)
    made = np.exp(scores)
    return made / made.sum(-1, keepdims=True)


def _scores(form: Form, outputs: np.ndarray, asked: str) -> np.ndarray:
    """The outputs of the classes; a model may have more of them than the data has classes."""
    count = len(form.classes)
    if count < 2 or outputs.ndim < 2 or outputs.shape[-1] < count:
        got, why = f"outputs of shape {outputs.shape}", f"there are {count} classes"
        raise ArgumentError(must(asked, "be of a model with an output for each class", got, why, "outputs(x)"))
    return outputs[..., :count]


def _flat(outputs: np.ndarray) -> np.ndarray:
    return outputs[:, 0] if outputs.ndim == 2 and outputs.shape[1] == 1 else outputs


def _require_finite(outputs: np.ndarray) -> None:
    bad = ~np.isfinite(outputs.reshape(len(outputs), -1)).all(1)
    if bad.any():
        row = int(np.argmax(bad))
        why = f"those of row {row} (counted from 0) are not, {int(bad.sum()):,} rows in all"
        remedy = "rows in the range of the training rows, or a model whose run did not diverge"
        raise DataError(must("outputs", "be finite", "nan or infinity", why, remedy))
