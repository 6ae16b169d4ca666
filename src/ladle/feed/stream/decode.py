"""`Numbers`: events that are JSON objects of numbers, as arrays."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ladle.core.errors import ArgumentError, DataError, ExampleError, must


@dataclass(frozen=True, eq=False)
class Numbers:
    """Objects of numbers, stacked by name.

    - `like`: one example, `{"x": np.zeros(4, np.float32), "y": np.int32(0)}`: which names are taken, of which shape and
      type. Without it the first event that can be read says names and shapes, and every type is float32; a number that
      is a class label then has to be made one, so say `like`.

    An event is JSON in bytes or text, or a mapping whose values are numbers, nested lists, arrays, or JSON in bytes or
    text (a Redis entry, a row of a table). Further names in it are left alone where `like` is given.

    Raises `ExampleError`, with the places of all events that are not such objects, lack a name, have another shape,
    hold a number that is not finite or does not fit the type.

    >>> numbers = Numbers(like={"x": np.zeros(2, np.float32), "y": np.int32(0)})
    >>> numbers([b'{"x": [1, 2], "y": 0}', {"x": b"[3, 4]", "y": b"1"}])["x"].tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    """

    like: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.like is not None:
            like = {name: np.asarray(value) for name, value in self.like.items()}
            if not like or any(value.dtype.kind not in "biuf" for value in like.values()):
                why, remedy = "it says names, shapes and types", 'like={"x": np.zeros(4, np.float32), "y": np.int32(0)}'
                raise ArgumentError(must("like", "be a dict of numbers", self.like, why, remedy))
            object.__setattr__(self, "like", like)

    def __call__(self, events: list[Any]) -> dict[str, np.ndarray]:
        """Arrays with leading axis `len(events)`."""
        stacked = None if self.like is None else _stacked(events, self.like)
        if stacked is not None:
            return stacked
        like: Mapping[str, np.ndarray] | None = self.like
        rows: list[dict[str, np.ndarray]] = []
        bad: dict[int, DataError] = {}
        for place, event in enumerate(events):
            try:
                row = _fields(event, None if self.like is None else set(self.like))
                like = like or {name: np.zeros(np.shape(value), np.float32) for name, value in row.items()}
                rows.append(_row(row, like))
            except DataError as error:
                bad[place] = error
        if bad:
            raise ExampleError(str(next(iter(bad.values()))), bad)
        return {name: np.stack([row[name] for row in rows]) for name in like or {}}


NUMBERS = Numbers()


def _stacked(events: list[Any], like: Mapping[str, np.ndarray]) -> dict[str, np.ndarray] | None:
    """All events at once, several times faster; None where any of them is wrong: which one is found one by one."""
    try:
        rows = [_json(event, "event") if isinstance(event, bytes | str) else event for event in events]
        arrays = {name: np.asarray([_parsed(row[name], name) for row in rows]) for name in like}
        if any(array.dtype.kind not in "biuf" for array in arrays.values()):
            return None
        return {name: _fitted(name, array, like[name], len(events)) for name, array in arrays.items()}
    except (DataError, KeyError, IndexError, TypeError, ValueError, OverflowError):
        return None


def _fields(event: Any, wanted: set[str] | None) -> dict[str, np.ndarray]:
    fields = _json(event, "event") if isinstance(event, bytes | str) else event
    if not isinstance(fields, Mapping) or not fields:
        raise _refused("event", "be an object of numbers", event)
    if wanted is not None and wanted - set(fields):
        raise _refused("event", f"have {', '.join(sorted(wanted))}", event)
    return {name: _array(name, value) for name, value in fields.items() if wanted is None or name in wanted}


def _array(name: str, value: Any) -> np.ndarray:
    value = _parsed(value, name)
    try:
        array = np.asarray(value)
        if array.dtype == object and not any(item is None for item in array.flat):
            array = array.astype(np.float64)  # Decimals; what is no number raises.
    except (TypeError, ValueError, OverflowError):
        raise _refused(f"event's {name!r}", "be numbers in rows of one length", value) from None
    if array.dtype.kind not in "biuf":
        raise _refused(f"event's {name!r}", "be numbers", value)
    return array


def _parsed(value: Any, name: str) -> Any:
    return _json(value, f"event's {name!r}") if isinstance(value, bytes | str) else value


def _row(row: dict[str, np.ndarray], like: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    if row.keys() != like.keys():
        raise _refused("event", f"have {', '.join(sorted(like))} and no more", sorted(row, key=str))
    return {name: _fitted(name, row[name], like[name]) for name in like}


def _fitted(name: str, value: np.ndarray, like: np.ndarray, *events: int) -> np.ndarray:
    if value.shape != (*events, *like.shape):
        raise _refused(f"event's {name!r}", f"have shape {like.shape}", f"shape {value.shape}")
    with np.errstate(all="ignore"):  # What does not fit is refused below.
        fitted = value.astype(like.dtype)
    fits = np.isfinite(fitted).all() if like.dtype.kind == "f" else np.array_equal(fitted, value)
    if not fits:
        raise _refused(f"event's {name!r}", f"be finite and fit {like.dtype}", value.tolist())
    return fitted


def _json(text: bytes | str, argument: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise _refused(argument, "be JSON", text) from None


def _refused(argument: str, be: str, got: Any) -> DataError:
    got = got if len(repr(got)) <= 120 else f"{repr(got)[:117]}..."
    why, remedy = "every event becomes a row of the same arrays", "StreamFeed(..., decode=function)"
    return DataError(must(argument, be, got, why, remedy))
