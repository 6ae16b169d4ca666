"""`MetricsFile`: `metrics.jsonl`, one strict-JSON line a window, written so that a kill leaves only whole lines."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

from ladle.core.errors import RunError, must
from ladle.core.record import plain

_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
_MODE = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0)


class MetricsFile:
    """The metrics file of one run, append-only.

    Each line goes out in a single `write` to an append descriptor: a reader never meets two lines mixed, and a kill
    leaves whole lines. Nothing is synchronised per line; call `flush` before a checkpoint that relies on the lines.

    Raises `RunError`, naming the file, where it cannot be opened, written, synchronised or cut (a full disk).

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "metrics.jsonl"
    >>> with MetricsFile(path) as file:
    ...     file.append({"examples": 64, "train_loss": float("nan")})
    >>> path.read_text()
    '{"examples":64,"train_loss":null}\\n'
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            self._descriptor: int | None = os.open(self.path, _MODE, 0o644)
        except OSError as error:
            raise _failed(self.path, error) from error

    def append(self, line: Mapping[str, Any]) -> None:
        """Write `line` at the end. Numbers that are not finite become `null`."""
        data = (_encode({str(name): _strict(value) for name, value in line.items()}) + "\n").encode()
        descriptor = self._open()
        try:
            written = os.write(descriptor, data)
        except OSError as error:
            raise _failed(self.path, error) from error
        if written < len(data):
            # The disk filled up in the middle of the line: take the torn half back, so that all lines stay whole.
            os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
            raise _failed(self.path, OSError("the disk took only a part of the line"))

    def message(self, text: str) -> None:
        """Sentences are not kept: the file holds record lines alone."""

    def last_before(self, examples: int) -> int:
        """The last position in the file up to `examples`, 0 for none. Changes nothing."""
        self._open()
        return _whole_until(self.path, examples)[1]

    def truncate_after(self, examples: int) -> int:
        """Drop every line past position `examples` and a torn last line. Returns the last position kept, 0 for none.

        A run resumed at `examples` then writes on with neither gap nor duplicate.
        """
        descriptor = self._open()
        try:
            end, last = _whole_until(self.path, examples)
            os.ftruncate(descriptor, end)
        except OSError as error:
            raise _failed(self.path, error) from error
        return last

    def keep(self, lines: int) -> int:
        """Drop every line past the first `lines`. Returns how many are left: fewer where there were fewer whole ones.

        >>> import tempfile
        >>> with MetricsFile(Path(tempfile.mkdtemp()) / "metrics.jsonl") as file:
        ...     file.append({"examples": 0})
        ...     file.append({"examples": 0})
        ...     file.keep(1)
        1
        """
        descriptor = self._open()
        try:
            with open(self.path, "rb") as file:
                whole = [line for line in islice(file, lines) if line.endswith(b"\n")]
            os.ftruncate(descriptor, sum(map(len, whole)))
        except OSError as error:
            raise _failed(self.path, error) from error
        return len(whole)

    def flush(self) -> None:
        """Return once every line is on the disk."""
        try:
            os.fsync(self._open())
        except OSError as error:
            raise _failed(self.path, error) from error

    def close(self) -> None:
        """Flush and close. Closing again does nothing."""
        if self._descriptor is None:
            return
        try:
            self.flush()
        finally:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)

    def __enter__(self) -> MetricsFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> int:
        if self._descriptor is None:
            raise _failed(self.path, ValueError("it is closed"))
        return self._descriptor


def _strict(value: Any) -> Any:
    """`plain(value)`, with a short way for what nearly every value is."""
    kind = type(value)
    if kind is int or kind is str or (kind is float and math.isfinite(value)):
        return value
    return plain(value)


def _whole_until(path: Path, examples: int) -> tuple[int, int]:
    """Byte offset after the last readable line with position <= `examples`, and that line's position."""
    end, last = 0, 0
    with open(path, "rb") as file:
        for text in file:
            position = _position(text)
            if position is None or position > examples:
                break
            end, last = end + len(text), position
    return end, last


def _position(text: bytes) -> int | None:
    if not text.endswith(b"\n"):
        return None
    try:
        return int(json.loads(text)["examples"])
    except (ValueError, KeyError, TypeError):
        return None


def _failed(path: Path, error: Exception) -> RunError:
    reason = getattr(error, "strerror", None) or str(error)
    return RunError(
        must("metrics file", "be writable", str(path), reason, "a folder with free space that you may write")
    )
