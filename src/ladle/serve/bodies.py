"""Bodies of requests and answers: JSON, arrays as the bytes of a `.npy` file, and the Open Inference Protocol (v2).

    JSON   {"area": [50, 70], "town": ["x", null]} | [{"area": 50, "town": "x"}] | [[0.1, ...], ...] | [0.1, ...]
    npy    the bytes of `numpy.save`
    v2     {"id": "7", "inputs": [{"name": "x", "shape": [1, 64], "datatype": "FP32", "data": [0.1, ...]}]}

Whatever cannot be read is a `Refused` in one sentence: 400 where the body itself is broken, 422 where its rows are.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ladle.core.errors import DataError
from ladle.core.npy import NPY_FAILURES, npy_header, one_line
from ladle.serve.served import Answer, Refused, Served

DATATYPES = {
    "BOOL": "bool", "UINT8": "uint8", "UINT16": "uint16", "UINT32": "uint32", "UINT64": "uint64", "INT8": "int8",
    "INT16": "int16", "INT32": "int32", "INT64": "int64", "FP16": "float16", "FP32": "float32", "FP64": "float64",
    "BYTES": "str",
}  # fmt: skip
"""Types of the protocol. BYTES are words in JSON."""

_ONE_INPUT = ("x", "input", "input-0", "inputs", "rows")
"""What the only input of a model of one array may be called."""


def json_of(body: bytes) -> Any:
    """The value in a body. Raises `Refused` for what is no JSON, names a thing twice, or holds NaN or infinity."""
    if not body:
        raise Refused(400, 'the body is empty; rows are wanted, such as [[0.1, 0.2]] or {"column": [1, 2]}')
    try:
        return json.loads(body, parse_constant=_no_number, object_pairs_hook=_once)
    except RecursionError:
        raise Refused(400, "the body is nested too deeply; rows are lists of numbers or columns by name") from None
    except UnicodeDecodeError as error:
        raise Refused(400, f"the body is not UTF-8 text: {one_line(error)}") from None
    except ValueError as error:
        raise Refused(400, f"the body is not JSON: {one_line(error)}") from None


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number of JSON; null is a missing cell")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return made


def json_rows(body: bytes) -> Any:
    """The rows in a JSON body: a list or a mapping, never a text, which would be taken for the path of a file."""
    value = json_of(body)
    if not isinstance(value, list | dict):
        kind = {str: "a text", bool: "a truth value", type(None): "null"}.get(type(value), "one number")
        raise Refused(422, f"the body is {kind}; rows are wanted: a list of rows, one row, or columns by name")
    if not value:
        raise Refused(422, "the body holds no row")
    return value


def npy_rows(body: bytes) -> np.ndarray:
    """The array in the bytes of a `.npy` file; nothing is allocated that is not there. Raises `Refused`."""
    file = io.BytesIO(body)
    try:
        header = npy_header(file, len(body), Path("body"), "the array")
        if header.dtype.kind not in "biuf" or not all(size > 0 for size in header.shape) or not header.shape:
            raise Refused(422, f"the array is of {header.dtype} and shape {header.shape}; rows of numbers are wanted")
        flat = np.frombuffer(body, header.dtype, offset=header.offset_bytes)
        order = "F" if header.fortran_order else "C"
        return np.ascontiguousarray(flat.reshape(header.shape, order=order), header.dtype.newbyteorder("="))
    except DataError as error:
        raise Refused(400, f"the body is no .npy array: {one_line(error)}") from None
    except NPY_FAILURES as error:
        raise Refused(400, f"the body is no .npy array: {one_line(error)}") from None


def json_answer(answer: Answer, remarks: Sequence[str] = ()) -> bytes:
    """`{"predictions": [...], "chances": [[...]]}`; numbers as they are, digit for digit.

    - `remarks`: what is to be said of the rows, such as words that no training row has.
    """
    made: dict[str, Any] = {"predictions": answer.predictions.tolist()}
    if answer.chances is not None:
        made["chances"] = answer.chances.tolist()
    if remarks:
        made["remarks"] = list(remarks)
    return json.dumps(made, separators=(",", ":"), allow_nan=False).encode()


def v2_rows(body: bytes, served: Served) -> tuple[Any, str | None]:
    """Rows and the request's id. Raises `Refused` for what the protocol or the model does not know."""
    value = json_of(body)
    given = value.get("inputs") if isinstance(value, dict) else None
    if not isinstance(given, list) or not given or not all(isinstance(one, dict) for one in given):
        raise Refused(400, 'a request of the Open Inference Protocol holds {"inputs": [{"name": ..., "data": ...}]}')
    asked = value.get("id")
    if asked is not None and not isinstance(asked, str):
        raise Refused(400, "id is a text")
    arrays = {}
    for one in given:
        name = one.get("name")
        if not isinstance(name, str) or name in arrays:
            raise Refused(400, "every input has a name of its own")
        arrays[name] = _tensor(name, one)
    if served.takes is None:
        return {name: array.tolist() for name, array in arrays.items()}, asked
    name = next(iter(arrays))
    if len(arrays) > 1 or name not in _ONE_INPUT:
        raise Refused(422, f"the model has one input, called x; got {', '.join(list(arrays)[:6])}")
    return arrays[name], asked


