"""`as_array`: whatever array a user has, as a NumPy array that means the same, or a refusal in one sentence.

No library is imported for it: kinds are known by where their types come from, and by the protocols they speak.

    NumPy                       masked cells refused, bytes in this machine's order, subclasses left behind
    torch                       gradients and devices left behind; bfloat16 and float8 stay what they are
    JAX, CuPy, TensorFlow, ...  by `__array__`, `get`, `__dlpack__`
    pandas, polars, Arrow       by `ladle.core.frames`: no index, no categories; a missing value is refused with its row
    scipy.sparse                densified where that takes at most half of the free memory
    lists                       of all of these too; of unequal length refused, words and numbers never mixed
"""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from ladle.core.errors import DataError, must
from ladle.core.frames import column_array, columns_of, is_column, is_frame, library
from ladle.core.host import host_free_bytes
from ladle.core.npy import one_line

NUMBERS = "biufc"
"""NumPy's letters for types that hold numbers; see `is_number` for those of `ml_dtypes`."""

_PLAIN = frozenset({bool, int, float, complex, np.float64, np.float32, np.int64, np.int32, np.bool_})
_FRACTIONS = frozenset({float, complex, np.float64, np.float32})
_WORDS = frozenset({str, bytes, np.str_, np.bytes_})
_FAILURES = (TypeError, ValueError, RuntimeError, OverflowError, AttributeError, BufferError, MemoryError)


def as_array(value: Any, name: str = "data") -> np.ndarray:
    """The array that `value` stands for, in this machine's byte order; nothing is copied where that can be.

    - `value`: an array of any library, a tensor, a series, a frame (its columns side by side), a sparse matrix, nested
      lists, one number. Objects that NumPy cannot read stay an array of type `object`: callers say what they take.
    - `name`: what messages call it.

    Raises `DataError` for masked or missing values (with row), rows of unequal length, arrays of other devices that
    cannot be fetched, and sparse matrices too large to be made dense.

    >>> as_array([[1, 2], [3, 4]]).tolist(), as_array(np.array([1], ">i4")).dtype.isnative
    ([[1, 2], [3, 4]], True)
    """
    if type(value) is np.ndarray and value.dtype.isnative:  # Most that is read, item by item.
        return value
    try:
        return native(_array(value, name))
    except DataError:
        raise
    except _FAILURES as error:
        why = one_line(error)
        raise DataError(must(name, "be an array", type(value).__name__, why, "numpy.asarray(...) of it")) from None


def is_array(value: Any) -> bool:
    """Whether `value` is one array, tensor, column or sparse matrix: no list, and no tree or frame of several."""
    if is_frame(value):
        return False
    return is_column(value) or (hasattr(value, "shape") and hasattr(value, "dtype")) or _is_sparse(value)


def is_number(dtype: np.dtype) -> bool:
    """Whether arrays of `dtype` hold numbers, those of `ml_dtypes` (bfloat16, float8, int4) among them."""
    return dtype.kind in NUMBERS or is_small(dtype)


def is_small(dtype: np.dtype) -> bool:
    """Whether `dtype` is one of `ml_dtypes`, which NumPy knows as bytes alone."""
    return dtype.kind == "V" and dtype.names is None and dtype.type.__module__.startswith("ml_dtypes")


def native(array: np.ndarray) -> np.ndarray:
    """`array` in the byte order of this machine.

    >>> native(np.array([1, 256], ">i2")).tolist()
    [1, 256]
    """
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def require_narrow(array: np.ndarray, name: str, remedy: str) -> None:
    """Refuse numbers that 32 bits cannot hold: JAX keeps no more by default, and cuts the others off in silence.

    >>> require_narrow(np.array([2**31]), "ids", "numpy arrays")
    Traceback (most recent call last):
        ...
    ladle.core.errors.DataError: ids must fit 32 bits; got 2147483648; because JAX keeps 32 bits of a number, and \
row 0 has more; try numpy arrays
    """
    kind, size = array.dtype.kind, array.dtype.itemsize
    if size < 8 or kind not in "iuf" or not array.size:
        return
    limits: Any = np.finfo(np.float32) if kind == "f" else np.iinfo(np.int32 if kind == "i" else np.uint32)
    low, high = (float(limits.min), float(limits.max)) if kind == "f" else (int(limits.min), int(limits.max))
    with np.errstate(invalid="ignore"):
        bad = (array < low) | (array > high)
    bad = bad & np.isfinite(array) if kind == "f" else bad
    if bad.any():
        at = tuple(int(i) for i in np.argwhere(bad)[0])
        why = f"JAX keeps 32 bits of a number, and {'row ' + str(at[0]) if at else 'it'} has more"
        raise DataError(must(name, "fit 32 bits", array[at].item(), why, remedy))


