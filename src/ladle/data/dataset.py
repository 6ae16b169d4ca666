"""`Data`: examples as arrays, split once into a training and a validation part, with every inference in plain words."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ladle.core.errors import DataError, must
from ladle.core.npy import one_line
from ladle.data.parts import describe_split, split
from ladle.data.target import Kind, TargetColumn, infer, representable


@dataclass(frozen=True, eq=False)
class Data:
    """What a model is trained and judged on. Made by `ladle.data.load` or `ladle.data.arrays`.

    **Fields**

    - `name`: "digits", "housing.csv", "arrays".
    - `train`, `valid`: `{"x": ..., "y": ...}`, leading axis = examples. `x` is `f32[n, ...]`, or for tables with
      embedded categories `{"numbers": f32[n, k], "codes": i32[n, c]}`. `y` is `i32[n]` (class) or `f32[n]`
      (amount, standardised: `(amount - target_mean) / target_sd`).
      `train` may instead be a source of such rows, which is read as it is needed: see `ladle.data.streamed`.
    - `test`: the same, where the source has a test part of its own (mnist, fashion-mnist), else `None`.
    - `kind`: "classification" or "regression".
    - `classes`: names of the classes by class number, sorted unless the set has its own; `()` for regression.
    - `input_shape`: shape of one row of `x`; for tables, of its numbers.
    - `outputs`: number of classes, or 1.
    - `cardinalities`: levels of each embedded category, code 0 = unknown included; `()` without such.
    - `notes`: what was inferred, filled in or dropped; one sentence each.
    - `digest`: sha256 over names, types, shapes and bytes of `train`, `valid` and `weight`.
    - `weight`: `f32[rows]`, how much each training row counts in the loss, or `None` where all count one. Validation
      and reported losses of a part count every row once.
    - `target`: name of the target column, where it has one.
    - `target_mean`, `target_sd`: of the training part, in the target's own unit; 0 and 1 for classification.
    """

    name: str
    train: Mapping[str, Any] = field(repr=False)
    valid: Mapping[str, Any] = field(repr=False)
    kind: Kind
    classes: tuple[str, ...]
    input_shape: tuple[int, ...]
    outputs: int
    notes: tuple[str, ...] = field(repr=False)
    digest: str
    test: Mapping[str, Any] | None = field(default=None, repr=False)
    weight: np.ndarray | None = field(default=None, repr=False)
    cardinalities: tuple[int, ...] = ()
    target_mean: float = 0.0
    target_sd: float = 1.0
    target: str | None = None

    @property
    def rows(self) -> int:
        """Rows of the training part."""
        return len(self.train["y"] if isinstance(self.train, Mapping) else self.train)

    @property
    def resident(self) -> bool:
        """Whether the training part is arrays in memory; if not, it is a source (see `ladle.data.streamed`)."""
        return isinstance(self.train, Mapping)

    def describe(self) -> str:
        """The data in one line."""
        parts = [f"{self.rows:,} rows to train on", f"{len(next(iter(self.valid.values()))):,} to validate"]
        if self.test is not None:
            parts.append(f"{len(self.test['y']):,} to test")
        inputs = " x ".join(str(n) for n in self.input_shape) + (" input" if self.input_shape == (1,) else " inputs")
        if self.cardinalities:
            inputs += f" and {len(self.cardinalities)} embedded categories"
        answer = f"{self.outputs} classes" if self.kind == "classification" else "one amount"
        return f"{self.name}: {self.kind}, {', '.join(parts)}; {inputs} -> {answer}; digest {self.digest[:12]}"


def arrays(
    X: Any,
    y: Any,
    *,
    weight: Any = None,
    valid: float = 0.2,
    seed: int = 0,
    kind: str | None = None,
    name: str = "arrays",
) -> Data:
    """`Data` from two arrays.

    **Arguments**

    - `X`: `[rows, ...]` numbers, anything `numpy.asarray` understands. Becomes f32. Values are kept as they are,
      but for uint8 that reaches above 127: these are pixels and are divided by 255.
    - `y`: `[rows]` numbers, booleans or strings. See `ladle.data.target` for the rule that tells classes from amounts;
      `kind` overrules it. Amounts are standardised with mean and standard deviation of the training part.
    - `weight`: `[rows]` numbers, finite and not negative: how much each row counts when it trains. An update follows
      the weighted mean, sum_i w_i grad l_i / sum_i w_i.
    - `valid`: share of the rows for the validation part. `seed`: which rows these are, see `split`.

    Raises `DataError` for NaN or infinity (with row and column), no rows, other lengths, text or objects.

    >>> data = arrays([[0.0], [1.0], [2.0], [3.0], [4.0]], ["no", "no", "yes", "yes", "yes"])
    >>> data.kind, data.classes, data.rows, data.input_shape
    ('classification', ('no', 'yes'), 4, (1,))
    """
    return build(X, y, name=name, valid=valid, seed=seed, kind=kind, weight=weight)


def build(
    X: Any,
    y: Any,
    *,
    name: str,
    valid: float,
    seed: int,
    kind: str | None,
    weight: Any = None,
    test: tuple[Any, Any] | None = None,
    notes: tuple[str, ...] = (),
    why: str | None = None,
) -> Data:
    """`arrays`, for readers that also have a test part and sentences of their own."""
    x = _inputs(X, "x")
    test_x = x[:0] if test is None else _inputs(test[0], "test x")
    if test_x.shape[1:] != x.shape[1:]:
        because = "one model reads both parts"
        raise DataError(must("test x", f"have rows of shape {x.shape[1:]}", test_x.shape[1:], because, "one shape"))
    target = infer(y if test is None else _joined(y, test[1]), kind=kind, why=why)
    _require_rows(len(x) + len(test_x), len(target.values))
    scale = 255.0 if x.dtype == np.uint8 and x.max() > 127 else 1.0
    known = TargetColumn(target.kind, target.values[: len(x)], target.classes, target.note)
    parts = split(known, valid=valid, seed=seed)
    inputs = {part: _f32(x[ids], scale) for part, ids in parts.items()}
    if test is not None:
        parts["test"] = np.arange(len(x), len(target.values))
        inputs["test"] = _f32(test_x, scale)
    pixels = ("Pixels: bytes from 0 to 255, divided by 255.",) if scale > 1 else ()
    split_notes = describe_split(known, parts, valid=valid, seed=seed)
    weights = None if weight is None else _weights(weight, len(x))[parts["train"]]
    weighed = ("Rows count by weight when they train.",) if weight is not None else ()
    notes = (*notes, target.note, *pixels, *split_notes, *weighed)
    return assemble(name, target, parts, inputs, weight=weights, notes=notes)


def assemble(
    name: str,
    target: TargetColumn,
    parts: Mapping[str, np.ndarray],
    inputs: Mapping[str, Any],
    *,
    weight: np.ndarray | None = None,
    cardinalities: tuple[int, ...] = (),
    notes: tuple[str, ...] = (),
) -> Data:
    """Join the inputs of each part with its targets: the last step of every reader.

    - `parts`: ids of the rows of "train", "valid" and perhaps "test" in `target.values`.
    - `inputs`: the tree of arrays of each part.
    """
    mean, sd = 0.0, 1.0
    y: dict[str, np.ndarray] = {part: target.values[ids] for part, ids in parts.items()}
    if target.kind == "regression":
        mean, sd = moments(y["train"])
        y = {part: ((amounts - mean) / sd).astype(np.float32) for part, amounts in y.items()}
        notes = (*notes, f"Target standardised: (amount - {mean:,.6g}) / {sd:,.6g}, mean and sd of the training rows.")
    both = {part: {"x": inputs[part], "y": y[part]} for part in parts}
    row = both["train"]["x"]
    weighed = {} if weight is None else {"weight": weight}
    return Data(
        name=name,
        train=both["train"],
        valid=both["valid"],
        test=both.get("test"),
        kind=target.kind,
        classes=target.classes,
        input_shape=tuple((row["numbers"] if isinstance(row, dict) else row).shape[1:]),
        outputs=len(target.classes) or 1,
        weight=weight,
        cardinalities=cardinalities,
        notes=notes,
        digest=digest({"train": both["train"], "valid": both["valid"], **weighed}),
        target_mean=mean,
        target_sd=sd,
    )


def moments(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation (divisor n) to standardise with; sd 1 where the values are all equal.

    >>> moments(np.array([1.0, 3.0])), moments(np.array([0.1, 0.1, 0.1]))[1]
    ((2.0, 1.0), 1.0)
    """
    mean, sd = float(np.mean(values)), float(np.std(values))
    # Rounding leaves a tiny sd for equal values: dividing by it would blow the first other value up.
    return mean, sd if sd > 1e-12 * abs(mean) else 1.0


