"""NumPy's shared generator, kept and put back in a microsecond.

`np.random.get_state` makes an object of each of 624 words, which takes longer than many an item that is read. The words
lie in one piece of memory whose address NumPy tells (`BitGenerator.ctypes.state_address`), the half of a pair of normal
numbers in the `RandomState` that is asked. How they lie there is looked at once, against what `get_state` says; where
that is different, or the generator another one, `get_state` is used.
"""

from __future__ import annotations

import ctypes
import pickle
import struct
import sys
from functools import cache
from typing import Any, NamedTuple

import numpy as np

_WORDS, _BYTES = 624, 624 * 4 + 4  # The words, and the place of the next one among them.
_HALF = struct.Struct("=i4xd")  # Whether there is the other half of a pair of normal numbers, and this number.


class State(NamedTuple):
    """The generator at one time: its memory as `raw`, or where that is not known `full`, what `get_state` gives."""

    raw: bytes | None
    full: Any = None


_seen: dict[str, Any] = {"generator": None, "address": 0}
"""Whose memory is known, and where its words are; 0 where that is not known."""


def get() -> State:
    """As it stands."""
    address = _address()
    if not address:
        return State(None, np.random.get_state(legacy=False))
    with _seen["generator"].lock:
        return State(ctypes.string_at(address, _BYTES) + ctypes.string_at(_half_address(), _HALF.size))


def put(state: State) -> None:
    """Back to `state`."""
    address = _address()
    if state.raw is None or not address:
        np.random.set_state(state.full if state.raw is None else _told(state.raw))
        return
    with _seen["generator"].lock:
        ctypes.memmove(address, state.raw, _BYTES)
        ctypes.memmove(_half_address(), state.raw[_BYTES:], _HALF.size)


def same(one: State, other: State) -> bool:
    return one.raw == other.raw and pickle.dumps(one.full) == pickle.dumps(other.full)


def _address() -> int:
    generator: Any = np.random.get_bit_generator()  # type: ignore[attr-defined]
    if generator is not _seen["generator"]:
        _seen.update(generator=generator, address=_found(generator))
    return _seen["address"]


def _half_address() -> int:
    return id(np.random.mtrand._rand) + _half_offset()  # type: ignore[attr-defined]


def _told(raw: bytes) -> Any:
    """What `get_state` says where memory holds this."""
    words = {"key": np.frombuffer(raw, np.uint32, _WORDS), "pos": struct.unpack_from("=i", raw, 4 * _WORDS)[0]}
    has, half = _HALF.unpack_from(raw, _BYTES)
    return {"bit_generator": "MT19937", "state": words, "has_gauss": has, "gauss": half}


def _found(generator: Any) -> int:
    if type(generator) is not np.random.MT19937 or sys.implementation.name != "cpython":
        return 0
    try:
        address = int(generator.ctypes.state_address)
        with generator.lock:
            raw = ctypes.string_at(address, _BYTES) + ctypes.string_at(_half_address(), _HALF.size)
        read, told = _told(raw), np.random.get_state(legacy=False)
        alike = np.array_equal(read["state"].pop("key"), told["state"].pop("key")) and read == told  # type: ignore[index]
    except Exception:  # Another NumPy, or another Python, without this way.
        return 0
    return address if alike else 0


@cache
def _half_offset() -> int:
    """Where in a `RandomState` the half of a pair lies, by one that has it and then has not. Raises where it is not."""
    one = np.random.RandomState(0)
    one.standard_normal()
    half = one.get_state(legacy=False)["gauss"]  # type: ignore[call-overload]
    offset = ctypes.string_at(id(one), type(one).__basicsize__).index(_HALF.pack(1, half)[8:]) - 8
    found = []
    for _ in range(2):
        found.append(_HALF.unpack(ctypes.string_at(id(one) + offset, _HALF.size)))
        one.standard_normal()
    if found != [(1, half), (0, 0.0)]:
        raise LookupError("it lies in another way")
    return offset
