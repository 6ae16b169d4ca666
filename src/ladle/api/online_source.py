"""`OnlineSource`: a stream of rows as the user has it, and what makes arrays of its events.

A stream cannot be looked at as a whole before it is learnt. Its first events are: what columns are, mean and sd to
standardise with, and the names of the classes are those of the first `head` events, and stay. A run's folder keeps
them in its model.json, so a resumed run reads the stream in the same way.
"""

from __future__ import annotations

import csv
import glob
import json
import math
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ladle.api.backend import backend_named
from ladle.api.form import Form
from ladle.api.model_files import MODEL_FILE, opened
from ladle.api.online_decode import Decode, row_of
from ladle.api.task import Task
from ladle.core import record
from ladle.core.errors import ArgumentError, DataError, must
from ladle.core.protocols import Stream
from ladle.core.spec import require_count
from ladle.data.dataset import Data
from ladle.data.encoding import NumberCode
from ladle.feed.stream.directory import DirectoryStream
from ladle.feed.stream.feed import StreamFeed
from ladle.feed.stream.pipe import PipeStream
from ladle.online.labels import Labelled

SUFFIXES = (".csv", ".jsonl", ".ndjson")
STDIN = "-"


@dataclass(frozen=True)
class OnlineSource:
    """What is read, and how. The words are those of `ladle.online`.

    - `source`: a .csv or .jsonl file, a folder of such files, or "-" for standard input; or a `Stream` of mappings.
    """

    source: str | os.PathLike[str] | Stream
    target: str | None = None
    kind: str | None = None
    classes: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    head: int = 1000
    id: str | None = None
    keep: int = 10_000
    model: str = "mlp"
    optimizer: str = "adam"
    lr: float | str = "auto"

    @property
    def name(self) -> str:
        if not isinstance(self.source, str | os.PathLike):
            return type(self.source).__name__
        return "stdin" if self.source == STDIN else Path(self.source).name

    @property
    def waits(self) -> bool:
        """Whether it is what waits for its events by nature: a pipe is over when it is closed."""
        return self.source == STDIN

    def task(self, folder: Path | None, idle_seconds: float) -> Task:
        """The task of this stream. `folder`: of the run that goes on, None for a new one. Reads the first events.

        Raises `DataError` for a stream without events or labels, and for columns that cannot be read.
        """
        if self.target is None:
            why, remedy = "it is what is learnt", "target='class'"
            raise ArgumentError(must("target", "be the name of a column", None, why, remedy))
        require_count("head", self.head)
        stream = self._stream()
        if self.id is not None:
            stream = Labelled(stream, self.id, self.target, self.keep)
        if folder is None or not (folder / MODEL_FILE).is_file():
            data = self._data_of_head(stream, idle_seconds)
        else:
            was = record.read_json(folder / record.RUN_FILE).get("data", {})
            form = Form.from_json(opened(folder)["form"])
            data = _data(form, str(was.get("digest", "")), tuple(was.get("notes", ())))
        shapes = {"input_shape": data.input_shape, "outputs": data.outputs, "cardinalities": data.cardinalities}
        model = backend_named().model(self.model, **shapes)
        decode = Decode(Form.of(data, None))
        made = {"optimizer": self.optimizer, "lr": self.lr}
        return Task(model, None, data, feed=lambda seed: StreamFeed(stream, decode, wait_seconds=0), **made)

    def _stream(self) -> Stream:
        if not isinstance(self.source, str | os.PathLike):
            if not (hasattr(self.source, "start") and hasattr(self.source, "read")):
                why, remedy = "events are read from it", "a path, or ladle.feed.IteratorStream(rows)"
                raise ArgumentError(must("task", "be a task, a file, a folder or a stream", self.source, why, remedy))
            return self.source
        if self.source == STDIN:
            return PipeStream(sys.stdin)
        path = Path(self.source)
        if path.is_dir():
            found = sorted({one.suffix for one in path.iterdir() if one.suffix in SUFFIXES and one.name[0] != "."})
            if len(found) != 1:
                got = f"{path} with {' and '.join(found) or 'none'}"
                why, remedy = "the ending says what an event is", "a folder of .csv files, or one of .jsonl files"
                raise DataError(must("source", f"hold files of one of {', '.join(SUFFIXES)}", got, why, remedy))
            return DirectoryStream(path, f"*{found[0]}")
        if not path.is_file():
            why, remedy = "events are read from it", "a .csv or .jsonl file, a folder of them, or - for standard input"
            raise DataError(must("source", "be there", str(self.source), why, remedy))
        if path.suffix not in SUFFIXES:
            why, remedy = "the ending says what an event is", "a copy under such a name"
            raise DataError(must("source", f"end in {', '.join(SUFFIXES)}", str(self.source), why, remedy))
        return DirectoryStream(path.parent, glob.escape(path.name))

    def _data_of_head(self, stream: Stream, idle_seconds: float) -> Data:
        wait = math.inf if self.waits else idle_seconds
        events, after = stream.read(stream.start(), self.head, wait)
        if not events and isinstance(stream, Labelled) and after["waiting"]:
            got = f"{len(after['waiting']):,} events that wait and no label in {self.target}"
            why, remedy = "an event is learnt with its label", "a stream with the labels, or another id or target"
            raise DataError(must("labels", "come", got, why, remedy))
        if not events:
            why, remedy = f"it ended, or none came within {idle_seconds:g} s", "idle=60 to wait for some"
            raise DataError(must("source", "have an event", self.name, why, remedy))
        rows = [row_of(event) for event in events]
        if bad := next((row for row in rows if isinstance(row, str)), None):
            why, remedy = "the first events say what columns are", "a stream whose first events are whole"
            raise DataError(must("source", "have readable first events", bad, why, remedy))
        return self._loaded([row for row in rows if not isinstance(row, str)])

    def _loaded(self, rows: list[Mapping[str, Any]]) -> Data:
        from ladle.data import load

        drop = (*self.drop, *([self.id] if self.id else []))
        with tempfile.TemporaryDirectory() as folder:
            path = _written(rows, Path(folder, Path(self.name).stem or "events"))
            made = load(path, target=self.target, valid=0.0, kind=self.kind, drop=drop)
        form = _with_constants(replace(Form.of(made, None), name=self.name), rows, {self.target, *drop})
        if self.classes:
            if made.kind != "classification" or set(made.classes) - set(self.classes):
                got, why = ", ".join(made.classes) or "amounts", "each event has one of them"
                raise ArgumentError(must("classes", "name all classes of the first events", got, why, "all names"))
            form = replace(form, classes=tuple(self.classes))
        first = f"Columns, mean, sd and classes are those of the first {len(rows):,} events; constant ones stay inputs."
        return _data(form, made.digest, (first, *made.notes))


