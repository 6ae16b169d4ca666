"""`BatchRegressor`: a perceptron for amounts, as a scikit-learn estimator."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_array

from ladle.core.errors import DataError, must
from ladle.sklearn.base import BatchEstimator


class BatchRegressor(RegressorMixin, BatchEstimator):
    """Predict amounts with a multi-layer perceptron that ladle trains in mini-batches.

        z = (y - mean) / sd;   loss = sum_i w_i mean_k (mlp(x_i)_k - z_ik)^2 / sum_i w_i   over each batch

    The target is standardised inside, each of its columns by the weighted mean and standard deviation of the rows of
    the first fit, and predictions are in its own units. Losses are those of standardised targets: 1 is no better than
    the mean. Inputs are used as they are: put a `StandardScaler` before it in a `Pipeline`.

    Parameters and attributes as in `BatchClassifier`, without what is said of classes; `y` may be `[rows, outputs]`.
    `target_mean_`, `target_sd_`: `f64[outputs]`.

    **Raises** `ValueError` for what cannot be right, `ladle.errors.RunError` where training diverged.

    >>> import numpy as np
    >>> X = np.linspace(-1, 1, 50)[:, None]
    >>> model = BatchRegressor((), learning_rate=0.03, tol=1e-8, random_state=0).fit(X, 1000 + 200 * X[:, 0])
    >>> model.predict([[0.5]]).round(-1).tolist()
    [1100.0]
    """

    _kind = "regression"
    _loss = "mse"

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> BatchRegressor:
        """One pass over these rows, from where training stands. Returns the estimator.

        Targets are standardised by the rows of the first call.
        """
        return self._partial(X, y, sample_weight, learn=True)

    def _read_targets(self, y: Any, weight: np.ndarray, *, learn: bool) -> tuple[np.ndarray, np.ndarray | None]:
        if getattr(y, "dtype", np.dtype(float)).kind in "mM":
            why = "an amount has a unit, and a time has many"
            raise DataError(must("y", "hold numbers", str(y.dtype), why, "a number of days since a date, say"))
        number: Any = np.float64
        y = check_array(y, ensure_2d=False, dtype=number, input_name="y")
        table = y[:, None] if y.ndim == 1 else y
        if learn:
            self._flat = y.ndim == 1
            total = weight.sum() or 1.0
            self.target_mean_ = (weight[:, None] * table).sum(0) / total
            spread = (weight[:, None] * (table - self.target_mean_) ** 2).sum(0) / total
            sd = np.sqrt(spread)
            # Rounding leaves a tiny sd for equal values.
            self.target_sd_ = np.where(sd > 1e-12 * np.abs(self.target_mean_), sd, 1.0)
        return ((table - self.target_mean_) / self.target_sd_).astype(np.float32), None

    def _outputs_count(self) -> int:
        return len(self.target_mean_)

    def _losses(self, outputs: np.ndarray, y: np.ndarray) -> np.ndarray:
        return ((outputs.astype(np.float64) - y) ** 2).mean(1)

    def predict(self, X: Any) -> np.ndarray:
        """The amount of each row in the target's own units: `f64[rows]`, or `f64[rows, outputs]` where `y` was so."""
        outputs = self._outputs(X).astype(np.float64) * self.target_sd_ + self.target_mean_
        return outputs[:, 0] if self._flat else outputs

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
