"""Which rows train and which validate: fixed by a seed, in proportion for classes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ladle.core.errors import ArgumentError, DataError, must
from ladle.data.refuse import listed
from ladle.data.target import TargetColumn


def split(target: TargetColumn, *, valid: float = 0.2, seed: int = 0) -> dict[str, np.ndarray]:
    """Ids of the rows to train on and to validate on: `{"train": i64[...], "valid": i64[...]}`, both ascending.

    Each row gets a random number that depends on `seed` and its place only; the rows with the smallest numbers
    validate. With classes this is done in each class c of n_c rows, for v_c rows,

        v_c in {floor(valid n_c), ceil(valid n_c)},   v_c <= n_c - 1,   sum_c v_c = round(valid n) where that allows it

    (largest remainders first). So every class keeps a row to train on, and a class with a single row only trains.

    With `valid=0` all rows train and none validates.

    Raises `ArgumentError` unless 0 <= valid < 1 and `seed` is a whole number >= 0; `DataError` where no row is left.

    >>> from ladle.data.target import infer
    >>> parts = split(infer([0, 1, 0, 1, 0, 1, 0, 1, 0, 1]), valid=0.2)
    >>> len(parts["train"]), (parts["valid"] % 2).sum()      # one of each class validates
    (8, np.int64(1))
    """
    _require_share(valid)
    _require_seed(seed)
    rows = len(target.values)
    if valid == 0:
        return {"train": np.arange(rows), "valid": np.arange(0)}
    strata = target.values if target.kind == "classification" else np.zeros(rows, np.int32)
    counts = np.bincount(strata)
    take = _shares(counts, valid)
    if take.sum() == 0:
        because = "no class has two rows" if target.kind == "classification" else "one row cannot be split"
        raise DataError(
            must("data", "have a row to train on and one to validate on", f"{rows} rows", because, "more rows")
        )
    # Raw words of a counter-based generator: unlike `permutation`, these bits are promised to stay the same.
    numbers = np.random.Philox(key=seed).random_raw(rows)
    order = np.lexsort((numbers, strata))
    rank = np.arange(rows) - (np.cumsum(counts) - counts)[strata[order]]
    chosen = np.zeros(rows, bool)
    chosen[order] = rank < take[strata[order]]
    return {"train": np.flatnonzero(~chosen), "valid": np.flatnonzero(chosen)}


def describe_split(
    target: TargetColumn, parts: Mapping[str, np.ndarray], *, valid: float, seed: int
) -> tuple[str, ...]:
    """The split in words, and which classes have no row to validate on."""
    train, held = len(parts["train"]), len(parts["valid"])
    how = "each class in proportion" if target.kind == "classification" else "drawn at random"
    test = f"; {len(parts['test']):,} rows to test come with the data" if "test" in parts else ""
    if not held:
        return (f"No split: all {train:,} rows train{test}.",)
    note = f"Split: {train:,} rows to train on, {held:,} to validate ({100 * valid:.3g} %, seed {seed}, {how}){test}."
    seen = np.bincount(target.values[parts["valid"]], minlength=len(target.classes)) if target.classes else np.ones(1)
    unseen = [target.classes[index] for index in np.flatnonzero(seen == 0)]
    return (note, f"Too few rows to validate: class {listed(unseen)}.") if unseen else (note,)


def describe_given(target: TargetColumn, parts: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """Parts that were given as they are, in words, and which classes have no row to train on."""
    counts = {part: f"{len(ids):,}" for part, ids in parts.items()}
    tested = f", {counts['test']} to test" if "test" in counts else ""
    note = f"Parts as given: {counts['train']} rows to train on, {counts['valid']} to validate{tested}."
    if not target.classes or target.values.ndim > 1:
        return (note,)
    seen = np.bincount(target.values[parts["train"]], minlength=len(target.classes))
    unseen = [target.classes[index] for index in np.flatnonzero(seen == 0)]
    return (note, f"No row to train on: class {listed(unseen)}.") if unseen else (note,)


def _shares(counts: np.ndarray, valid: float) -> np.ndarray:
    """How many rows of each class validate: largest remainders, never a class's last row."""
    exact = counts * valid
    take = np.minimum(np.floor(exact).astype(np.int64), np.maximum(counts - 1, 0))
    left = max(1, round(float(exact.sum()))) - int(take.sum())
    room = np.flatnonzero(take < counts - 1)
    largest_first = room[np.argsort(-(exact - take)[room], kind="stable")]
    take[largest_first[: max(left, 0)]] += 1
    return take


def _require_share(valid: object) -> None:
    if isinstance(valid, bool) or not isinstance(valid, int | float) or not 0 <= valid < 1:
        because = "training needs rows"
        raise ArgumentError(must("valid", "be a share of at least 0 and below 1", valid, because, "valid=0.2"))


def _require_seed(seed: object) -> None:
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**64:
        raise ArgumentError(must("seed", "be a whole number >= 0", seed, "it names one of the splits", "seed=0"))
