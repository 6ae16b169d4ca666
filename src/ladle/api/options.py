"""From command-line options to a `Task`: a named data set or table with a built-in model, or `file.py:task`."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ladle.api.backend import backend_named
from ladle.api.task import Task
from ladle.core.errors import ArgumentError, must, nearest


@dataclass(frozen=True)
class TaskOptions:
    """What names a task on the command line; kept in `run.json` so that a run can be resumed from its folder alone.

    - `data`: a data set's name, a file, or `file.py:task`.
    """

    data: str
    target: str | None = None
    kind: Literal["classification", "regression"] | None = None
    drop: tuple[str, ...] = ()
    valid: float = 0.2
    model: Literal["linear", "mlp", "convnet"] = "mlp"
    optimizer: str = "adam"
    lr: float | None = None
    order: Literal["permuted", "sequential", "stratified"] | None = None
    stream: bool = False

    def task(self) -> Task:
        """Load the data and put the task together. Raises `ArgumentError` (or `DataError`)."""
        if self.data.partition(":")[0].endswith(".py"):
            return _changed(_from_file(self.data), self)
        from ladle.data import load

        backend = backend_named()
        backend.optimizer(self.optimizer)  # An unknown name is refused before data is read.
        data = (
            _streamed(self)
            if self.stream
            else load(self.data, target=self.target, kind=self.kind, drop=self.drop, valid=self.valid)
        )
        shapes = {"input_shape": data.input_shape, "outputs": data.outputs, "cardinalities": data.cardinalities}
        model = backend.model(self.model, **shapes)
        return Task(model, None, data, optimizer=self.optimizer, lr=self.lr or "auto", order=self.order or "permuted")

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TaskOptions:
        return cls(**{**value, "drop": tuple(value.get("drop", ()))})


def _streamed(options: TaskOptions) -> Any:
    """The table as a source that is read while it trains, a part of it set aside to validate."""
    from ladle.data import streamed
    from ladle.feed.source.open import open_source

    if options.target is None:
        why = "no row is looked at before it is needed"
        raise ArgumentError(must("target", "be given with --stream", None, why, "--target COLUMN"))
    if options.drop:
        why = "columns are read as they are stored"
        raise ArgumentError(must("drop", "be left out with --stream", options.drop, why, "a file without them"))
    source = open_source(options.data, y=options.target)
    return streamed(source, valid=options.valid, name=Path(options.data).name)


def _changed(task: Task, options: TaskOptions) -> Task:
    """A user's task with what was asked for on the command line."""
    asked = {"lr": options.lr, "order": options.order}
    return task.with_(**{name: value for name, value in asked.items() if value is not None})


def _from_file(text: str) -> Task:
    """The `Task` that `file.py:name` names: a value, or a function without arguments that makes it."""
    file, _, name = text.partition(":")
    path, name = Path(file), name or "task"
    if not path.is_file():
        raise ArgumentError(must("data", "be an existing file", file, "there is none of that name", "file.py:task"))
    spec = importlib.util.spec_from_file_location(_module_name(path), path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(path.parent.resolve()))  # its own imports work as if it were run
    try:
        spec.loader.exec_module(module)
        found = getattr(module, name, None)
        task = found() if callable(found) and not isinstance(found, Task) else found
    except ArgumentError:
        raise
    except Exception as error:
        # The user's file may fail in any way; where it did is what helps.
        line = _line_in(error, path)
        raise ArgumentError(
            must(text, "run", f"{type(error).__name__}: {error}", f"it was raised {line}", "mending the file")
        ) from error
    finally:
        sys.path.pop(0)
    if found is None:
        known = [key for key, value in vars(module).items() if isinstance(value, Task)]
        remedy = nearest(name, known) if known else f"{name} = ladle.Task(...) in it"
        raise ArgumentError(must(text, "name a task", name, f"{path.name} has none of that name", remedy))
    if not isinstance(task, Task):
        raise ArgumentError(
            must(
                text,
                "be a ladle.Task",
                type(task).__name__,
                "nothing else says what to train",
                "task = ladle.Task(...)",
            )
        )
    return task


def _module_name(path: Path) -> str:
    """The file's own name, unless a module of that name is loaded already: a task in random.py takes no one's place."""
    loaded = sys.modules.get(path.stem)
    same = getattr(loaded, "__file__", None) == str(path)
    return path.stem if loaded is None or same else f"task_in_{path.stem}"


def _line_in(error: BaseException, path: Path) -> str:
    trace, number = error.__traceback__, None
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename).name == path.name:
            number = trace.tb_lineno
        trace = trace.tb_next
    return f"in {path.name}, line {number}" if number else f"while {path.name} was loaded"
