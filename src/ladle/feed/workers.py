"""Processes that read: spawned, and without running the program's main file again where nothing of it is needed.

A spawned process runs the main file once more before it works, which without `if __name__ == "__main__":` begins the
whole program anew. It does so for what is defined there; jobs made of a library's classes do not need it.
"""

from __future__ import annotations

import pickle
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import current_process, get_context
from multiprocessing.context import BaseContext, SpawnContext, SpawnProcess
from threading import Lock
from typing import Any

from ladle.core.errors import ArgumentError, must

_HIDING = Lock()


def context_for(job: Any) -> BaseContext:
    """How processes for `job` are begun: spawned, since a fork of a process with threads may never wake up.

    What is defined in the main file is forked instead while no such library is loaded, as a `DataLoader` does.

    Raises `ArgumentError` in a process that is itself just being spawned: it is running a main file without a guard.
    """
    if getattr(current_process(), "_inheriting", False):
        why = "each process runs it again, and would begin processes of its own"
        remedy = 'the program under `if __name__ == "__main__":`, or processes=False'
        raise ArgumentError(must("processes", "be asked for outside of a main file's top level", True, why, remedy))
    if not _of_main(job):
        return _WithoutMain()
    threads = {"jax", "torch"} & set(sys.modules)
    return get_context("spawn" if threads else "fork")


def _of_main(job: Any) -> bool:
    """Whether `job` holds anything that is defined in the main file. What cannot be pickled is found out later."""
    try:
        return b"__main__" in pickle.dumps(job)
    except Exception:
        return True


class _Process(SpawnProcess):
    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        with _hidden_main():
            return SpawnProcess._Popen(process_obj)


class _WithoutMain(SpawnContext):
    Process = _Process  # type: ignore[assignment]


@contextmanager
def _hidden_main() -> Iterator[None]:
    """A main module without a file, as long as a process is begun: there is then none to run again."""
    with _HIDING:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main