def same_rows(tree: Any, name: str) -> int:
    """How many rows the arrays of a tree have, one number for all. Raises `DataError` where they differ.

    >>> same_rows({"x": np.zeros((3, 2)), "y": np.zeros(2)}, "rows")
    Traceback (most recent call last):
        ...
    ladle.core.errors.DataError: rows must have as many rows in every array; got 'x 3, y 2'; because row i of each \
is of example i; try arrays of equal length
    """
    counts = {path: _rows(leaf, f"{name} {path!r}" if path else name) for path, leaf in _leaves(tree)}
    if len(set(counts.values())) > 1:
        got, why = ", ".join(f"{path} {count:,}" for path, count in counts.items()), "row i of each is of example i"
        raise DataError(must(name, "have as many rows in every array", got, why, "arrays of equal length"))
    if not counts:
        raise DataError(must(name, "hold an array", "none", "examples are its rows", '{"x": x, "y": y}'))
    return next(iter(counts.values()))


def tree_of(tree: Any, name: str, path: str = "") -> Any:
    """Nested mappings and tuples of whatever `as_array` takes, as the same nesting of NumPy arrays."""
    if isinstance(tree, Mapping):
        return {key: tree_of(branch, name, f"{path}.{key}" if path else str(key)) for key, branch in tree.items()}
    if isinstance(tree, tuple):
        made = [tree_of(branch, name, f"{path}.{at}" if path else str(at)) for at, branch in enumerate(tree)]
        return type(tree)(*made) if hasattr(tree, "_fields") else tuple(made)
    return as_array(tree, f"{name} {path!r}" if path else name)


def rows_of(tree: Any, name: str) -> Any:
    """`tree_of` what holds examples: arrays of one length, none of Python objects. Raises `DataError` for others."""
    made = tree_of(tree, name)
    for path, leaf in _leaves(made):
        if leaf.dtype == object:
            got, why = "Python objects (rows of unequal length, or None)", "objects do not fit on a device"
            remedy = "numbers of one type, rows of one length"
            raise DataError(must(f"{name} {path!r}" if path else name, "be an array of numbers", got, why, remedy))
    same_rows(made, name)
    return made


def _leaves(tree: Any, path: str = "") -> list[tuple[str, Any]]:
    if not isinstance(tree, Mapping | tuple):
        return [(path, tree)]
    named = tree.items() if isinstance(tree, Mapping) else enumerate(tree)
    return [leaf for key, branch in named for leaf in _leaves(branch, f"{path}.{key}" if path else str(key))]


def _rows(leaf: Any, name: str) -> int:
    shape = getattr(leaf, "shape", None)
    if shape is None:
        return len(leaf)
    if not len(shape):
        why = "it has no axis to count rows along"
        raise DataError(must(name, "count rows along its first axis", "one number", why, "an array of rows"))
    return int(shape[0])


