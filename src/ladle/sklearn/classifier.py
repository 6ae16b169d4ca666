"""`BatchClassifier`: a perceptron for classes, as a scikit-learn estimator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from ladle.core.errors import ArgumentError, must
from ladle.core.plan import Plan
from ladle.sklearn.base import BatchEstimator


class BatchClassifier(ClassifierMixin, BatchEstimator):
    """Classify rows with a multi-layer perceptron that ladle trains in mini-batches.

        outputs = mlp(x);   loss = sum_i w_i (logsumexp(outputs_i) - outputs_i[y_i]) / sum_i w_i   over each batch

    Inputs are used as they are: put a `StandardScaler` before it in a `Pipeline`. They are computed with in float32.

    **Parameters**

    - `hidden_layer_sizes`: width of each hidden layer, `()` for a linear model. `activation`: "relu", "gelu", "silu",
      "tanh". `dropout`: share of hidden units left out in training.
    - `optimizer`: "adam", "adamw", "sgd", "momentum", "lion", ...; `optimizer_options`: its constants,
      `{"weight_decay": 1e-4}`. `learning_rate`: a number, or "auto", the optimiser's usual rate moved to the batch size
      by its rule; with a plan the plan's, which was measured.
    - `batch_size`: rows of an update. A number (all rows where there are fewer), "full", a `ladle.Plan`, or "auto":
      planned for these rows on this machine in about `plan_seconds`, compiling apart; see `plan_`.
    - `max_iter`: passes over the rows at most. Training ends sooner where the loss was not lower by `tol` for
      `n_iter_no_change` passes: the training loss, or with `early_stopping` that of `validation_fraction` of the rows,
      held out; then the weights are those of the lowest.
    - `class_weight`: None, "balanced" or `{class: weight}`: times `sample_weight`.
    - `warm_start`: a second `fit` goes on from the weights of the first. `random_state`: a number, a generator or None.

    **Attributes**

    `classes_`, `n_features_in_`, `feature_names_in_`; `n_iter_`, passes of the last fit; `loss_`, `loss_curve_`, mean
    training loss of each pass; `validation_loss_curve_`, None without `early_stopping`; `batch_size_`, in use;
    `plan_`, the `ladle.Plan` where there is one.

    **Raises** `ValueError` for what cannot be right, `ladle.errors.RunError` where training diverged.

    >>> import numpy as np
    >>> X, y = np.array([[-1.0], [-0.5], [0.5], [1.0]]), ["low", "low", "high", "high"]
    >>> model = BatchClassifier((), learning_rate=0.1, max_iter=30, random_state=0).fit(X, y)
    >>> model.predict([[2.0], [-2.0]]).tolist(), model.classes_.tolist()
    (['high', 'low'], ['high', 'low'])
    """

    _kind = "classification"
    _loss = "cross_entropy"

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (100,),
        *,
        activation: str = "relu",
        dropout: float = 0.0,
        optimizer: str = "adam",
        optimizer_options: Mapping[str, float] | None = None,
        batch_size: int | str | Plan = 64,
        learning_rate: float | str = "auto",
        max_iter: int = 200,
        tol: float = 1e-4,
        n_iter_no_change: int = 10,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        class_weight: Mapping[Any, float] | str | None = None,
        warm_start: bool = False,
        random_state: Any = None,
        plan_seconds: float = 15.0,
    ) -> None:
        """Keep the parameters; they are checked when rows come. See the class."""
        super().__init__(
            hidden_layer_sizes,
            activation=activation,
            dropout=dropout,
            optimizer=optimizer,
            optimizer_options=optimizer_options,
            batch_size=batch_size,
            learning_rate=learning_rate,
            max_iter=max_iter,
            tol=tol,
            n_iter_no_change=n_iter_no_change,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            warm_start=warm_start,
            random_state=random_state,
            plan_seconds=plan_seconds,
        )
        self.class_weight = class_weight

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> BatchClassifier:
        """One pass over these rows, from where training stands. Returns the estimator.

        - `classes`: all classes there will ever be, needed in the first call.
        """
        if not hasattr(self, "_state"):
            if classes is None:
                why = "later rows may hold others"
                raise ArgumentError(must("classes", "be given to the first partial_fit", None, why, "np.unique(y)"))
            self.classes_ = np.unique(np.asarray(classes))
        elif classes is not None and not np.array_equal(self.classes_, np.unique(np.asarray(classes))):
            why, remedy = "the model has an output for each", "classes=None"
            raise ArgumentError(must("classes", f"stay {self.classes_.tolist()}", list(classes), why, remedy))
        if isinstance(self.class_weight, str):
            why, remedy = "how often classes come is not known from some of the rows", "a dict of weights"
            raise ArgumentError(must("class_weight", "be numbers for partial_fit", self.class_weight, why, remedy))
        return self._partial(X, y, sample_weight, learn=False)

    def _read_targets(self, y: Any, weight: np.ndarray, *, learn: bool) -> tuple[np.ndarray, np.ndarray | None]:
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        if learn:
            self.classes_ = np.unique(y)
        place = np.searchsorted(self.classes_, y).clip(0, len(self.classes_) - 1)
        unknown = self.classes_[place] != y
        if unknown.any():
            why, remedy = (
                "the model has an output for each of these classes",
                "warm_start=False, or all classes at once",
            )
            got = np.unique(y[unknown]).tolist()
            raise ArgumentError(must("y", f"hold classes of {self.classes_.tolist()}", got, why, remedy))
        own = None if self.class_weight is None else compute_sample_weight(self.class_weight, y)
        return place.astype(np.int32), own

    def _outputs_count(self) -> int:
        return max(len(self.classes_), 2)  # A cross entropy needs two; the second of one class is never answered.

    def _losses(self, outputs: np.ndarray, y: np.ndarray) -> np.ndarray:
        return -_log_softmax(outputs)[np.arange(len(y)), y]

    def predict(self, X: Any) -> np.ndarray:
        """The most likely class of each row, `[rows]`, one of `classes_`."""
        scores = self._scores(X)
        return self.classes_[scores.argmax(1)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """The chance of each class, `f64[rows, classes]`, in the order of `classes_`: softmax(outputs)."""
        return np.exp(self.predict_log_proba(X))

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """The logarithm of each chance, `f64[rows, classes]`."""
        return _log_softmax(self._scores(X))

    def decision_function(self, X: Any) -> np.ndarray:
        """The model's own outputs, `f32[rows, classes]`; of two classes the log odds of the second, `f32[rows]`."""
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def _scores(self, X: Any) -> np.ndarray:
        outputs = self._outputs(X)  # Refuses what is not fitted yet.
        return outputs[:, : len(self.classes_)]


def _log_softmax(outputs: np.ndarray) -> np.ndarray:
    scores = outputs.astype(np.float64)
    scores = scores - scores.max(1, keepdims=True)
    return scores - np.log(np.exp(scores).sum(1, keepdims=True))