def digest(tree: Mapping[str, Any]) -> str:
    """sha256 (hexadecimal) over path, dtype, shape and bytes of every array in a tree of dicts.

    >>> zero, one = {"x": np.zeros(2)}, {"x": np.ones(2)}
    >>> digest(zero) == digest({"x": np.zeros(2)}), digest(zero) == digest(one)
    (True, False)
    """
    state = hashlib.sha256()
    for path, leaf in _leaves(tree):
        state.update(f"{path} {leaf.dtype.str} {leaf.shape}\n".encode())
        state.update(np.ascontiguousarray(leaf).reshape(-1).view(np.uint8).data)
    return state.hexdigest()


def _leaves(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, np.ndarray]]:
    for key in sorted(tree):
        value = tree[key]
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{path}/{key}")
        else:
            yield f"{path}/{key}", value


def _inputs(X: Any, name: str) -> np.ndarray:
    """`X` as numbers `[rows, ...]` that float32 can hold. Raises `DataError` with the place of the first other."""
    try:
        x = np.asarray(X)
    except ValueError as error:
        raise DataError(must(name, "be an array", type(X).__name__, one_line(error), "rows of equal length")) from None
    if x.dtype.kind not in "biuf":
        remedy = "X.astype(float), or `ladle.data.load` on the table, which encodes words"
        raise DataError(must(name, "hold numbers", str(x.dtype), f"its dtype is {x.dtype}", remedy))
    if x.ndim == 0 or len(x) == 0:
        raise DataError(must(name, "hold at least one row", x.shape, "it is empty", "data with rows"))
    x = x[:, None] if x.ndim == 1 else x
    if x.size == 0:
        raise DataError(
            must(name, "hold at least one column", x.shape, "there is nothing to predict from", "more columns")
        )
    bad = ~representable(x)
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        column = first[1] if len(first) == 2 else first[1:]
        where = f"row {first[0]}, column {column} (counted from 0) is not; {int(bad.sum()):,} values in all"
        raise DataError(must(name, "be finite in float32", float(x[first]), where, "filling or removing them first"))
    return x


