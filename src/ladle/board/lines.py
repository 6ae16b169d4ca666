"""Whole lines of a metrics file as columns. Lines that are no record are counted and told, never raised."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import json as arrow_json

SMALL_BYTES = 2**18
"""Below it Python's own reader is as quick: what one window after the other adds."""

BLOCK_BYTES = 2**20

NUMBERS = (
    *("examples", "updates", "epoch", "seconds", "size", "micro_size", "lr", "examples_per_second"),
    *("train_loss", "valid_loss", "grad_norm", "data_wait_fraction", "memory_bytes", "evaluated"),
    *("cpu_seconds", "joules"),
    *("noise/count", "noise/trace", "noise/square", "noise/trace_sq", "noise/square_sq", "noise/cross"),
    *("noise/examples", "noise/projection", "noise/projections"),
)
"""Fields of a record line whose kind is known: numbers, also where a line has a whole one or null."""

Columns = dict[str, np.ndarray]


@dataclass(frozen=True)
class Told:
    """A window whose line gives a reason. `row`: its place among the rows; `inputs`: the numbers that it rests on."""

    row: int
    reason: str
    inputs: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Block:
    """Some lines as columns `f64[count]`, nan where a line has no such number.

    - `told`: the lines that give a reason. `broken`: lines that were no record; `why`: of the first of them.
    """

    count: int = 0
    columns: Columns = field(default_factory=dict)
    told: tuple[Told, ...] = ()
    broken: int = 0
    why: str = ""


def parse(data: bytes) -> Block:
    r"""The lines in `data`, which ends after a whole one.

    >>> block = parse(b'{"examples": 64, "train_loss": null}\n{"examples": 128, "reason": "grew"}\nhalf\n')
    >>> block.count, block.columns["examples"].tolist(), block.told[0].row, block.broken
    (2, [64.0, 128.0], 1, 1)
    """
    if len(data) < SMALL_BYTES:
        return _line_by_line(data)
    try:
        return _at_once(data)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return _line_by_line(data)


def _line_by_line(data: bytes) -> Block:
    rows: list[dict[str, Any]] = []
    told, broken, why = [], 0, ""
    for text in data.split(b"\n")[:-1]:
        line, because = record(text)
        if line is None:
            broken, why = broken + 1, why or because
            continue
        if reason := line.get("reason"):
            told.append(Told(len(rows), str(reason), numbers(line.get("inputs"))))
        rows.append(line)
    names = {name: None for row in rows for name, value in row.items() if number(value)}
    made = {
        name: np.array([row[name] if number(row.get(name)) else np.nan for row in rows], dtype=np.float64)
        for name in names
    }
    return Block(len(rows), made, tuple(told), broken, why)


def _at_once(data: bytes) -> Block:
    """The same by pyarrow, several times as fast. Raises its errors for what Python's reader has to look at."""
    schema = pa.schema([(name, pa.float64()) for name in NUMBERS])
    table = arrow_json.read_json(
        pa.BufferReader(data),
        read_options=arrow_json.ReadOptions(block_size=BLOCK_BYTES),
        parse_options=arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="infer"),
    )
    if table.num_rows != data.count(b"\n"):
        raise pa.ArrowInvalid("blank lines, or several records in a line")
    made = {}
    for name in table.column_names:
        column = table.column(name)
        if column.null_count < len(column) and (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
            made[name] = column.cast(pa.float64(), safe=False).to_numpy()
    place = made.get("examples")
    if place is None or not np.isfinite(place).all():
        raise pa.ArrowInvalid("a line without a position")
    for column in made.values():
        finite = np.isfinite(column)
        if not finite.all():
            column[~finite] = np.nan
    return Block(table.num_rows, made, _reasons(data))


def _reasons(data: bytes) -> tuple[Told, ...]:
    """The lines that give a reason, looked for in the text: they are few."""
    told, row, at = [], 0, 0
    while (found := data.find(b'"reason"', at)) >= 0:
        begin, end = data.rfind(b"\n", 0, found) + 1, data.index(b"\n", found)
        row, at = row + data.count(b"\n", at, begin), end
        line, _ = record(data[begin:end])
        if line is not None and (reason := line.get("reason")):
            told.append(Told(row, str(reason), numbers(line.get("inputs"))))
    return tuple(told)


def record(text: bytes) -> tuple[dict[str, Any] | None, str]:
    """A line as a record, or None with the reason why it is none."""
    try:
        line = json.loads(text)
    except (ValueError, RecursionError) as error:
        return None, " ".join(str(error).split())
    if not isinstance(line, dict) or not number(line.get("examples")):
        return None, "it has no position: a record says how many examples were seen"
    return line, ""


def number(value: Any) -> bool:
    """Whether `value` is a finite number.

    >>> number(1), number(True), number(float("inf")), number(10**400)
    (True, False, False, False)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def numbers(value: Any) -> dict[str, float]:
    """The finite numbers in a mapping; nothing where it is none."""
    return {str(k): float(v) for k, v in value.items() if number(v)} if isinstance(value, Mapping) else {}
