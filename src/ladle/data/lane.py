"""A table that stays on the disk, under the contract of a loaded one: same columns, kinds, classes, split and values.

the target               read whole: classes and amounts over all rows
what the columns say     one pass over all rows: missing cells, levels of categories, what is not finite
mean, sd, median, ids    the training rows, or a stated sample of them where all would be over `SAMPLE_BYTES`
a row                    read when it is needed, and encoded as a loaded one is
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ladle.core.errors import DataError, must
from ladle.core.missing import MISSING
from ladle.data.columns import choose_target, require_embed, target_values, texts_of
from ladle.data.dataset import Data, moments
from ladle.data.encoding import Encoding, WordCode, number_codes, strange_rows
from ladle.data.holdout import Without
from ladle.data.kept import Kept
from ladle.data.parts import describe_split, split
from ladle.data.refuse import place
from ladle.data.screen import leaks, screen
from ladle.data.stored import Roles, column, moments_of, names_of, roles
from ladle.data.stream import digest_of
from ladle.data.table import Column, Numbers, Table, Texts
from ladle.data.target import TargetColumn, infer, representable
from ladle.data.text import TextCode

SAMPLE_BYTES = 2**30
"""Of numbers that are looked at together before a run."""
KEPT_BYTES = 2**29
"""Decoded rows that are kept in memory: a smaller table is shuffled as a loaded one is."""
MOST_VALID = 20_000
"""Rows to validate on that are kept in memory."""
AT_ONCE = 65_536


@dataclass(frozen=True, eq=False)
class Columns:
    """A source of rows by array as one of columns by name, as a loaded table has them. `remaps`: raw code -> code."""

    source: Any
    roles: Roles
    levels: Mapping[str, tuple[str, ...]]
    remaps: Mapping[str, np.ndarray]

    def take(self, ids: np.ndarray, only: Sequence[str] | None = None) -> dict[str, Column]:
        rows = self.source.take(ids)
        found: dict[str, Column] = {}
        names = self.source.names
        for at, name in enumerate(names.get("x", ())):
            found[name] = Numbers(rows["x"][:, at], "real")
        for at, name in enumerate(names.get("codes", ())):
            code = rows["codes"][:, at]
            remap = self.remaps[name]
            if name in self.levels:
                found[name] = Texts(remap[code], self.levels[name])
            else:  # A dictionary of numbers is numbers.
                found[name] = Numbers(remap[code], "real")
        for name, size in self.roles.lists.items():
            for at in range(size if name in rows else 0):
                found[f"{name}[{at}]"] = Numbers(rows[name][:, at], "real")
        return found

    @property
    def order(self) -> list[str]:
        """The names of the columns as a loaded table has them."""
        lists = self.roles.lists
        return [
            one
            for name in self.roles.order
            for one in ([f"{name}[{at}]" for at in range(lists[name])] if name in lists else [name])
        ]


@dataclass(frozen=True, eq=False)
class TableRows:
    """Encoded rows of a table on the disk; implements `ladle.core.protocols.Source`.

    Raises `ExampleError` from `take` as its source does.
    """

    columns: Columns
    encoding: Encoding
    y: np.ndarray
    reads_blocks: bool

    def __len__(self) -> int:
        return len(self.y)

    def take(self, ids: np.ndarray) -> dict[str, Any]:
        """`{"x": ..., "y": ...}` as a loaded table has them."""
        return {"x": self.encoding.apply(self.columns.take(ids), len(ids)), "y": self.y[ids]}

    @property
    def blocks(self) -> np.ndarray:
        return self.columns.source.blocks

    @property
    def memory_bytes(self) -> int:
        return self.columns.source.memory_bytes + self.y.nbytes

    def describe(self) -> str:
        """One line to print before a run."""
        return self.columns.source.describe()


def table_on_disk(
    files: Sequence[Path],
    open_: Callable[..., Any],
    *,
    name: str,
    target: str | None,
    kind: str | None = None,
    valid: float = 0.2,
    seed: int = 0,
    embed: int = 32,
    drop: Sequence[str] = (),
    asked: Mapping[str, str] | None = None,
    notes: tuple[str, ...] = (),
) -> Data:
    """`Data` whose training rows are read from Parquet files as they are needed.

    - `open_`: makes a source of the files: `open_(columns=..., categories=..., cache_blocks=..., ...)`.

    The other arguments are those of `ladle.data.load`. Raises `DataError` as that does.
    """
    require_embed(embed)
    asked = asked or {}
    drop = [*drop, *(one for one, what in asked.items() if what == "id" and one not in drop)]
    target, why = choose_target([one for one in names_of(files[0]) if one not in drop], target, name)
    found = roles(files, target=target, drop=drop, asked=asked)
    if not found.order:
        because, remedy = "it is the only column", "a table with more columns"
        raise DataError(must("data", "have a column to predict from beside the target", name, because, remedy))
    inner, blocked = _opened(open_, found)
    columns = _columns(inner, found, asked)
    goal = infer(target_values(target, column(files, target, asked)), kind=kind, name=target, counted_from=1)
    rows = len(goal.values)
    share = min(valid, MOST_VALID / rows) if isinstance(valid, float) else valid
    parts = split(goal, valid=share, seed=seed)
    encoding, said = _encoding(columns, goal, parts["train"], Table(name, {}, rows, (), asked), target, embed)
    y, mean, sd = goal.values, 0.0, 1.0
    if goal.kind == "regression":
        mean, sd = moments(goal.values[parts["train"]])
        y = ((goal.values - mean) / sd).astype(np.float32)
        scaled = f"Target standardised: (amount - {mean:,.6g}) / {sd:,.6g}, mean and sd of the training rows."
        said = (*said, scaled)
    source = TableRows(columns, encoding, y, blocked)
    held = source.take(parts["valid"])
    train = Without(source, parts["valid"]) if len(parts["valid"]) else source
    strange = strange_rows(encoding.words, columns.take(parts["valid"])) if encoding.words else {}
    return Data(
        name=name,
        train=train,  # type: ignore[arg-type]
        valid=held,
        kind=goal.kind,
        classes=goal.classes,
        input_shape=(encoding.width,),
        outputs=len(goal.classes) or 1,
        notes=(
            *notes,
            f"Target: {target}, {why}.",
            goal.note,
            *encoding.notes(strange),
            *said,
            *describe_split(goal, parts, valid=share, seed=seed),
            "Rows are read from the disk as they are needed.",
        ),
        digest=digest_of(name, train),  # type: ignore[arg-type]
        cardinalities=encoding.cardinalities,
        target_mean=mean,
        target_sd=sd,
        target=target,
        kept=Kept.of(encoding.dated(moments_of(files[0])), columns.levels, asked=asked),
    )


def _opened(open_: Callable[..., Any], found: Roles) -> tuple[Any, bool]:
    """The source, and whether its rows are read a block at a time: not where all of them may stay in memory."""
    how = {"columns": list(found.order), "categories": list(found.words), "dtype": "float64", "table": True}
    source = open_(**how)
    width = len(found.order) + sum(found.lists.values())
    if len(source) * width * 8 > KEPT_BYTES:
        return source, len(source.blocks) > 1
    return open_(**how, cache_blocks=len(source.blocks)), False


def _columns(source: Any, found: Roles, asked: Mapping[str, str]) -> Columns:
    """Levels as a loaded table has them: no spaces at their ends, and none that says that it is missing."""
    levels, remaps = {}, {}
    for name in source.names.get("codes", ()):
        raw = source.levels[name]
        if raw and not isinstance(raw[0], str) and asked.get(name) not in ("category", "text"):
            remaps[name] = np.array([*map(float, raw), np.nan])
            continue
        words = [str(one).strip() for one in raw]
        gone = {""} if asked.get(name) in ("category", "text") else set(MISSING)
        levels[name] = tuple(sorted(set(words) - gone))
        number = {level: at for at, level in enumerate(levels[name])}
        remaps[name] = np.array([*(number.get(word, -1) for word in words), -1], np.int64)
    return Columns(source, found, levels, remaps)


def _encoding(
    columns: Columns, goal: TargetColumn, train: np.ndarray, table: Table, target: str, embed: int
) -> tuple[Encoding, tuple[str, ...]]:
    """How rows become arrays, and what is to be said of columns that are left out and of the sample."""
    rows, order = table.rows, columns.order
    most = max(1, SAMPLE_BYTES // (8 * len(order)))
    looked = np.arange(rows) if rows <= most else np.unique(np.linspace(0, rows - 1, most).astype(np.int64))
    sample, counts, levels = _pass(columns, rows, looked, train)
    for name, one in sample.items():
        if isinstance(one, Numbers) and _whole(one.values):
            sample[name] = Numbers(one.values, "whole")
    features, left_out, text = screen({name: sample[name] for name in order}, replace(table, rows=len(looked)))
    inside = np.searchsorted(looked, train[np.isin(train, looked)])
    plain = {name: one for name, one in features.items() if name not in text}
    numbers = tuple(replace(one, missing=counts[one.name]) for one in number_codes(plain, inside))
    words = tuple(
        WordCode.of(name, len(one.levels), np.flatnonzero(levels[name]), counts[name], embed)
        for name, one in plain.items()
        if isinstance(one, Texts)
    )
    texts = tuple(TextCode.of(name, texts_of(features[name], inside), len(inside)) for name in text)
    part = TargetColumn(goal.kind, goal.values[looked], goal.classes, goal.note)
    said = (*left_out, *leaks(plain, part, target))
    if len(looked) < rows:
        said = (*said, f"Mean, sd and median are those of {len(inside):,} training rows, evenly spaced.")
    return Encoding(numbers, words, texts), said


def _pass(columns: Columns, rows: int, looked: np.ndarray, train: np.ndarray) -> tuple[dict[str, Column], Any, Any]:
    """The rows `looked` at; of all rows how many miss each column; of training rows which levels there are."""
    trains = np.zeros(rows, bool)
    trains[train] = True
    wanted = np.zeros(rows, bool)
    wanted[looked] = True
    parts: dict[str, list[np.ndarray]] = {name: [] for name in columns.order}
    counts = dict.fromkeys(columns.order, 0)
    levels = {name: np.zeros(len(words) + 1, bool) for name, words in columns.levels.items()}
    for start in range(0, rows, AT_ONCE):
        ids = np.arange(start, min(start + AT_ONCE, rows))
        for name, one in columns.take(ids).items():
            values: Any = one.values if isinstance(one, Numbers) else one.codes
            counts[name] += int((np.isnan(values) if isinstance(one, Numbers) else values < 0).sum())
            if isinstance(one, Texts):
                levels[name][WordCode.seen(values[trains[ids]], len(one.levels))] = True
            else:
                _require_finite(name, values, start)
            parts[name].append(values[wanted[ids]])
    whole = {name: np.concatenate(part) for name, part in parts.items()}
    made = {
        name: Texts(whole[name].astype(np.int64), columns.levels[name])
        if name in levels
        else Numbers(whole[name], "real")
        for name in columns.order
    }
    return made, counts, levels


def _require_finite(name: str, values: np.ndarray, start: int) -> None:
    bad = ~np.isnan(values) & ~representable(values)
    if bad.any():
        row = int(np.argmax(bad))
        where = f"{place(start + row, counted_from=1)} is not finite"
        raise DataError(must(f"column {name}", "be finite in float32", float(values[row]), where, f"drop=[{name!r}]"))


def _whole(values: np.ndarray) -> bool:
    return not np.isnan(values).any() and bool((values % 1 == 0).all())
