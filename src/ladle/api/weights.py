"""Weights on the disk: one safetensors file. The only file that knows the library; nothing is unpickled, ever.

The header is read by hand first: its length, its types and shapes, and that they fill the file are known before the
first number is read, so that a file which lies about itself costs nothing.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ladle.core.backend import Weight
from ladle.core.errors import CheckpointError, must

LARGEST_HEADER = 64 << 20
"""Bytes; some 500,000 weights."""

SIZES = {
    "float64": ("F64", 8), "float32": ("F32", 4), "float16": ("F16", 2), "bfloat16": ("BF16", 2), "int64": ("I64", 8),
    "int32": ("I32", 4), "int16": ("I16", 2), "int8": ("I8", 1), "uint64": ("U64", 8), "uint32": ("U32", 4),
    "uint16": ("U16", 2), "uint8": ("U8", 1), "bool": ("BOOL", 1), "complex64": ("C64", 8),
}  # fmt: skip
"""What NumPy calls a type, what the file does, and bytes of one number."""


def write(path: Path, weights: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name. Raises `CheckpointError` for types that such a file cannot hold."""
    from safetensors.numpy import save_file

    for name, array in weights.items():
        if str(array.dtype) not in SIZES:
            why = "a file of weights holds plain numbers"
            raise CheckpointError(must(f"weight {name}", "be of a known type", str(array.dtype), why, "float32"))
    # Scalars and slices too: the library reads memory as it lies.
    save_file({name: np.require(array, requirements="C") for name, array in weights.items()}, path)
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def read(path: Path, wanted: Mapping[str, Weight]) -> dict[str, np.ndarray]:
    """The arrays that are `wanted`, no more and no fewer. Raises `CheckpointError` before any is allocated.

    - `wanted`: names, types and shapes, as the model has them.
    """
    require_fit(path, wanted)
    from safetensors import SafetensorError, deserialize

    try:
        found = {name: view for name, view in deserialize(path.read_bytes())}
    except SafetensorError as error:
        raise refused(path, str(error)) from None
    return {
        name: np.frombuffer(found[name]["data"], _numpy(one.dtype)).reshape(one.shape) for name, one in wanted.items()
    }


def require_fit(path: Path, wanted: Mapping[str, Weight]) -> None:
    """Hold the header of a file against its length and against what is wanted of it. Reads no number."""
    header, data_bytes = _header(path)
    places: list[tuple[int, int]] = []
    for name in header:
        if name not in wanted:
            raise refused(path, f"it holds {name[:80]!r}, which the model has not")
    for name, one in wanted.items():
        if name not in header:
            raise refused(path, f"{name!r} is missing")
        kind, size = SIZES[one.dtype]
        shape, begin, stop = _entry(path, name, header[name], kind)
        if shape != one.shape:
            raise refused(path, f"{name!r} has shape {shape}, and the model {one.shape}")
        if stop - begin != size * math.prod(shape):
            raise refused(path, f"{name!r} has {stop - begin:,} bytes and a shape of {size * math.prod(shape):,}")
        places.append((begin, stop))
    end = 0
    for begin, stop in sorted(places):
        if begin != end:
            raise refused(path, f"its weights do not lie end to end: one begins at byte {begin:,} and not {end:,}")
        end = stop
    if end != data_bytes:
        raise refused(path, f"its header speaks of {end:,} bytes of numbers, and {data_bytes:,} are there")


def refused(path: Path, why: str) -> CheckpointError:
    remedy = "a fresh copy of the folder"
    return CheckpointError(must("model", "be a whole folder that ladle wrote", str(path), why[:300], remedy))


def _header(path: Path) -> tuple[dict[str, Any], int]:
    if not path.is_file():
        raise refused(path, "it is missing")
    length = path.stat().st_size
    with open(path, "rb") as file:
        first = file.read(8)
        size = int.from_bytes(first, "little")
        if len(first) < 8 or size > length - 8:
            raise refused(path, f"its header claims {size:,} bytes, and the file has {length:,}")
        if size > LARGEST_HEADER:
            raise refused(path, f"its header has {size:,} bytes, more than weights need")
        text = file.read(size)
    try:
        header = json.loads(text)
        header.pop("__metadata__", None)
        return header, length - 8 - size
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise refused(path, f"its header is no JSON object: {error}") from None


def _entry(path: Path, name: str, entry: Any, kind: str) -> tuple[tuple[int, ...], int, int]:
    try:
        if entry["dtype"] != kind:
            raise refused(path, f"{name!r} is of type {str(entry['dtype'])[:20]}, and the model wants {kind}")
        begin, stop = entry["data_offsets"]
        numbers = [*entry["shape"], begin, stop]
        if not all(type(one) is int and one >= 0 for one in numbers) or begin > stop:
            raise ValueError("negative or fractional sizes")
        return tuple(entry["shape"]), begin, stop
    except (KeyError, TypeError, ValueError) as error:
        raise refused(path, f"the entry of {name!r} cannot be read: {error}") from None


def _numpy(dtype: str) -> np.dtype:
    return np.dtype(dtype)  # That of bfloat16 is known to NumPy once the backend is loaded.
