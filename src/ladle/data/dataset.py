"""`Data`: examples as arrays, split once into a training and a validation part, with every inference in plain words."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ladle.core.errors import DataError, must
from ladle.core.foreign import as_array, is_number, is_small
from ladle.core.frames import is_frame, names_of, require_same_columns, require_same_index
from ladle.core.shown import shown
from ladle.data.inputs import as_f32, inputs, weights
from ladle.data.many import are_tokens, infer_many, is_many, refused_many
from ladle.data.parts import describe_given, describe_split, split
from ladle.data.target import Kind, TargetColumn, infer

PIXELS = "Pixels: bytes from 0 to 255, divided by 255."
"""The note by which it is known, later, that inputs of bytes were divided."""


@dataclass(frozen=True, eq=False)
class Data:
    """What a model is trained and judged on. Made by `ladle.data.load` or `ladle.data.arrays`.

    **Fields**

    - `name`: "digits", "housing.csv", "arrays".
    - `train`, `valid`: `{"x": ..., "y": ...}`, leading axis = examples. `x` is `f32[n, ...]`, or for tables with
      embedded categories `{"numbers": f32[n, k], "codes": i32[n, c]}`. `y` is `i32[n]` (class) or `f32[n]`
      (amount, standardised: `(amount - target_mean) / target_sd`); `[n, T]` where rows have T amounts or tokens.
      `train` may instead be a source of such rows, which is read as it is needed: see `ladle.data.streamed`.
    - `test`: the same, where the source has a test part of its own (mnist, fashion-mnist), else `None`.
    - `kind`: "classification" or "regression".
    - `classes`: names of the classes by class number, sorted unless the set has its own; `()` for regression.
    - `input_shape`: shape of one row of `x`; for tables, of its numbers.
    - `outputs`: number of classes, or of amounts.
    - `cardinalities`: levels of each embedded category, code 0 = unknown included; `()` without such.
    - `notes`: what was inferred, filled in or dropped; one sentence each.
    - `digest`: sha256 over names, types, shapes and bytes of `train`, `valid` and `weight`.
    - `weight`: `f32[rows]`, how much each training row counts in the loss, or `None` where all count one. Validation
      and reported losses of a part count every row once.
    - `target`: name of the target column, where it has one.
    - `columns`: names of a frame's columns, where rows came in one; by them new rows are put in order.
    - `kept`: of a table, how new rows of it become inputs, see `ladle.data.kept`.
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
    columns: tuple[str, ...] = ()
    kept: Any = field(default=None, repr=False)

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
        amounts = "one amount" if self.outputs == 1 else f"{self.outputs} amounts"
        answer = f"{self.outputs} classes" if self.kind == "classification" else amounts
        return f"{self.name}: {self.kind}, {', '.join(parts)}; {inputs} -> {answer}; digest {self.digest[:12]}"

    def _repr_html_(self) -> str:
        return shown(self, "\n".join([self.describe(), *self.notes]))


def arrays(
    X: Any,
    y: Any,
    *,
    weight: Any = None,
    valid: Any = 0.2,
    test: Any = None,
    seed: int = 0,
    kind: str | None = None,
    name: str = "arrays",
    tokens: bool | None = None,
) -> Data:
    """`Data` from two arrays, of whatever library: NumPy, torch, JAX, pandas, polars, Arrow, scipy.sparse, lists.

    **Arguments**

    - `X`: `[rows, ...]` numbers, or a frame of them. Becomes f32. Values are kept as they are, but for uint8 that
      reaches above 127: these are pixels and are divided by 255. An index is left behind.
    - `y`: `[rows]` numbers, booleans or strings. See `ladle.data.target` for the rule that tells classes from amounts;
      `kind` overrules it. Amounts are standardised with mean and standard deviation of the training part. Decimal
      numbers `[rows, T]` are T amounts a row, standardised by one mean and sd for all. Whole numbers `[rows, ...]` with
      `kind="classification"` are a class for each place, such as the pixels of an image (of bytes: `tokens=False`).
    - `weight`: `[rows]` numbers, finite and not negative: how much each row counts when it trains. An update follows
      the weighted mean, sum_i w_i grad l_i / sum_i w_i.
    - `valid`: share of the rows for the validation part, or that part itself: `(X, y)`. `seed`: which rows these are,
      see `split`.
    - `test`: rows that are judged once, when a run has ended, and never before: `(X, y)`.
    - `tokens`: whether `X` are numbers of a vocabulary, which stay `i32`. By default where `X` and `y` are whole
      numbers of one shape `[rows, T]`; `y` is then one class for each place.

    Raises `DataError` for NaN or infinity (with row and column), masked and missing values, no rows, other lengths,
    text or objects, and whole numbers that float32 would make one of.

    >>> data = arrays([[0.0], [1.0], [2.0], [3.0], [4.0]], ["no", "no", "yes", "yes", "yes"])
    >>> data.kind, data.classes, data.rows, data.input_shape
    ('classification', ('no', 'yes'), 4, (1,))
    """
    for beside in (y, weight):
        require_same_index(X, beside)
    for part, rows in (("valid", valid), ("test", test)):
        if is_frame(X) and isinstance(rows, Mapping | tuple | list):
            require_same_columns(X, _part(rows, part)[0], f"{part} x")
    last = None if test is None else _part(test, "test")
    made = build(X, y, name=name, valid=valid, seed=seed, kind=kind, weight=weight, test=last, tokens=tokens)
    return replace(made, columns=names_of(X)) if is_frame(X) else made


