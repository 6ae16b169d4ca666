"""`task_from`: the `Task` that `file.py:name` names, a file of the user's own."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from ladle.api.task import Task
from ladle.core.beside import files_beside
from ladle.core.errors import ArgumentError, must, nearest


def is_task_file(text: str) -> bool:
    """Whether `text` names a task in a file of Python.

    >>> is_task_file("mine.py:task"), is_task_file("mine.py"), is_task_file("mine.csv")
    (True, True, False)
    """
    return text.partition(":")[0].endswith(".py")


def task_from(text: str) -> Task:
    """The `Task` that `file.py:name` names: a value, or a function without arguments that makes it.

    Raises `ArgumentError` where there is no such file or name, and where the file fails, with the line that did.
    """
    file, _, name = text.partition(":")
    path, name = Path(file), name or "task"
    if not path.is_file():
        why, remedy = "there is none of that name", files_beside(path, "file.py:task", (".py",))
        raise ArgumentError(must("data", "be an existing file", file, why, remedy))
    module, found, task = _loaded(text, path, name)
    if found is None:
        known = [key for key, value in vars(module).items() if isinstance(value, Task)]
        remedy = nearest(name, known) if known else f"{name} = ladle.Task(...) in it"
        raise ArgumentError(must(text, "name a task", name, f"{path.name} has none of that name", remedy))
    if not isinstance(task, Task):
        got, why = type(task).__name__, "nothing else says what to train"
        raise ArgumentError(must(text, "be a ladle.Task", got, why, "task = ladle.Task(...)"))
    return task


def _loaded(text: str, path: Path, name: str) -> tuple[ModuleType, object, object]:
    """The module of the file, what `name` is there, and the task that it makes."""
    spec = importlib.util.spec_from_file_location(_module_name(path), path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(path.parent.resolve()))  # its own imports work as if it were run
    try:
        spec.loader.exec_module(module)
        found = getattr(module, name, None)
        return module, found, found() if callable(found) and not isinstance(found, Task) else found
    except ArgumentError as error:
        error.add_note(_line_in(error, path))  # It is mended in the file, not on the command line.
        raise
    except Exception as error:
        # The user's file may fail in any way; where it did is what helps.
        why = f"it was raised {_line_in(error, path)}"
        raise ArgumentError(must(text, "run", f"{type(error).__name__}: {error}", why, "mending the file")) from error
    finally:
        sys.path.pop(0)


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
