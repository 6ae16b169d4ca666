"""What can go wrong, as a tree. Catch `LadleError` for everything; the command line maps the branches to exit codes.

    LadleError
    ├── ArgumentError (ValueError)     the user can mend it; command line: one line, exit 2
    │   └── DataError                  a file, table or array cannot be used as it is
    │       └── ExampleError           some examples of a source cannot; `ids` says which
    ├── RunError                       a run that had started failed; exit 1
    │   └── NotConfirmed               nothing went wrong, and nothing was measured: a plan goes on and says so
    ├── EndOfStream                    no more events came in time; a run ends there as if it had finished
    └── CheckpointError                no usable checkpoint; names every refused one and why; exit 2

A run that diverged is an answer, not an error: `fit` warns with `DivergedWarning`, and its status says so.

Every message has the same four parts, written by `must`: the argument, what it must be, what it was,
why, and what to try.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class LadleError(Exception):
    """Base of every error that ladle raises on purpose."""


class ArgumentError(LadleError, ValueError):
    """An argument, option or setting that the user can mend."""


class DataError(ArgumentError):
    """Data that cannot be used as it is: missing, truncated, empty, not finite, of the wrong type."""


class ExampleError(DataError):
    """Examples that cannot be read: a damaged image, a row that is not finite. A feed may be told to leave them out.

    - `ids`: which examples of the source they are; all that were found bad at once.
    """

    def __init__(self, message: str, ids: Iterable[int]) -> None:
        super().__init__(message)
        self.ids = tuple(int(id) for id in ids)

    def __reduce__(self) -> tuple[Any, ...]:  # Exceptions with arguments of their own do not travel between processes.
        return type(self), (str(self), self.ids)


class RunError(LadleError, RuntimeError):
    """A run that had begun could not go on. What it had written stays."""


class NotConfirmed(RunError):
    """What a plan chose could not be run in a child process, because of how it was handed over. The text says why."""


class DivergedWarning(UserWarning):
    """A run ended because its loss or gradient was no longer finite, or its loss exploded. What it left is no model."""


class EndOfStream(LadleError):
    """A stream has no further event, or none came within the time to wait for one."""


class CheckpointError(LadleError):
    """No usable checkpoint was found. The message names each refused one and why."""


TRY = "; try "
"""What stands between a sentence and its remedy."""


def must(argument: str, be: str, got: object, because: str, remedy: str) -> str:
    """The one sentence every ladle error says.

    - `remedy`: what to try, in Python's words: `size=64`. The command line says them as its options, `--size 64`.

    >>> must("size", "be at least 1", 0, "an update needs an example", "size=64")
    'size must be at least 1; got 0; because an update needs an example; try size=64'
    """
    return f"{argument} must {be}; got {got!r}; because {because}{TRY}{remedy}"


def nearest(name: str, known: Iterable[str]) -> str:
    """A remedy for an unknown name: the nearest known one, then all of them.

    >>> nearest("digit", ["digits", "mnist"])
    "'digits' (known: digits, mnist)"
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return (f"{close[0]!r} " if close else "one of them ") + f"(known: {', '.join(names)})"