def _with_constants(form: Form, rows: Sequence[Mapping[str, Any]], but: set[str | None]) -> Form:
    """`form` with the columns of numbers that are the same in all of the first events: later they may vary."""
    kept = form.kept
    if kept is None or form.inputs is None:
        return form
    names = [name for name in rows[0] if name not in but and name not in kept.columns]
    values = {name: {_number(row.get(name)) for row in rows} for name in names}
    same = {name: next(iter(found)) for name, found in values.items() if len(found) == 1}
    codes = [NumberCode(name, value, value, 1.0, 0) for name, value in same.items() if value is not None]
    if not codes:
        return form
    encoding = replace(kept.encoding, numbers=(*kept.encoding.numbers, *codes))
    return replace(form, kept=replace(kept, encoding=encoding), inputs=_wider(form.inputs, len(codes)))


def _number(cell: Any) -> float | None:
    try:
        value = float(cell)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _wider(inputs: Mapping[str, Any], more: int) -> dict[str, Any]:
    if "of" in inputs:
        return {"of": {**inputs["of"], "numbers": _wider(inputs["of"]["numbers"], more)}}
    *shape, width = inputs["shape"]
    return {**inputs, "shape": [*shape, width + more]}


def _written(rows: Sequence[Mapping[str, Any]], name: Path) -> Path:
    """The first events as a table: text as .csv, what has types as .jsonl."""
    if all(isinstance(value, str) for row in rows for value in row.values()):
        path = name.with_name(f"{name.name}.csv")
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), restval="")
            writer.writeheader()
            writer.writerows(rows)
        return path
    path = name.with_name(f"{name.name}.jsonl")
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _data(form: Form, digest: str, notes: tuple[str, ...]) -> Data:
    """Data without rows: all that a task of a stream wants to know."""
    none, amounts = form.like.train["x"], form.kind != "classification"
    y = np.zeros(0, np.float32 if amounts else np.int32)
    numbers = none["numbers"] if isinstance(none, Mapping) else none
    return Data(
        name=form.name,
        train={"x": none, "y": y},
        valid={"x": none, "y": y},
        kind=form.kind,  # type: ignore[arg-type]
        classes=form.classes,
        input_shape=tuple(numbers.shape[1:]),
        outputs=len(form.classes) or 1,
        notes=notes,
        digest=digest,
        cardinalities=() if form.kept is None else form.kept.encoding.cardinalities,
        target_mean=form.target_mean,
        target_sd=form.target_sd,
        target=form.target,
        kept=form.kept,
    )
