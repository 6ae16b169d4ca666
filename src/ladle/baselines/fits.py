"""A linear model and boosted trees on the rows that a task trains on. The file that imports scikit-learn's models.

linear      logistic regression (classes), ridge regression (amounts); an embedded category as one 0/1 column a level
boosting    histogram gradient boosting; a category that is embedded as a category of its own

Both with scikit-learn's own settings: a yardstick is what anybody gets in three lines.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ladle.core.errors import ArgumentError, must

BOOSTING = "gradient boosting"

WIDEST = 1000
"""Columns that boosting is tried on, at most: its time grows with each, and of pixels a single one says little."""
MOST_CLASSES = 100
"""Classes that boosting is tried on, at most: it grows 100 trees for each."""
ITERATIONS = 1000
"""Steps of logistic regression, at most; scikit-learn's 100 seldom suffice."""
SMALL = 2**18
"""Numbers of a table that one thread fits a model to."""
MOST_LEVELS = 254
"""Levels of a category that boosting can tell apart; rarer ones count as missing."""


@dataclass(frozen=True)
class Fitted:
    """What one model of scikit-learn says of the rows to judge on.

    - `answers`: `f64[rows, classes]` chances, or `f64[rows]` standardised amounts; None where it was `left_out`.
    - `seconds`: of fitting. `note`: what is to be known of it. `left_out`: why it was not fitted.
    """

    name: str
    answers: np.ndarray | None = None
    seconds: float | None = None
    note: str = ""
    left_out: str = ""


def require_sklearn() -> None:
    """Raises `ArgumentError` where scikit-learn is not installed."""
    try:
        import sklearn  # noqa: F401
    except ImportError:
        why, remedy = "it fits them, and is not installed", "pip install 'ladle[baselines]'"
        raise ArgumentError(must("baselines", "have scikit-learn", "none", why, remedy)) from None


def fitted(train: Mapping[str, Any], judged: Any, classes: int, weight: np.ndarray | None = None) -> list[Fitted]:
    """Both models, fitted to the rows `train` and asked about the inputs `judged`.

    - `train`: `{"x": ..., "y": ...}` as `ladle.data.Data` holds them. `judged`: inputs in the same form.
    - `classes`: how many there are; 0 for amounts. `weight`: `f32[rows]`, how much each row counts.
    """
    require_sklearn()
    y = np.asarray(train["y"])
    return [
        _tried(lambda: _linear(train["x"], y, judged, classes, weight), _linear_name(classes)),
        _boosting_left_out(train["x"], classes)
        or _tried(lambda: _boosting(train["x"], y, judged, classes, weight), BOOSTING),
    ]


def _linear_name(classes: int) -> str:
    return "logistic regression" if classes else "ridge regression"


def _tried(fit: Callable[[], Fitted], name: str) -> Fitted:
    """What `fit` makes; a refusal of scikit-learn's is the reason why there is no such model."""
    try:
        return fit()
    except (ValueError, MemoryError) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        return Fitted(name, left_out=f"scikit-learn refused: {said}")


def _linear(x: Any, y: np.ndarray, judged: Any, classes: int, weight: np.ndarray | None) -> Fitted:
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.preprocessing import OneHotEncoder

    model: Any = LogisticRegression(max_iter=ITERATIONS) if classes else Ridge()
    begun = time.perf_counter()
    wide, codes = columns(x)
    asked = columns(judged)[0]
    if codes:
        places = list(range(wide.shape[1] - codes, wide.shape[1]))
        narrow: Any = np.float32
        hot = OneHotEncoder(handle_unknown="ignore", dtype=narrow)
        encoder = ColumnTransformer([("codes", hot, places)], remainder="passthrough")
        wide, asked = encoder.fit_transform(wide), encoder.transform(asked)
    note = _fit(model, wide, y, weight)
    seconds = time.perf_counter() - begun
    return Fitted(_linear_name(classes), _asked(model, asked, classes), seconds, note)


def _boosting(x: Any, y: np.ndarray, judged: Any, classes: int, weight: np.ndarray | None) -> Fitted:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    begun = time.perf_counter()
    wide, codes = columns(x)
    asked = columns(judged)[0]
    first = wide.shape[1] - codes
    kept = [_frequent(wide, asked, place) for place in range(first, wide.shape[1])]
    kind: Any = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    model = kind(categorical_features=list(range(first, wide.shape[1])) or None, random_state=0)
    note = _fit(model, wide, y, weight)
    seconds = time.perf_counter() - begun
    cut = f"of a category, the {MOST_LEVELS} most frequent levels; the rest as missing" if any(kept) else ""
    return Fitted(BOOSTING, _asked(model, asked, classes), seconds, "; ".join(filter(None, (note, cut))))


def _boosting_left_out(x: Any, classes: int) -> Fitted | None:
    """Why boosting is not tried, where it is not."""
    width = columns(_first(x))[0].shape[1]
    why = ""
    if width > WIDEST:
        why = f"a row has {width:,} numbers, and it is tried on at most {WIDEST:,}"
    elif classes > MOST_CLASSES:
        why = f"there are {classes:,} classes, and it grows 100 trees for each"
    return Fitted(BOOSTING, left_out=why) if why else None


def columns(x: Any) -> tuple[np.ndarray, int]:
    """Inputs as one table, `f32[rows, columns]`, each row flattened; and how many of the last columns are codes.

    >>> columns(np.zeros((2, 3, 3)))[0].shape, columns({"numbers": np.zeros((2, 3)), "codes": np.ones((2, 1), int)})[1]
    ((2, 9), 1)
    """
    if isinstance(x, Mapping):
        numbers, codes = (np.asarray(x[name], np.float32) for name in ("numbers", "codes"))
        return np.concatenate([numbers, codes], axis=1), codes.shape[1]
    return np.asarray(x, np.float32).reshape(len(x), -1).copy(), 0


def _first(x: Any) -> Any:
    return {name: part[:1] for name, part in x.items()} if isinstance(x, Mapping) else x[:1]


def _frequent(train: np.ndarray, asked: np.ndarray, place: int) -> bool:
    """Number the levels of a column of codes anew, the most frequent of `train` alone. Whether some were left out."""
    levels, counts = np.unique(train[:, place], return_counts=True)
    order = np.argsort(-counts, kind="stable")[:MOST_LEVELS]
    kept = np.sort(levels[order])
    for table in (train, asked):
        at = np.searchsorted(kept, table[:, place]).clip(0, len(kept) - 1)
        table[:, place] = np.where(kept[at] == table[:, place], at, np.nan)
    return len(levels) > MOST_LEVELS


def _fit(model: Any, x: Any, y: np.ndarray, weight: np.ndarray | None) -> str:
    """Fit `model`, and what it warned of in a few words.

    A small table has one thread: several wait for each other at every step, and on busy cores that is all they do.
    """
    from threadpoolctl import threadpool_limits  # Comes with scikit-learn.

    threads = 1 if x.shape[0] * x.shape[1] <= SMALL else None
    with threadpool_limits(threads), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(x, y, sample_weight=weight)
    late = any(type(one.message).__name__ == "ConvergenceWarning" for one in caught)
    return f"not converged after {ITERATIONS:,} steps" if late else ""


def _asked(model: Any, x: Any, classes: int) -> np.ndarray:
    if not classes:
        return np.asarray(model.predict(x), np.float64)
    chances = np.zeros((x.shape[0], classes))
    chances[:, model.classes_] = model.predict_proba(x)  # A class that no training row has keeps a chance of 0.
    return chances