def _array(value: Any, name: str) -> np.ndarray:
    if isinstance(value, np.ma.MaskedArray):
        return _unmasked(value, name)
    if isinstance(value, np.ndarray | np.generic):
        return np.asarray(value)
    if hasattr(value, "detach") and library(value) == "torch":
        return _tensor(value, name)
    if is_frame(value):
        return side_by_side(columns_of(value, name), name, len(value))
    if is_column(value):
        return column_array(value, name)
    if isinstance(value, list | tuple):
        return _listed(value, name)
    if _is_sparse(value):
        return _dense(value, name)
    if library(value) == "cupy" and hasattr(value, "get"):
        return np.asarray(value.get())
    if hasattr(value, "__array__") or hasattr(value, "__array_interface__"):
        made = np.asarray(value)
        # Sequences of a library, such as a column of Hugging Face, may hand their rows over as objects.
        return made if made.dtype != object or not hasattr(value, "tolist") else _listed(value.tolist(), name)
    if hasattr(value, "to_numpy"):
        return _array(value.to_numpy(), name)
    if hasattr(value, "__dlpack__"):
        return np.from_dlpack(value)
    if isinstance(value, set | frozenset) or hasattr(value, "__next__"):
        why = "what has no order, or is gone once it was read, has no rows by number"
        raise DataError(must(name, "be an array", type(value).__name__, why, "list(...) of it"))
    if isinstance(value, Mapping):
        got, why = f"a mapping of {', '.join(map(str, list(value)[:6]))}", "what has names is several arrays"
        raise DataError(must(name, "be one array", got, why, "numpy.stack(list(x.values()), axis=1)"))
    if isinstance(value, str | bytes) or not (hasattr(value, "__getitem__") and hasattr(value, "__len__")):
        return np.asarray(value)
    return _listed([value[at] for at in range(len(value))], name)  # A sequence of a library's own, `range` among them.


def _unmasked(value: Any, name: str) -> np.ndarray:
    """The cells of a masked array, where none is masked: what stands below a mask is anything."""
    masked = np.ma.getmaskarray(value)
    if value.dtype.names is None and masked.any():
        raise _unfilled(masked, name)
    if value.dtype.names is not None and value.mask is not np.ma.nomask and value.mask.astype(object).any():
        why, remedy = "some of its fields are masked", "its fields one by one"
        raise DataError(must(name, "have a value in every cell", "masked", why, remedy))
    return np.asarray(value.data)


def _unfilled(masked: np.ndarray, name: str) -> DataError:
    """The refusal of masked cells, with the place of the first."""
    at = [int(i) for i in np.argwhere(masked)[0]]
    place = f"row {at[0]}" if at else "it"
    place += f", column {at[1] if len(at) == 2 else tuple(at[1:])}" if len(at) > 1 else ""
    why = f"{place} (counted from 0) is masked, {int(masked.sum()):,} in all"
    remedy = "the rows without a mask, or x.filled(...) with what it should count as"
    return DataError(must(name, "have a value in every cell", "masked", why, remedy))


def side_by_side(columns: Sequence[tuple[str, np.ndarray]], name: str, rows: int) -> np.ndarray:
    """Columns of a frame as one matrix of numbers, `[rows, columns]`; a single column may hold anything."""
    odd = next(((label, values) for label, values in columns if not is_number(values.dtype)), None)
    if odd is not None and len(columns) > 1:
        why = "a matrix has one type, and words, dates and objects are no numbers"
        remedy = "the columns of numbers alone, or a file of it for ladle.data.load, which encodes words"
        raise DataError(must(f"column {odd[0]!r} of {name}", "hold numbers", str(odd[1].dtype), why, remedy))
    if any(values.ndim > 2 for _, values in columns) and len(columns) > 1:
        why, remedy = "one of its columns holds arrays of several axes", "that column alone"
        raise DataError(must(name, "be a frame of numbers", f"{len(columns)} columns", why, remedy))
    wide = [values[:, None] if values.ndim == 1 else values for _, values in columns]
    return np.concatenate(wide, axis=1) if wide else np.zeros((rows, 0))