def build(
    X: Any,
    y: Any,
    *,
    name: str,
    valid: Any,
    seed: int,
    kind: str | None,
    weight: Any = None,
    test: tuple[Any, Any] | None = None,
    notes: tuple[str, ...] = (),
    why: str | None = None,
    tokens: bool | None = None,
) -> Data:
    """`arrays`, for readers that also have a test part and sentences of their own."""
    own = isinstance(valid, Mapping | tuple | list)
    given = {"train": (X, y), **({"valid": _part(valid)} if own else {}), **({"test": test} if test else {})}
    ys = {part: _flat(as_array(of[1], _called("y", part))) for part, of in given.items()}
    ys = {part: _alike(values, ys["train"]) for part, values in ys.items()}
    if tokens is None:
        first = as_array(X, "x") if ys["train"].ndim > 1 else ys["train"]
        tokens = are_tokens(first, ys["train"])
    x = {part: inputs(of[0], _called("x", part), tokens=tokens) for part, of in given.items()}
    for part, rows in x.items():
        if rows.shape[1:] != x["train"].shape[1:]:
            because, be = "one model reads all parts", f"have rows of shape {x['train'].shape[1:]}"
            raise DataError(must(_called("x", part), be, rows.shape[1:], because, "one shape"))
    target = _target(_joined(list(ys.values())), x["train"], kind=kind, why=why, tokens=tokens)
    for part in given:
        _require_rows(part, len(x[part]), len(ys[part]))
    scale, parts, split_notes = _scale(x, tokens), _placed(x), ()
    if own:
        split_notes = describe_given(target, parts)
    else:
        # Rows of several values are drawn at random: they have no one class to be kept in proportion.
        known = replace(target, values=target.values[: len(x["train"])])
        known = known if known.values.ndim == 1 else replace(known, kind="regression", classes=())
        parts |= split(known, valid=valid, seed=seed)
        split_notes = describe_split(known, parts, valid=valid, seed=seed)
    rows = {part: x[part] if part in x and part != "train" else x["train"][ids] for part, ids in parts.items()}
    made = {part: as_f32(of, scale) for part, of in rows.items()}
    pixels = (PIXELS,) if scale > 1 else ()
    pixels = (f"Tokens: whole numbers from 0 to {int(x['train'].max()):,}, as they are.",) if tokens else pixels
    weighted = None if weight is None else weights(weight, len(x["train"]))[parts["train"]]
    weighed = ("Rows count by weight when they train.",) if weight is not None else ()
    notes = (*notes, target.note, *pixels, *split_notes, *weighed)
    return assemble(name, target, parts, made, weight=weighted, notes=notes)


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
        outputs=len(target.classes) or int(np.prod(target.values.shape[1:])),
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


def _part(given: Any, part: str = "valid") -> tuple[Any, Any]:
    """Inputs and targets of a part that was given: a pair, or a mapping of both."""
    if isinstance(given, Mapping) and {"x", "y"} == set(given):
        given = given["x"], given["y"]
    if isinstance(given, tuple | list) and len(given) == 2:
        require_same_index(*given)
        return given[0], given[1]
    why = "its rows have inputs and targets, as those to train on"
    be, remedy = ("be a share of the rows, or (X, y)", "valid=0.2") if part == "valid" else ("be (X, y)", "(X, y)")
    raise DataError(must(part, be, type(given).__name__, why, remedy))


def _target(y: np.ndarray, x: np.ndarray, *, kind: str | None, why: str | None, tokens: bool) -> TargetColumn:
    if not is_many(y):
        return infer(y, kind=kind, why=why)
    made = infer_many(y, kind=kind, tokens=tokens and y.ndim >= x.ndim)
    if made is None:
        raise refused_many(y)
    return made


def _flat(y: np.ndarray) -> np.ndarray:
    y = y.astype(np.float32) if is_small(y.dtype) else y
    return y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y


def _alike(values: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Whole numbers as `train` has them: 0.0 beside its 0 is the same class, and makes no amounts of them."""
    if train.dtype.kind not in "iu" or values.dtype.kind != "f" or not np.isfinite(values).all():
        return values
    cast = values.astype(train.dtype)
    return cast if np.array_equal(cast, values) else values


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    if len(parts) == 1:
        return parts[0]
    kinds = {"number" if is_number(part.dtype) else "word" for part in parts}
    shapes = {part.shape[1:] for part in parts}
    if len(kinds) > 1 or len(shapes) > 1:
        got = " and ".join(f"{part.dtype} of shape {part.shape}" for part in parts)
        raise DataError(must("y", "be alike in all parts", got, "one model answers for all of them", "y of one type"))
    return np.concatenate(parts)


def _scale(x: Mapping[str, np.ndarray], tokens: bool) -> float:
    """What inputs are divided by: 255 where they are bytes of pixels, 1, or 0 for tokens, which stay whole numbers."""
    if tokens:
        return 0.0
    first = next(iter(x.values()))
    if first.dtype != np.uint8 or first.max() <= 127:
        return 1.0
    other = next((part for part, of in x.items() if of.dtype != np.uint8), None)
    if other is not None:
        got, why = f"{x[other].dtype} in {other!r}", "the rows to train on are pixels, which are divided by 255"
        raise DataError(must("x", "be bytes in all parts", got, why, "uint8 for all of them, or for none"))
    return 255.0


def _placed(x: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Ids of the rows of each part, the parts end to end."""
    ends = np.cumsum([len(rows) for rows in x.values()])
    return {part: np.arange(end - len(x[part]), end) for part, end in zip(x, ends.tolist(), strict=True)}


def _called(name: str, part: str) -> str:
    return name if part == "train" else f"{part} {name}"


def _require_rows(part: str, of_x: int, of_y: int) -> None:
    if of_x != of_y:
        because = "each row of x needs its own y"
        what = f"{_called('x', part)} and y"
        raise DataError(must(what, "have as many rows", f"{of_x} and {of_y}", because, "arrays of equal length"))
