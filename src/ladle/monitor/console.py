"""What a person sees while a run goes on: a live bar on a terminal, a few plain lines elsewhere, nothing when quiet.

Everything goes to standard error: standard output belongs to results.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol, TextIO

from ladle.core.duration import better_is_higher

_LIVE_SECONDS = 0.1
_PLAIN_SECONDS = 2.0
_NOTEBOOK_SECONDS = 0.5
_PATIENCE_SECONDS = 60.0


class Console(Protocol):
    """Shows the record lines of a run as they come."""

    def append(self, line: Mapping[str, Any]) -> None:
        """Take notice of a record line. Cheap: most calls only compare two clock readings."""
        ...

    def message(self, text: str) -> None:
        """Print `text` on a line of its own, at once."""
        ...

    def close(self) -> None:
        """Show the last line if it was not shown yet, and leave the terminal in order."""
        ...


def console(
    total_examples: int | None = None,
    quiet: bool = False,
    *,
    stream: TextIO | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Console:
    """The console for `stream` (standard error by default).

    - `total_examples`: position at which the run ends, where that is known; without it there is no bar and no ETA.
    - `quiet`: show nothing, messages neither.
    - `clock`: seconds that never run backwards; limits how often anything is drawn.

    A terminal gets a live line through rich (`NO_COLOR` is respected), a notebook one line that is written anew, at
    most twice a second, anything else plain text: at most one line per 2 seconds and per epoch, whichever is less often
    (but one a minute in very long epochs), and always the last.
    """
    stream = sys.stderr if stream is None else stream
    if quiet or stream is None:  # a program without a terminal may have no standard error at all
        return Quiet()
    if type(stream).__module__.startswith("ipykernel."):
        return Notebook(total_examples, stream=stream, clock=clock)
    if stream.isatty():
        return Live(total_examples, stream=stream, clock=clock)
    return Plain(total_examples, stream=stream, clock=clock)


class Quiet:
    """Shows nothing."""

    def append(self, line: Mapping[str, Any]) -> None:
        pass

    def message(self, text: str) -> None:
        pass

    def close(self) -> None:
        pass


class Plain:
    """Plain lines, seldom: for logs and pipes."""

    def __init__(self, total_examples: int | None, *, stream: TextIO, clock: Callable[[], float]) -> None:
        self._total, self._stream, self._clock = total_examples, stream, clock
        self._last_time, self._last_epoch = -float("inf"), -1
        self._waiting: Mapping[str, Any] | None = None

    def append(self, line: Mapping[str, Any]) -> None:
        passed, epoch = self._clock() - self._last_time, int(line.get("epoch") or 0)
        due = passed >= _PLAIN_SECONDS and epoch > self._last_epoch
        if due or passed >= _PATIENCE_SECONDS:
            self._print(line, epoch)
        else:
            self._waiting = line

    def message(self, text: str) -> None:
        with suppress(BrokenPipeError):  # whoever read the log has left; the run goes on
            print(text, file=self._stream, flush=True)

    def close(self) -> None:
        if self._waiting is not None:
            self._print(self._waiting, 0)

    def _print(self, line: Mapping[str, Any], epoch: int) -> None:
        self._last_time, self._last_epoch, self._waiting = self._clock(), epoch, None
        words = [_position(line, self._total), *_parts(line), _duration(line.get("seconds"))]
        self.message("  ".join(word for word in words if word))


class Notebook:
    """One line below a notebook's cell, written anew: a return goes back to its beginning."""

    def __init__(self, total_examples: int | None, *, stream: TextIO, clock: Callable[[], float]) -> None:
        self._total, self._stream, self._clock = total_examples, stream, clock
        self._last_time, self._wide = -float("inf"), 0
        self._waiting: Mapping[str, Any] | None = None

    def append(self, line: Mapping[str, Any]) -> None:
        self._waiting = line
        if self._clock() - self._last_time >= _NOTEBOOK_SECONDS:
            self._draw(line)

    def message(self, text: str) -> None:
        """On a line of its own; the line that moves goes on below."""
        self._stream.write("\r" + text.ljust(self._wide) + "\n")
        self._stream.flush()
        self._wide = 0

    def close(self) -> None:
        if self._waiting is not None:
            self._draw(self._waiting)
        if self._wide:
            self._stream.write("\n")
            self._wide = 0

    def _draw(self, line: Mapping[str, Any]) -> None:
        self._waiting = None
        words = [_position(line, self._total), *_parts(line), _duration(line.get("seconds"))]
        text = "  ".join(word for word in words if word)
        self._stream.write("\r" + text.ljust(self._wide))  # Blanks over what a longer line before has left.
        self._stream.flush()
        self._wide, self._last_time = len(text), self._clock()


