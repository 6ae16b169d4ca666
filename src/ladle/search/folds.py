"""Cross-validation: which row is left out in which fold. Folds are equal to within one row, classes too."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ladle.core.errors import ArgumentError, must
from ladle.core.seed import seed_words
from ladle.core.spec import require_count


@dataclass(frozen=True, eq=False)
class Folds:
    """The fold of every row. Made by `folds_of`.

    - `of`: `i64[rows]`, below `count`.

    >>> folds = folds_of(7, 3, seed=0)
    >>> folds.left_out(0).tolist(), folds.trained_on(0).tolist(), folds.epoch_size
    ([0, 3, 6], [1, 2, 4, 5], 4)
    """

    of: np.ndarray = field(repr=False)
    count: int

    def left_out(self, fold: int) -> np.ndarray:
        """`i64[..]` rows to judge on, ascending."""
        return np.flatnonzero(self.of == fold)

    def trained_on(self, fold: int) -> np.ndarray:
        """`i64[..]` rows to train on, ascending."""
        return np.flatnonzero(self.of != fold)

    @property
    def largest(self) -> int:
        """Rows of the largest fold."""
        return -(-len(self.of) // self.count)

    @property
    def epoch_size(self) -> int:
        """Rows in a pass, the same for every fold: those that even the largest fold leaves to train on."""
        return len(self.of) - self.largest


def folds_of(rows: int, count: int, *, seed: int, labels: np.ndarray | None = None) -> Folds:
    """A random partition of `rows` rows into `count` folds; with `labels`, every class is spread evenly over them.

    Rows are shuffled, sorted by class (each class keeps its shuffle) and dealt out in turn, so that two folds differ by
    at most one row in all, and by at most one row of any class.

    - `labels`: `[rows]` classes, or None for amounts.

    Raises `ArgumentError` for a bad seed, less than two folds, more folds than rows, or (with labels) a fold of one
    class: nothing that is learnt between classes could be judged on it.

    >>> folds = folds_of(6, 3, seed=0, labels=np.array([0, 0, 0, 1, 1, 1]))
    >>> sorted(folds.of[:3].tolist()), sorted(folds.of[3:].tolist())
    ([0, 1, 2], [0, 1, 2])
    """
    if require_count("folds", count) < 2:
        raise ArgumentError(
            must("folds", "be at least 2", count, "one is left out, the others train", f"folds={max(min(5, rows), 2)}")
        )
    if count > rows:
        why = "every fold needs a row to be judged on"
        raise ArgumentError(
            must("folds", f"be at most the {rows:,} training rows", count, why, f"folds={max(min(5, rows), 2)}")
        )
    seed_words(seed)
    dealt = np.random.Generator(np.random.Philox(key=seed)).permutation(rows)
    if labels is not None:
        dealt = dealt[np.argsort(np.asarray(labels)[dealt], kind="stable")]
    of = np.empty(rows, np.int64)
    of[dealt] = np.arange(rows) % count
    folds = Folds(of, count)
    if labels is not None:
        _require_classes(folds, np.asarray(labels))
    return folds


def _require_classes(folds: Folds, labels: np.ndarray) -> None:
    """Refuse folds that hold rows of one class alone."""
    classes, class_of = np.unique(labels, return_inverse=True)
    held = np.zeros((folds.count, len(classes)), bool)
    held[folds.of, class_of] = True
    poor = np.flatnonzero(held.sum(1) < 2)
    if not poor.size:
        return
    counts = np.sort(np.bincount(class_of))[::-1]
    second = int(counts[1]) if len(counts) > 1 else 0
    only = classes[held[poor[0]].argmax()]
    why = f"fold {poor[0]} of {folds.count} holds rows of class {only} alone"
    remedy = f"folds={second}" if second >= 2 else "more rows of other classes"
    raise ArgumentError(must("folds", "hold two classes each", folds.count, why, remedy))
