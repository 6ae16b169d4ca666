"""`BatchEstimator`: what the classifier and the regressor share: reading rows, fitting, going on, and being kept.

A fitted estimator holds NumPy arrays and plain numbers alone. Compiled programs and arrays on the device belong to the
process: they are made anew, from these, wherever a copy is first asked something.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import (
    _check_sample_weight,  # pyright: ignore[reportPrivateUsage]
    check_is_fitted,
    validate_data,
)

from ladle.api.backend import backend_named, built_in
from ladle.api.plan import plan
from ladle.api.task import Task
from ladle.core.errors import ArgumentError, DataError, must
from ladle.core.frames import require_numbers
from ladle.core.plan import Plan
from ladle.data.target import Kind
from ladle.sklearn.settings import Settings
from ladle.sklearn.training import Rows, Trained, Training, Watch, constants_of, data_of

AT_ONCE = 1024
"""Rows of one call of the predicting program."""

FEWEST = 16
"""Rows of its smallest form: fewer are filled up to it, so that few programs are compiled."""

MERGED = 1024
"""Rows of a single batch, at most, of which equal ones become one row of their joint weight."""


class BatchEstimator(BaseEstimator, ABC):
    """Base of `BatchClassifier` and `BatchRegressor`. Not to be used by itself.

    A subclass says what its targets are: `_read_targets`, `_losses`, `_kind`, `_loss`.
    """

    _kind: Kind
    _loss: str
    n_features_in_: int  # Set by scikit-learn.

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
        warm_start: bool = False,
        random_state: Any = None,
        plan_seconds: float = 15.0,
    ) -> None:
        """Keep the parameters; they are checked when rows come. See the class."""
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.dropout = dropout
        self.optimizer = optimizer
        self.optimizer_options = optimizer_options
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.warm_start = warm_start
        self.random_state = random_state
        self.plan_seconds = plan_seconds

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train on `X`, `[rows, features]` numbers, and `y`; see the class. Returns the estimator.

        - `sample_weight`: `[rows]`, not negative: how much each row counts. A row of weight 0 is left out.

        Raises `ValueError` in one sentence for what cannot be right, before any work.
        """
        settings = Settings.of(self)
        going_on = bool(self.warm_start) and hasattr(self, "_state")
        rows = self._read(X, y, sample_weight, reset=not going_on, learn=not going_on)
        if not going_on:
            self._begin(settings)
        self._keep(*self._trained(settings, rows, settings.max_iter, watched=True), before=[])
        return self

    def _partial(self, X: Any, y: Any, sample_weight: Any, *, learn: bool) -> Any:
        """One more pass. `learn`: targets tell what there is to know of them, in the first call."""
        settings, first = Settings.of(self), not hasattr(self, "_state")
        for name, given, plain in (("batch_size", "auto", 64), ("early_stopping", True, False)):
            if getattr(settings, name) == given:
                why, remedy = "it needs all rows at once, and these are some of them", f"{name}={plain}, or fit"
                raise ArgumentError(must(name, "be left out of partial_fit", given, why, remedy))
        rows = self._read(X, y, sample_weight, reset=first, learn=first and learn)
        if first:
            self._begin(settings)
        before = [] if first else self.loss_curve_
        self._keep(*self._trained(settings, rows, 1, watched=False), before=before)
        return self

    def _begin(self, settings: Settings) -> None:
        """Forget what was trained. The seed of weights, orders and held-out rows is drawn once, here."""
        for name in ("_state", "_live", "_weights", "n_iter_", "loss_curve_", "plan_"):
            vars(self).pop(name, None)
        self._passes = 0
        self._seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        self._form = self._formed(settings)

    def _formed(self, settings: Settings) -> tuple[Any, ...]:
        """The model in plain words: what has to be the same for weights to fit."""
        widths = (self.n_features_in_, *settings.hidden, self._outputs_count())
        return widths, settings.activation, settings.dropout

    def _trained(self, settings: Settings, rows: Rows, passes: int, *, watched: bool) -> tuple[Trained, Any, int]:
        """What training left, its engine, and the batch size in use. Changes nothing that was trained before."""
        if self._form != (form := self._formed(settings)):
            why = "training goes on from weights of that shape"
            raise ArgumentError(must("hidden_layer_sizes", f"stay as in {self._form}", form, why, "warm_start=False"))
        held = None
        if watched and settings.early_stopping:
            rows, held = self._parted(settings, rows)
        task = self._task(settings, rows)
        size, micro, constants = self._sized(settings, task, rows)
        whole = size >= len(rows)
        used = rows.merged() if whole and not settings.dropout and len(rows) <= MERGED else rows
        training = Training.of(task, used, len(used) if whole else size, micro)
        engine = training.assembly.engine
        if constants is None:
            constants = constants_of(training.assembly, settings.learning_rate, size)
        if hasattr(self, "_state"):
            self._require_same_rule(settings)
            state = engine.with_constants(engine.place(self._state), constants)
        else:
            state = engine.step.init(self._seed, constants)
        self._rule = settings.optimizer
        watch = Watch(settings.patience, settings.tol, self._judge(engine, held)) if watched else None
        return training.fit(state, self._seed, self._passes, passes, watch), engine, min(size, len(rows))

    def _keep(self, done: Trained, engine: Any, size: int, *, before: list[float]) -> None:
        """Attributes of the fitted estimator. `before`: losses that its curve begins with."""
        self._state = done.state
        self._weights = engine.weights(done.state)
        self._live = engine, engine.with_weights(self._weights)
        self._passes += len(done.curve)
        self.loss_curve_ = [*before, *done.curve]
        self.validation_loss_curve_ = done.valid_curve
        self.n_iter_ = len(self.loss_curve_)
        self.loss_ = self.loss_curve_[-1]
        self.batch_size_ = size

    def _require_same_rule(self, settings: Settings) -> None:
        if settings.optimizer != self._rule:
            why, remedy = "training goes on with that one's averages", f"optimizer={self._rule!r}, or warm_start=False"
            raise ArgumentError(must("optimizer", "stay what it was", settings.optimizer, why, remedy))

    def _task(self, settings: Settings, rows: Rows) -> Task:
        widths, activation, dropout = self._form
        return Task(
            built_in().mlp(*widths, activation=activation, dropout=dropout),
            self._loss,
            data_of(self._kind, rows, self._outputs_count()),
            optimizer=settings.optimizer,
            lr=settings.learning_rate,
            hyper=settings.hyper,
            metrics={},
        )

    def _sized(self, settings: Settings, task: Task, rows: Rows) -> tuple[int, int | None, dict[str, float] | None]:
        """Batch size, micro-batch size and the optimiser's constants, the last two None where they follow from it."""
        asked = settings.batch_size
        if not isinstance(asked, Plan) and asked != "auto":
            return (len(rows) if asked == "full" else int(asked)), None, None
        if isinstance(asked, Plan):
            self.plan_ = asked
        elif not hasattr(self, "plan_"):
            self.plan_ = self._planned(settings, task, rows)
        made, lr = self.plan_, settings.learning_rate
        rate = made.lr if lr == "auto" else float(lr)
        return made.size, made.micro_size, {**made.hyper, **settings.hyper, **({} if rate is None else {"lr": rate})}

    def _planned(self, settings: Settings, task: Task, rows: Rows) -> Plan:
        """The plan for these rows. Rates race to a loss on some of them, which are trained on all the same later."""
        kept, held = self._parted(settings, rows)
        data = data_of(self._kind, kept, self._outputs_count(), held)
        lr: Any = settings.learning_rate
        until = f"{settings.max_iter} epochs"
        return plan(task.with_(data=data), lr=lr, seed=self._seed, until=until, budget=settings.plan_seconds)

    def _parted(self, settings: Settings, rows: Rows) -> tuple[Rows, Rows]:
        """Rows to train on, and a share that is held out: classes in proportion."""
        if len(rows) < 2:
            why = "there has to be one to train on and one to judge by"
            raise ArgumentError(must("X", "have at least 2 rows", len(rows), why, "early_stopping=False"))
        labels = rows.y if self._kind == "classification" else None
        share, ids = settings.validation_fraction, np.arange(len(rows))
        parts = train_test_split(ids, test_size=share, random_state=self._seed, stratify=labels)
        return rows.taken(np.asarray(parts[0])), rows.taken(np.asarray(parts[1]))

    def _judge(self, engine: Any, held: Rows | None) -> Any:
        if held is None:
            return None
        x, weight = held.x, held.weight.astype(np.float64)
        return lambda state: float(np.average(self._losses(predicted(engine, state, x), held.y), weights=weight))

    def _read(self, X: Any, y: Any, sample_weight: Any, *, reset: bool, learn: bool) -> Rows:
        """Rows as arrays, checked. Those that weigh nothing are left out.

        - `reset`: they say how many features there are, and their names. `learn`: they say which targets there are.
        """
        for name, values in (("X", X), ("y", y), ("sample_weight", sample_weight)):
            require_unmasked(name, values)
        require_numbers(X, "X")
        X, y = validate_data(
            self, X, y, reset=reset, dtype=np.float32, accept_sparse="csr", multi_output=True, y_numeric=False
        )
        given = sample_weight is not None
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        y, own = self._read_targets(y, weight, learn=learn)
        weight = weight if own is None else weight * own
        if given or own is not None:
            kept = np.flatnonzero(weight > 0)
            if not len(kept):
                why = "an update follows the rows that count"
                raise ArgumentError(must("sample_weight", "be above 0 for some row", 0.0, why, "sample_weight=None"))
            X, y, weight = X[kept], y[kept], weight[kept]
        return Rows(dense(X), y, weight.astype(np.float32))

    @abstractmethod
    def _read_targets(self, y: Any, weight: np.ndarray, *, learn: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """Targets as the loss takes them, and what each row counts beside its weight."""

    @abstractmethod
    def _losses(self, outputs: np.ndarray, y: np.ndarray) -> np.ndarray:
        """`f64[rows]`, the loss of each row, as training has it."""

    @abstractmethod
    def _outputs_count(self) -> int:
        """Of the model."""

    def _outputs(self, X: Any) -> np.ndarray:
        """The model's own outputs, `f32[rows, outputs]`, for rows as the user has them."""
        check_is_fitted(self, "n_iter_")
        require_unmasked("X", X)
        require_numbers(X, "X")
        X = validate_data(self, X, reset=False, dtype=np.float32, accept_sparse="csr")
        engine, state = self._alive()
        parts = [dense(X[at : at + 8 * AT_ONCE]) for at in range(0, X.shape[0], 8 * AT_ONCE)]
        return np.concatenate([predicted(engine, state, part) for part in parts])

    def _alive(self) -> tuple[Any, Any]:
        """The programs of this process that predict, and the weights where they want them."""
        if "_live" not in self.__dict__:
            widths, activation, dropout = self._form
            backend = backend_named()
            model = built_in().mlp(*widths, activation=activation, dropout=dropout)
            engine = backend.engine(backend.objective(model, self._loss, {}, self._kind), backend.optimizer("sgd"))
            self._live = engine, engine.with_weights(self._weights)
        return self._live

    def __getstate__(self) -> dict[str, Any]:
        """What is copied and pickled: arrays and numbers, no programs."""
        kept: Any = super().__getstate__()
        return {name: value for name, value in kept.items() if name != "_live"}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def require_unmasked(name: str, values: Any) -> None:
    """Refuse masked values, which scikit-learn would read as if they were not. Raises `DataError`."""
    if np.ma.is_masked(values):
        got = f"{int(np.ma.count_masked(values)):,} masked"
        raise DataError(must(name, "hold no masked values", got, "nothing is known of them", f"{name}.filled(0)"))


def dense(X: Any) -> np.ndarray:
    """Sparse rows become `f32[rows, features]`; the others are so already."""
    return np.asarray(X.toarray() if hasattr(X, "toarray") else X, np.float32)


def predicted(engine: Any, state: Any, x: np.ndarray) -> np.ndarray:
    """Outputs of every row. Few rows are filled up to a power of two, so that few programs are compiled."""
    rows = len(x)
    most = min(AT_ONCE, max(FEWEST, 1 << (rows - 1).bit_length()))
    if rows < most:
        x = np.concatenate([x, np.zeros((most - rows, x.shape[1]), np.float32)])
    return engine.predict(state, x)[:rows]
