"""`serve`: a trained model behind a port of this machine, and what it will do there, said beforehand."""

from __future__ import annotations

import json
import math
import os
import re
import socket
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ladle.api.answers import answers, chances
from ladle.api.load import load
from ladle.api.model import Model
from ladle.core.errors import ArgumentError, DataError, must
from ladle.core.spec import require_count
from ladle.serve.app import App
from ladle.serve.control import Controller, Line
from ladle.serve.desk import Desk
from ladle.serve.forecast import Forecast
from ladle.serve.numbers import Numbers
from ladle.serve.served import Answer
from ladle.serve.warm import MOST, Warmed, warm

P99_MS = 50.0
BODY_MB = 1.0


@dataclass(frozen=True)
class ServedModel:
    """Implements `ladle.serve.served.Served` for a model that was loaded. Raises `ArgumentError` at once for one that
    has no rows of a known form."""

    model: Model
    name: str

    def __post_init__(self) -> None:
        if self.model.form.inputs is None and self.model.form.kept is None:
            why = "the folder does not say what a row of it looks like"
            raise ArgumentError(must("model", "have rows of a known form", self.name, why, "ladle predict"))

    @property
    def classes(self) -> tuple[str, ...]:
        form = self.model.form
        known = form.kind == "classification" and form.loss in ("cross_entropy", "binary_cross_entropy")
        return form.classes if known else ()

    @property
    def takes(self) -> tuple[np.dtype, tuple[int, ...]] | None:
        form = self.model.form
        if form.kept is not None or form.inputs is None or "of" in form.inputs:
            return None
        return np.dtype(form.inputs["dtype"]), tuple(form.inputs["shape"])

    def read(self, rows: Any) -> tuple[Any, int, tuple[str, ...]]:
        form = self.model.form
        if self.takes is not None:
            rows = self._matrix(rows)
        x, remarks = form.read(rows)
        if self.takes is not None and isinstance(x, np.ndarray):
            x = _as_rows(x, self.takes[1])
        if form.kept is None and form.inputs is not None:
            _require_shape(x, form.inputs, "rows")
        return x, _count(x), remarks

    def _matrix(self, rows: Any) -> Any:
        """Rows of a model of one array: columns by name where it was trained on such."""
        assert self.takes is not None
        columns, shape = self.model.form.columns, self.takes[1]
        if isinstance(rows, Mapping):
            absent = next((name for name in columns if name not in rows), None)
            if absent is not None or not columns:
                wanted = ", ".join(columns[:6]) if columns else f"a list of rows of shape {shape}"
                why = "the model was trained on arrays" if not columns else "the model was trained on these columns"
                raise DataError(must("rows", f"be {wanted}", ", ".join(map(str, list(rows)[:6])), why, "rows as then"))
            rows = [rows[name] for name in columns]
            several = isinstance(rows[0], list)
            if any(isinstance(cells, list) != several or (several and len(cells) != len(rows[0])) for cells in rows):
                why = "row i of each is of one row"
                raise DataError(must("columns", "have as many rows", "unequal ones", why, "columns of equal length"))
            rows = np.asarray(rows, dtype=object if _odd(rows) else None).T
        return rows

    def compute(self, inputs: Any) -> np.ndarray:
        return self.model.engine.predict(self.model.state, inputs)

    def answer(self, outputs: np.ndarray) -> Answer:
        form = self.model.form
        return Answer(answers(form, outputs), chances(form, outputs) if self.classes else None)

    def example(self) -> Any:
        form = self.model.form
        if form.kept is not None:
            return {name: [None] for name in form.kept.columns}
        assert form.inputs is not None
        return _zeros(form.inputs)