def _tensor(name: str, one: Mapping[str, Any]) -> np.ndarray:
    kind, shape, data = one.get("datatype"), one.get("shape"), one.get("data")
    if kind not in DATATYPES:
        raise Refused(422, f"datatype of {name!r} is one of {', '.join(DATATYPES)}; got {str(kind)[:40]!r}")
    whole = isinstance(shape, list) and shape and all(type(size) is int and size > 0 for size in shape)
    if not whole or not isinstance(data, list):
        raise Refused(400, f"{name!r} has a shape, a list of whole numbers from 1, and data, a list")
    while data and isinstance(data[0], list):  # The protocol allows nested lists beside flat ones.
        if not all(isinstance(row, list) for row in data):
            raise Refused(422, f"the data of {name!r} is nested unevenly")
        data = [cell for row in data for cell in row]
    if len(data) != math.prod(shape):  # type: ignore[arg-type]
        raise Refused(422, f"{name!r} has {len(data):,} numbers, and shape {shape} wants {math.prod(shape):,}")  # type: ignore[arg-type]
    return _cells(name, kind, data).reshape(shape)  # type: ignore[arg-type]


def _cells(name: str, kind: str, data: list[Any]) -> np.ndarray:
    """Numbers of exactly that type, or words; `null` is a missing cell of a table."""
    if kind == "BYTES":
        if not all(isinstance(cell, str) or cell is None for cell in data):
            raise Refused(422, f"{name!r} is of BYTES, which are texts here")
        return np.array(data, object)
    wanted: tuple[type, ...] = (bool,) if kind == "BOOL" else (int, float) if kind.startswith("FP") else (int,)
    if any(type(cell) not in wanted and cell is not None for cell in data):
        raise Refused(422, f"{name!r} is of {kind}, and some of its data is not")
    if None in data:
        return np.array(data, object)
    try:
        made = np.array(data, DATATYPES[kind])
    except (OverflowError, ValueError):
        made = None
    if made is None or (made.dtype.kind == "f" and not np.isfinite(made).all()):
        raise Refused(422, f"{name!r} is of {kind}, and some of its numbers are too large for that")
    return made


def v2_answer(answer: Answer, name: str, asked: str | None, remarks: Sequence[str] = ()) -> bytes:
    """The same answers in the protocol's words: outputs `predictions` and, where there are, `chances`."""
    parts = {"predictions": answer.predictions, "chances": answer.chances}
    outputs = [_output(label, array) for label, array in parts.items() if array is not None]
    made: dict[str, Any] = {"model_name": name, **({} if asked is None else {"id": asked}), "outputs": outputs}
    if remarks:
        made["parameters"] = {"remarks": "; ".join(remarks)}
    return json.dumps(made, separators=(",", ":"), allow_nan=False).encode()


def _output(name: str, array: np.ndarray) -> dict[str, Any]:
    kind = {"i": "INT64", "U": "BYTES", "f": "FP64"}[array.dtype.kind]
    return {"name": name, "datatype": kind, "shape": list(array.shape), "data": array.reshape(-1).tolist()}


def v2_metadata(served: Served) -> dict[str, Any]:
    """What the protocol tells of a model."""
    dtype, shape = served.takes or (np.dtype("float32"), ())
    kind = next((kind for kind, name in DATATYPES.items() if name == str(dtype)), "FP32")
    inputs = [{"name": "x", "datatype": kind, "shape": [-1, *shape]}] if served.takes else []
    outputs = [{"name": "predictions", "datatype": "BYTES" if served.classes else "FP64", "shape": [-1]}]
    if served.classes:
        outputs.append({"name": "chances", "datatype": "FP64", "shape": [-1, len(served.classes)]})
    return {"name": served.name, "platform": "ladle", "inputs": inputs, "outputs": outputs}
