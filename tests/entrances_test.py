"""One property for every entrance: the same numbers in another wrapping are the same data, or are refused."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import ladle
from ladle.core.errors import ArgumentError
from ladle.feed import Arrays, Loader

pd = pytest.importorskip("pandas")
pa = pytest.importorskip("pyarrow")

Wrap = Callable[[np.ndarray], Any]


def columns(x: np.ndarray) -> dict[str, np.ndarray]:
    flat = x.reshape(len(x), -1)
    return {f"c{at}": np.ascontiguousarray(flat[:, at]) for at in range(flat.shape[1])}


def nullable(x: np.ndarray) -> Any:
    return pd.DataFrame(columns(x)).astype(x.dtype.name.replace("f", "F").replace("i", "I").replace("uI", "UI"))


WRAPS: dict[str, Wrap] = {
    "list": lambda x: x.tolist(),
    "rows": list,
    "tuples": lambda x: [tuple(row) if np.ndim(row) else row for row in x.tolist()],
    "swapped": lambda x: x.astype(x.dtype.newbyteorder()),
    "fortran": np.asfortranarray,
    "strided": lambda x: np.repeat(x, 2, axis=0)[::2],
    "masked": np.ma.array,
    "frozen": lambda x: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),
    "jax": lambda x: jnp.asarray(x) if x.dtype.itemsize <= 4 else x,
    "series or frame": lambda x: pd.Series(x, index=range(len(x), 0, -1)) if x.ndim == 1 else pd.DataFrame(columns(x)),
    "index": lambda x: pd.DataFrame(columns(x), index=np.arange(len(x)) * 3),
    "nullable": nullable,
    "table": lambda x: pa.table(columns(x)),
    "batch": lambda x: pa.table(columns(x)).combine_chunks().to_batches()[0],
    "column": lambda x: pa.array(x) if x.ndim == 1 else x,
}
SPOILT: dict[str, Wrap] = {
    "mask": lambda x: np.ma.array(x, mask=np.arange(x.size).reshape(x.shape) == 1),
    "words": lambda x: x.astype(str),
    "object": lambda x: x.astype(object),
    "missing": lambda x: pd.DataFrame(columns(x)).convert_dtypes().mask(np.arange(x.size).reshape(len(x), -1) == 1),
    "null": lambda x: pa.table({**columns(x), "odd": pa.array([None, *[1.0] * (len(x) - 1)])}),
    "text column": lambda x: pd.DataFrame({**columns(x), "odd": ["a"] * len(x)}),
    "dates": lambda x: pd.DataFrame({**columns(x), "odd": pd.to_datetime(["2020-01-01"] * len(x))}),
    "ragged": lambda x: [*x.reshape(len(x), -1).tolist()[:-1], [0.0] * 9],
    "short": lambda x: x[:-1],
    "no axis": lambda x: x.reshape(-1)[0],
    "set": lambda x: set(x.reshape(-1).tolist()),
}
SHAPES = st.sampled_from([(6, 2), (6, 1), (8, 3)])
VALUES: dict[str, Any] = {
    "f4": {"elements": st.floats(-1e6, 1e6, width=32)},
    "f8": {"elements": st.floats(-1e6, 1e6)},
    "i4": {"elements": st.integers(-1000, 1000)},
    "i8": {"elements": st.integers(-1000, 1000)},
    "u1": {},
}
PLAIN = SHAPES.flatmap(
    lambda shape: st.sampled_from(sorted(VALUES)).flatmap(
        lambda dtype: arrays.arrays(np.dtype(dtype), shape, **VALUES[dtype])
    )
)


def made(x: Any, y: Any, **rest: Any) -> ladle.data.Data:
    return ladle.data.arrays(x, y, **rest)


def rows_of(x: Any) -> np.ndarray:
    return next(iter(Loader({"x": x}, 100, order="sequential")))["x"]


@given(PLAIN, st.sampled_from(sorted(WRAPS)), st.sampled_from(sorted(WRAPS)))
def test_another_wrapping_is_the_same_data(x: np.ndarray, wrap: str, other: str) -> None:
    if x.dtype == np.uint8 and wrap in ("list", "tuples"):
        x = x // 2  # Whether numbers are bytes of pixels is said by their type, which lists have not.
    y, weight = np.arange(len(x)) % 2, np.arange(1.0, len(x) + 1)
    plain = made(x, y, weight=weight)
    assert made(WRAPS[wrap](x), WRAPS[other](y), weight=WRAPS[wrap](weight)).digest == plain.digest
    assert ladle.Task(None, None, {"x": WRAPS[wrap](x), "y": WRAPS[other](y)}).data.digest == made(x, y).digest
    own = made(x, y, valid=(x, y))
    assert made(WRAPS[other](x), y, valid=(WRAPS[wrap](x), WRAPS[other](y))).digest == own.digest or x.dtype == np.uint8
    held = ladle.data.streamed(Arrays({"x": x, "y": y}), valid={"x": WRAPS[wrap](x), "y": WRAPS[other](y)}).valid
    np.testing.assert_array_equal(held["x"], x)
    np.testing.assert_array_equal(rows_of(WRAPS[wrap](x)), x)


@given(PLAIN, st.sampled_from(sorted(WRAPS)))
def test_another_wrapping_of_amounts_is_the_same_target(x: np.ndarray, wrap: str) -> None:
    x, y = x.astype(np.float32), np.linspace(0, 5, len(x)) ** 2
    assert made(x, WRAPS[wrap](y)).digest == made(x, y).digest
    wide = np.stack([y, -y], 1)
    assert made(x, WRAPS[wrap](wide)).digest == made(x, wide).digest


@given(PLAIN, st.sampled_from(sorted(SPOILT)))
def test_what_is_spoilt_is_refused_at_every_entrance(x: np.ndarray, spoil: str) -> None:
    y, bad = np.arange(len(x)) % 2, SPOILT[spoil](x)
    source = Arrays({"x": x, "y": y})
    entrances = [
        lambda: made(bad, y),
        lambda: made(x, y, valid=(bad, y)),
        lambda: ladle.Task(None, None, {"x": bad, "y": y}),
        lambda: ladle.Task(None, None, (bad, y)),
    ]
    if spoil not in ("words",):  # Words are data for other loops, but no model's.
        entrances += [
            lambda: Loader({"x": bad, "y": y}, 4),
            lambda: ladle.data.streamed(source, valid={"x": bad, "y": y}),
        ]
    for enter in entrances:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(ArgumentError) as caught:
                enter()
        assert "\n" not in str(caught.value)


@settings(max_examples=30)
@given(st.lists(st.sampled_from(["a", "b", "cc"]), min_size=6, max_size=12).filter(lambda y: len(set(y)) > 1))
def test_words_as_classes(y: list[str]) -> None:
    x = np.arange(2.0 * len(y)).reshape(-1, 2)
    plain = made(x, np.array(y))
    for other in (y, np.array(y, object), pd.Series(y), pd.Series(y, dtype="category"), pd.Categorical(y), pa.array(y)):
        assert made(x, other).digest == plain.digest and made(x, other).classes == plain.classes
    for bad in ([*y[:-1], None], [*y[:-1], 1], pd.Series([*y[:-1], None]), pa.array([*y[:-1], None])):
        with pytest.raises(ArgumentError):
            made(x, bad)