def _as_rows(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """One row as rows, and flat rows in their shape, as tables of numbers have them.

    >>> _as_rows(np.zeros(6), (2, 3)).shape, _as_rows(np.zeros((5, 6)), (2, 3)).shape
    ((1, 2, 3), (5, 2, 3))
    """
    width = math.prod(shape)
    flat = x.ndim == 2 and x.shape[1] == width
    return x.reshape(-1, *shape) if shape and (x.shape == shape or x.shape == (width,) or flat) else x


def _odd(columns: list[Any]) -> bool:
    cells = [cell for column in columns for cell in (column if isinstance(column, list) else [column])]
    return any(not isinstance(cell, int | float) for cell in cells)


def _zeros(inputs: Mapping[str, Any]) -> Any:
    if "of" in inputs:
        return {name: _zeros(leaf) for name, leaf in inputs["of"].items()}
    return np.zeros((1, *inputs["shape"]), int if "int" in inputs["dtype"] else float).tolist()


def _require_shape(x: Any, inputs: Mapping[str, Any], name: str) -> None:
    if "of" in inputs:
        wanted = ", ".join(inputs["of"])
        if not isinstance(x, Mapping) or set(x) != set(inputs["of"]):
            got = ", ".join(map(str, list(x)[:6])) if isinstance(x, Mapping) else "one array"
            raise DataError(must(name, f"hold {wanted}", got, "the model was trained on these", "one array for each"))
        for key, leaf in inputs["of"].items():
            _require_shape(x[key], leaf, f"{name} {key!r}")
        return
    shape = tuple(inputs["shape"])
    if not isinstance(x, np.ndarray) or x.shape[1:] != shape or not len(x):
        got = f"an array of shape {x.shape}" if isinstance(x, np.ndarray) else "several arrays"
        width = math.prod(shape)
        why = f"a row of the model has shape {shape}"
        raise DataError(must(name, "be rows of the model's shape", got, why, f"rows of {width:,} numbers each"))


def _count(tree: Any) -> int:
    while not hasattr(tree, "shape"):
        tree = next(iter(tree.values())) if isinstance(tree, Mapping) else tree[0]
    return int(tree.shape[0])


@dataclass(frozen=True)
class Service:
    """A model that is warm: what `plan` says of it, and what `run` opens a port for."""

    served: ServedModel
    warmed: Warmed
    plan: Forecast
    newest: bool
    body_bytes: int

    def app(self) -> App:
        """A new application for it."""
        return _app(self.served, self.warmed, self.plan.target_seconds, self.newest, self.body_bytes)


def service(
    folder: str | os.PathLike[str],
    *,
    p99_ms: float = P99_MS,
    batch: int | None = None,
    newest: bool = False,
    body_mb: float = BODY_MB,
    fast: bool = False,
    model: Any = None,
) -> Service:
    """Load, compile and time the model in `folder` for `p99_ms`; no port is opened.

    - `batch`: rows computed at once, at most; the largest that hold the target where left out.
    - `newest`: one request waits at most, and a newer one takes its place. `body_mb`: the largest body.
    - `fast`: the capacity is not measured, which takes some seconds.
    - `model`: see `ladle.load`.

    Raises `ArgumentError` where the target is out of reach: one row alone takes too long.
    """
    door = _door()
    for name, value in (("p99_ms", p99_ms), ("body_mb", body_mb)):
        if not 0 < value < 1e6:
            raise ArgumentError(must(name, "be a positive number", value, "nothing fits in none", f"{name}=20"))
    most = MOST if batch is None else require_count("batch", batch)
    if most > MOST:
        raise ArgumentError(
            must("batch", f"be at most {MOST:,}", most, "that many rows are computed at once", "batch=64")
        )
    loaded = load(folder, model=model)
    served = ServedModel(loaded, _name(Path(folder)))
    warmed = warm(served, p99_ms / 1e3, most)
    body_bytes = int(body_mb * 2**20)
    line, body = Line(warmed.seconds), json.dumps(served.example()).encode()
    app = _app(served, warmed, p99_ms / 1e3, False, max(body_bytes, len(body)))
    if fast:
        return Service(served, warmed, Forecast.of(p99_ms / 1e3, line, warmed.largest), newest, body_bytes)
    with door.Opened(app) as server:
        plan = Forecast.of(p99_ms / 1e3, line, warmed.largest, lambda count: server.load(body, count))
    return Service(served, warmed, plan, newest, body_bytes)


def reserved(host: str = "127.0.0.1", port: int = 8000) -> AbstractContextManager[socket.socket]:
    """The address for a server, which nobody else can take and nobody can connect to before `serve`.

    Raises `ArgumentError` where it is taken already.
    """
    return closing(_door().bound(host, port))


def serve(made: Service, at: socket.socket, *, opened: Callable[[int], None]) -> None:
    """Answer requests at a `reserved` address until SIGTERM or ctrl-C; `opened(port)` once anyone can connect."""
    _door().run(made.app(), at, opened)


def _app(served: ServedModel, warmed: Warmed, target_seconds: float, newest: bool, body_bytes: int) -> App:
    control = Controller(target_seconds, Line(warmed.seconds), warmed.largest)
    return App(Desk(served, control, Numbers(), newest=newest), body_bytes=body_bytes)


def _door() -> Any:
    try:
        from ladle.serve import door
    except ImportError as error:
        why = f"serving needs {error.name or 'uvicorn'}"
        raise ArgumentError(
            must("ladle serve", "have its libraries", None, why, "pip install 'ladle[serve]'")
        ) from None
    return door


def _name(folder: Path) -> str:
    """What a folder is called in addresses.

    >>> _name(Path("runs/my model!"))
    'my-model'
    """
    return re.sub(r"[^\w.-]+", "-", folder.resolve().name, flags=re.ASCII).strip("-.") or "model"