def _listed(value: Any, name: str) -> np.ndarray:
    """A list as an array, with what is foreign in it converted first."""
    kinds = _kinds(value)
    if kinds <= _PLAIN:
        try:
            array = np.asarray(value)
        except ValueError:  # Rows of unequal length are named below.
            pass
        else:
            # No type of whole numbers holds all of them, and as fractions they would be others.
            return _objects(value) if array.dtype.kind == "f" and kinds and not kinds & _FRACTIONS else array
    if set(map(type, value)) & _WORDS:
        # NumPy would spell numbers, and NaN, out as words.
        return np.asarray(value) if kinds <= {str, np.str_} or kinds <= {bytes, np.bytes_} else _objects(value)
    masked = [item is np.ma.masked for item in value]
    if any(masked):
        raise _unfilled(np.array(masked), name)
    rows = [item if type(item) in _PLAIN or item is None else as_array(item, name) for item in value]
    shapes = [getattr(row, "shape", ()) for row in rows]
    odd = next((at for at, shape in enumerate(shapes) if shape != shapes[0]), None)
    if odd is not None:
        got = f"shape {shapes[0]} in row 0, {shapes[odd]} in row {odd}"
        remedy = "rows of equal length, or ladle.feed.Sequences for rows of many"
        raise DataError(must(name, "be an array of rows of one shape", got, "rows stand in one array", remedy))
    if {getattr(row, "dtype", np.dtype(float)).kind in "USO" for row in rows} == {True, False}:
        return _objects(rows)
    return np.asarray(rows) if rows else np.zeros(0)


def _kinds(value: Any) -> set[type]:
    """The types in a list, or in all lists of a list of lists, however deep; read at the speed of C."""
    while (kinds := set(map(type, value))) and kinds <= {list, tuple}:
        value = list(chain.from_iterable(value))
    return kinds


def _objects(items: Any) -> np.ndarray:
    made = np.empty(len(items), object)
    made[:] = [item.tolist() if isinstance(item, np.ndarray) else item for item in items]
    return made


def _tensor(value: Any, name: str) -> np.ndarray:
    """A tensor of PyTorch. Its values are left as they are: types that NumPy lacks are those of `ml_dtypes`."""
    value = value.detach()
    try:
        return value.cpu().numpy()  # Most are plain: asking first would take as long as reading a small one.
    except (TypeError, RuntimeError):  # NumPy lacks the type, or the numbers are not simply there.
        torch: Any = sys.modules["torch"]
    if getattr(value, "is_nested", False):
        why, remedy = "its rows have many lengths", "value.to_padded_tensor(0), or ladle.feed.Sequences"
        raise DataError(must(name, "be an array of rows of one shape", "a nested tensor", why, remedy))
    if value.layout != torch.strided:
        _require_room(math.prod(value.shape) * value.element_size(), tuple(value.shape), name)
        value = value.to_dense()
    if value.is_quantized:
        value = value.dequantize()
    value = value.cpu().resolve_conj().resolve_neg()
    kind = str(value.dtype).removeprefix("torch.")
    if not kind.startswith(("bfloat", "float8")):
        return value.numpy()
    bits = value.contiguous().view(torch.int16 if value.element_size() == 2 else torch.uint8).numpy()
    return bits.view(_small_float(kind))


def _small_float(kind: str) -> np.dtype:
    """The NumPy type of that name. JAX brings it: the package is there, but maybe not loaded yet."""
    return np.dtype(getattr(importlib.import_module("ml_dtypes"), kind))


def _is_sparse(value: Any) -> bool:
    return library(value) in ("scipy", "sparse") and hasattr(value, "nnz") and hasattr(value, "shape")


def _dense(value: Any, name: str) -> np.ndarray:
    _require_room(math.prod(value.shape) * value.dtype.itemsize, tuple(value.shape), name)
    return np.asarray(value.toarray() if hasattr(value, "toarray") else value.todense())


def _require_room(dense_bytes: int, shape: tuple[int, ...], name: str) -> None:
    free = host_free_bytes()[0]
    if 2 * dense_bytes > free:
        why = f"made dense it takes {dense_bytes / 1e9:,.1f} GB, and {free / 1e9:,.1f} GB are free"
        remedy = (
            "fewer columns (sklearn.decomposition.TruncatedSVD), or a source that makes rows dense as they are read"
        )
        raise DataError(must(name, "fit half of the free memory", f"a sparse {shape}", why, remedy))
