"""NumPy's shared generator, kept and put back in a microsecond.

`np.random.get_state` makes an object of each of 624 words, which takes longer than many an item that is read. The words
lie in one piece of memory whose address NumPy tells (`BitGenerator.ctypes.state_address`). How they lie there is looked
at once, against what `get_state` says; where that is different, or the generator another one, `get_state` is used.
"""

from __future__ import annotations

import ctypes
import pickle
import sys
from typing import Any, NamedTuple

import numpy as np

_WORDS, _BYTES = 624, 624 * 4 + 4  # The words, and the place of the next one among them.


class State(NamedTuple):
    """The generator at one time. `raw`: its memory, None where that is not known; `full`: what `get_state` gives."""

    raw: bytes | None
    full: dict[str, Any]


_seen: dict[str, Any] = {"generator": None, "address": 0, "last": None}
"""Whose memory is known, where it is, and the last state that held no half of a pair of normal numbers."""


def get() -> State:
    """As it stands."""
    raw, last = _raw(), _seen["last"]
    # The other half of a pair of normal numbers is beside that memory: none came since where no word has moved.
    if raw is not None and last is not None and raw == last.raw:
        return last
    state = State(raw, np.random.get_state(legacy=False))  # type: ignore[arg-type]
    if raw is not None and not state.full["has_gauss"]:
        _seen["last"] = state
    return state


def put(state: State) -> None:
    """Back to `state`."""
    if state.raw is None or state.full["has_gauss"] or not _address():
        np.random.set_state(state.full)
        return
    np.random.seed(0)  # Forgets the other half of a pair.
    with _seen["generator"].lock:
        ctypes.memmove(_seen["address"], state.raw, _BYTES)


def same(one: State, other: State) -> bool:
    return one is other or pickle.dumps(one.full) == pickle.dumps(other.full)


def _raw() -> bytes | None:
    address = _address()
    if not address:
        return None
    with _seen["generator"].lock:
        return ctypes.string_at(address, _BYTES)


def _address() -> int:
    """Where the words are; 0 where that is not known."""
    generator: Any = np.random.get_bit_generator()  # type: ignore[attr-defined]
    if generator is not _seen["generator"]:
        _seen.update(generator=generator, address=_found(generator), last=None)
    return _seen["address"]


def _found(generator: Any) -> int:
    if type(generator) is not np.random.MT19937:
        return 0
    try:
        address = int(generator.ctypes.state_address)
        with generator.lock:
            raw = ctypes.string_at(address, _BYTES)
        told = generator.state["state"]
    except Exception:  # Another NumPy, or another Python, without this way.
        return 0
    words, at = np.frombuffer(raw, np.uint32, _WORDS), int.from_bytes(raw[-4:], sys.byteorder, signed=True)
    return address if np.array_equal(words, told["key"]) and at == told["pos"] else 0