def _joined(y: Any, test_y: Any) -> np.ndarray:
    try:
        return np.concatenate([y, test_y])
    except ValueError as error:
        raise DataError(must("y", "be one value per row", np.shape(y), one_line(error), "flat arrays")) from None


def _f32(x: np.ndarray, scale: float) -> np.ndarray:
    result = x.astype(np.float32)
    return result if scale == 1 else np.divide(result, np.float32(scale), out=result)


def _weights(weight: Any, rows: int) -> np.ndarray:
    try:
        values = np.asarray(weight, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(must("weight", "be numbers", type(weight).__name__, one_line(error), "a flat array")) from None
    if values.shape != (rows,):
        raise DataError(must("weight", f"have shape ({rows},)", values.shape, "each row has one", "one per row"))
    bad = np.flatnonzero(~(representable(values) & (values >= 0)))
    if bad.size:
        got = f"{values[bad[0]]} for row {bad[0]} (counted from 0)"
        raise DataError(must("weight", "be finite and not negative", got, "means divide by its sum", "0 or more"))
    return values.astype(np.float32)


def _require_rows(of_x: int, of_y: int) -> None:
    if of_x != of_y:
        because = "each row of x needs its own y"
        raise DataError(must("x and y", "have as many rows", f"{of_x} and {of_y}", because, "arrays of equal length"))