class Live:
    """One live line on a terminal: bar, share done, ETA and the newest numbers."""

    def __init__(self, total_examples: int | None, *, stream: TextIO, clock: Callable[[], float]) -> None:
        from rich.console import Console as RichConsole
        from rich.progress import (
            BarColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = [TextColumn("{task.description}"), TextColumn("{task.fields[words]}")]
        if total_examples:
            columns = [BarColumn(bar_width=24), TaskProgressColumn(), TimeRemainingColumn(compact=True), *columns[1:]]
        else:
            columns = [TimeElapsedColumn(), *columns[1:]]
        self._clock, self._last_time = clock, -float("inf")
        self._waiting: Mapping[str, Any] | None = None
        # Rich's own refresh thread would compete with the training step for the interpreter: drawn by hand instead.
        # Its redirection would send what others print on standard output to this stream: off.
        screen = RichConsole(file=stream)
        self._progress = Progress(*columns, console=screen, auto_refresh=False, redirect_stdout=False)
        self._task = self._progress.add_task("", total=total_examples, words="")
        self._started = False

    def append(self, line: Mapping[str, Any]) -> None:
        now = self._clock()
        if now - self._last_time < _LIVE_SECONDS:
            self._waiting = line
            return
        self._last_time = now
        self._draw(line)

    def message(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        if self._waiting is not None:
            self._draw(self._waiting)
        if self._started:
            self._progress.stop()
            self._started = False

    def _draw(self, line: Mapping[str, Any]) -> None:
        if not self._started:
            self._progress.start()
            self._started = True
        self._waiting = None
        words = _escape(" ".join([f"epoch {line.get('epoch') or 0:.2f}", *_parts(line)]))
        self._progress.update(self._task, completed=line.get("examples") or 0, words=words)
        self._progress.refresh()


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _position(line: Mapping[str, Any], total: int | None) -> str:
    examples, epoch = line.get("examples") or 0, line.get("epoch") or 0
    share = f" {min(examples / total, 1):4.0%}" if total else ""
    return f"epoch {epoch:6.2f}{share}"


def _parts(line: Mapping[str, Any]) -> list[str]:
    """The newest numbers in words; what is missing is left out."""
    words = []
    for label, name, form in (("loss", "train_loss", ".4g"), ("valid", "valid_loss", ".4g"), *_metric(line)):
        if line.get(name) is not None:
            words.append(f"{label} {line[name]:{form}}")
    if line.get("size"):
        words.append(f"size {line['size']:,}")
    if (line.get("data_wait_fraction") or 0) >= 0.01:
        words.append(f"data wait {line['data_wait_fraction']:.0%}")
    if line.get("reason"):
        words.append(str(line["reason"]))
    return words


def _metric(line: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The validation metric worth a place: the first where more is better, else the first but the loss."""
    names = [name for name in line if name.startswith("valid_") and name != "valid_loss"]
    names.sort(key=lambda name: not better_is_higher(name))
    return [(name.removeprefix("valid_"), name, ".4g") for name in names[:1]]


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"
