"""The measured batch-size table: what each size cost and what it brought, seeds averaged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ladle.report import numbers, units
from ladle.report.direction import direction, unstated

Row = Mapping[str, Any]
"""One entry of "runs" in `compare.json`."""

_OUTCOMES = (
    "train_loss", "valid_loss", "valid_metric", "test_loss", "test_metric", units.FIELD, "generalisation_gap",
    "gradient_variance", "sharpness",
)  # fmt: skip
"""What says nothing about a run that diverged."""


@dataclass(frozen=True)
class Column:
    """`heading`, its unit or meaning in a few words, the field it reads, and how the field is written."""

    heading: str
    hint: str
    field: str
    form: Callable[[Any], str]


@dataclass(frozen=True)
class Cell:
    """`text` as shown; `spread` the lowest and highest seed in words, or ""; `best` where it wins its column."""

    text: str
    spread: str = ""
    best: bool = False


@dataclass(frozen=True)
class Table:
    """`cells[i][j]` belongs to row `i` and `columns[j]`. Columns that nothing was measured for are left out."""

    columns: tuple[Column, ...]
    cells: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()


def table(rows: Sequence[Row], facts: Mapping[str, Any] | None = None) -> Table:
    """Lay out `rows`, one line per row, ordered as given.

    - `facts`: what the record says of all rows. `directions`: which way a metric is better; nothing is best by one that
      does not state it. `data`: where that gives a regression's scale, errors stand in the target's unit too.

    >>> rows = [{"name": "64", "size": 64, "valid_loss": 0.25}, {"name": "full", "size": 1437, "valid_loss": 0.5}]
    >>> [(cell.text, cell.best) for cell in table(rows).cells[0]]
    [('64', False), ('64', False), ('0.2500', True)]
    """
    facts = facts or {}
    rows = units.with_rmse(rows, facts)
    columns = tuple(c for c in _columns(rows, facts) if any(_value(row, c.field) is not None for row in rows))
    winners = {c.field: _winner(rows, c, facts) for c in columns}
    cells = tuple(tuple(_cell(row, c, winners[c.field] == i) for c in columns) for i, row in enumerate(rows))
    return Table(columns, cells, _notes(rows, columns, facts))


def text(rows: Sequence[Row], facts: Mapping[str, Any] | None = None) -> str:
    """Write the table as aligned plain text. `*` marks the best validation loss and metric; `facts` as for `table`."""
    made = table(rows, facts)
    lines = [[c.heading for c in made.columns]]
    lines += [[cell.text + ("*" if cell.best else " ") for cell in row] for row in made.cells]
    lines[0] = [heading + " " for heading in lines[0]]
    widths = [max(len(line[j]) for line in lines) for j in range(len(made.columns))]
    out = [" ".join(_aligned(word, widths[j], j == 0) for j, word in enumerate(line)).rstrip() for line in lines]
    if any(cell.best for row in made.cells for cell in row):
        out.append("* best on validation data")
    return "\n".join([*out, *made.notes])


def metric_name(rows: Sequence[Row]) -> str:
    """Name what "valid_metric" is in these rows, without the prefix: "accuracy"; "metric" where they differ."""
    names = {str(row["metric"]).removeprefix("valid_") for row in rows if row.get("metric")}
    return names.pop() if len(names) == 1 else "metric"


def _columns(rows: Sequence[Row], facts: Mapping[str, Any]) -> tuple[Column, ...]:
    metric, unit = metric_name(rows), units.target_unit(facts)
    return (
        Column("batch", "name of the run", "name", str),
        Column("size", "examples per update", "size", numbers.count),
        Column("micro x acc", "examples per forward pass x passes per update", "micro", str),
        Column("rate", "learning rate", "lr", numbers.short),
        Column("updates", "updates made", "updates", numbers.count),
        Column(
            "examples/s", "all training examples over all seconds of training", "examples_per_second", numbers.short
        ),
        Column("train loss", "mean loss on the training data", "train_loss", numbers.loss),
        Column("valid loss", "mean loss on the validation data", "valid_loss", numbers.loss),
        Column(f"valid {metric}", f"{metric} on the validation data", "valid_metric", numbers.loss),
        Column("test loss", "mean loss on the test rows, judged once at the end", "test_loss", numbers.loss),
        Column(f"test {metric}", f"{metric} on the test rows, judged once at the end", "test_metric", numbers.loss),
        Column("valid rmse", f"root mean squared error, in {unit}", units.FIELD, numbers.amount),
        Column("gap", "generalisation gap: validation loss minus training loss", "generalisation_gap", numbers.loss),
        Column(
            "grad var", "variance of the gradient of one batch, summed over the parameters", "gradient_variance", _tiny
        ),
        Column("sharpness", "largest eigenvalue of the Hessian of the training loss", "sharpness", numbers.short),
        Column("peak memory", "highest memory of an update on its own", "peak_memory_bytes", numbers.data_bytes),
        Column("process memory", "the whole process, libraries too", "process_memory_bytes", numbers.data_bytes),
        Column("time", "seconds of training", "seconds", numbers.duration),
        Column("busy", "share of the time in which the device computed", "device_use", numbers.percent),
        Column("energy", "joules of a run by the machine's counters", "joules", "{:.3g} J".format),
    )


def _tiny(value: Any) -> str:
    return f"{value:.2e}" if numbers.finite(value) and 0 < abs(value) < 1e-3 else numbers.short(value)


def _value(row: Row, field: str) -> Any:
    if field == "micro":
        size, micro = row.get("size"), row.get("micro_size")
        return f"{micro:,} x {-(-size // micro)}" if size and micro else None
    value = row.get(field)
    return value if isinstance(value, str) or numbers.finite(value) else None


def _cell(row: Row, column: Column, best: bool) -> Cell:
    if row.get("diverged") and column.field in _OUTCOMES:
        return Cell("diverged" if column.field == "train_loss" else numbers.NOTHING)
    value = _value(row, column.field)
    if value is None:
        return Cell(numbers.NOTHING)
    low, high = (row.get("spread") or {}).get(column.field) or (None, None)
    spread = (
        f"{column.form(low)} to {column.form(high)}"
        if numbers.finite(low) and numbers.finite(high) and low != high
        else ""
    )
    return Cell(column.form(value), spread, best)


def _winner(rows: Sequence[Row], column: Column, facts: Mapping[str, Any]) -> int | None:
    """Row number of the best value in a validation column with something to compare; None elsewhere."""
    if column.field not in ("valid_loss", "valid_metric"):
        return None
    better = "lower" if column.field == "valid_loss" else direction(metric_name(rows), facts)
    known = [
        (row[column.field], i)
        for i, row in enumerate(rows)
        if numbers.finite(row.get(column.field)) and not row.get("diverged")
    ]
    if len(known) < 2 or better is None:
        return None
    return (max if better == "higher" else min)(known, key=lambda pair: pair[0])[1]


def _notes(rows: Sequence[Row], columns: Sequence[Column], facts: Mapping[str, Any]) -> tuple[str, ...]:
    diverged = [str(row["name"]) for row in rows if row.get("diverged")]
    seeds = {int(row.get("seed_count") or 1) for row in rows}
    shown, metric = {column.field for column in columns}, metric_name(rows)
    notes = []
    if max(seeds, default=1) > 1:
        number = f"{min(seeds)} to {max(seeds)}" if len(seeds) > 1 else str(max(seeds))
        notes.append(f"Means over {number} seeds.")
    if diverged:
        notes.append(f"Diverged: {', '.join(diverged)}.")
    if "valid_metric" in shown and len(rows) > 1 and direction(metric, facts) is None:
        notes.append(unstated(f"valid {metric}") if metric != "metric" else "The runs measured different metrics.")
    if units.FIELD in shown:
        notes.append(f"valid rmse: root mean squared error in {units.target_unit(facts)}.")
    return tuple(notes)


def _aligned(word: str, width: int, left: bool) -> str:
    return word.ljust(width) if left else word.rjust(width)
