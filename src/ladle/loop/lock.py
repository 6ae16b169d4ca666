"""`locked`: a folder held by one process while it writes there. A kill lets go of it; nothing is left behind."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ladle.core.errors import ArgumentError, must


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder` until the end of the `with`. Raises `ArgumentError` where another run holds it.

    It is an advisory lock on the folder itself: readers, and programs that do not ask, are not hindered.

    >>> import tempfile
    >>> with locked(Path(tempfile.mkdtemp())):
    ...     pass
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            why, remedy = "the two would be mixed up line by line", "again when that run has ended, or another folder"
            raise ArgumentError(must("out", "be written by one run at a time", str(folder), why, remedy)) from None
        yield
    finally:
        os.close(descriptor)
