"""`Courier`: the sink that brings a run's record to a tracker, in a process beside the run's.

A process, because a tracker must neither end nor slow a run: its library shares no interpreter with the training, may
hang, crash or print, and is stopped by stopping the process. Lines go through a pipe that is never waited for; what the
pipe does not take is kept until the next line, up to `BACKLOG_BYTES`.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ladle.core import record
from ladle.core.protocols import Sink, Tracker
from ladle.monitor.console import Plain, Quiet
from ladle.track import BY_NAME

BACKLOG_BYTES = 64 << 20
"""Of lines that the tracker has not taken yet. What comes then is left out, and said."""

EVERY_SECONDS = 0.25
"""Between two goes at the pipe: each may wake the tracker's process, which then asks for a core."""

PATIENCE_SECONDS = 60.0
"""Without a sign of life, at the end of a run, after which a tracker is given up. Loading one may take half of it."""

_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


class Courier:
    """Sends one run to `tracker`. A failure is told to `say` once; from then on nothing is sent.

    - `failed`: why nothing more is sent, None while all is well.
    """

    def __init__(self, tracker: Tracker, say: Callable[[str], None]) -> None:
        self.name = next(name for name, kind in BY_NAME.items() if isinstance(tracker, kind))
        self.failed: str | None = None
        self._tracker, self._say, self._folder = tracker, say, None
        self._child: subprocess.Popen[bytes] | None = None
        self._waiting, self._heard, self._left_out, self._pumped = bytearray(), b"", 0, 0.0

    def begin(self, name: str, facts: Mapping[str, Any], folder: Path | None = None, until: int = -1) -> None:
        """Start the process, and tell it of the run: what run.json says.

        - `folder`: of the run. `until`: the position up to which the lines there are the run's already.
        """
        if self._child is not None:  # The same run, described again.
            return
        self._folder = folder
        order = json.dumps([self.name, asdict(self._tracker)])  # type: ignore[call-overload]
        paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "ladle.api.sending", order],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
                # Ctrl-C is for the run, which then tells how it ended. No session of its own: Linux would give it an
                # equal share of the cores, whatever its priority.
                process_group=0,
            )
        except OSError as error:
            self._fail(str(error))
            return
        assert self._child.stdin is not None and self._child.stdout is not None
        os.set_blocking(self._child.stdin.fileno(), False)
        os.set_blocking(self._child.stdout.fileno(), False)
        self._send({"begin": name, "facts": facts, "folder": folder and str(folder.absolute()), "until": until})

    def append(self, line: Mapping[str, Any]) -> None:
        self._send({"line": line, "when": time.time()})

    def message(self, text: str) -> None:
        self._send({"message": text})

    def end(self, facts: Mapping[str, Any]) -> None:
        """Tell how the run ended."""
        self._send({"end": facts})

    def finish(self) -> None:
        """Return once the tracker has all of the run, or is given up."""
        try:
            self._wait_for_all()
        except KeyboardInterrupt:  # The run has ended already; only this is not waited for.
            self._fail("interrupted at the end of the run")
        if self._left_out:
            self._tell(f"{self.name} was too slow: {self._left_out:,} lines were not sent")
        self.close()

    def _wait_for_all(self) -> None:
        last = time.monotonic()
        while self.failed is None and not self._done():
            remaining = last + PATIENCE_SECONDS - time.monotonic()
            if remaining <= 0:
                self._fail(f"no sign of life for {PATIENCE_SECONDS:.0f} s")
            elif self._wait(remaining):
                last = time.monotonic()
                self._pump()

    def close(self) -> None:
        """Stop the process, whatever it is at."""
        child, self._child = self._child, None
        if child is None:
            return
        if self._done():
            with suppress(subprocess.TimeoutExpired):
                child.wait(5.0)
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]
        self.failed = self.failed or "closed"

    def _send(self, note: Mapping[str, Any]) -> None:
        if self._child is None or self.failed is not None:
            return
        if len(self._waiting) > BACKLOG_BYTES and "end" not in note:
            self._left_out += 1
        else:
            self._waiting += _encoded(note)
        if "line" not in note or time.monotonic() - self._pumped >= EVERY_SECONDS:
            self._pump()

    def _pump(self) -> None:
        """Give the pipe what it takes, and hear what the process has to say. Waits for nothing."""
        assert self._child is not None and self._child.stdin is not None and self._child.stdout is not None
        self._pumped = time.monotonic()
        try:
            while self._waiting:
                written = os.write(self._child.stdin.fileno(), self._waiting[: 1 << 16])
                del self._waiting[:written]
        except BlockingIOError:
            pass
        except OSError:
            self._wait(1.0)  # It is gone, and may have left a word.
        with suppress(BlockingIOError):
            heard = os.read(self._child.stdout.fileno(), 1 << 16)
            self._heard = (self._heard + heard).replace(b".\n", b"")
            if not heard and not self._done():
                self._fail(self._last_words())

    def _wait(self, seconds: float) -> bool:
        """Wait for a sign of life: a word, or room in the pipe."""
        assert self._child is not None
        assert self._child.stdin is not None and self._child.stdout is not None
        writing = [self._child.stdin] if self._waiting else []
        return any(map(bool, select.select([self._child.stdout], writing, [], seconds)))

    def _done(self) -> bool:
        return self._heard.endswith(b"done\n")

    def _last_words(self) -> str:
        """Why the process has ended: its own words, or its exit code."""
        assert self._child is not None
        if self._heard.strip():
            return self._heard.decode(errors="replace").strip()
        try:
            code = self._child.wait(5.0)
        except subprocess.TimeoutExpired:
            return "its process went silent"
        return f"its process was ended by signal {-code}" if code < 0 else f"its process ended with exit code {code}"

    def _fail(self, why: str) -> None:
        if self.failed is None:
            self.failed = why
            self._waiting.clear()
            self._tell(f"{self.name} failed: {' '.join(why.split())}; the run goes on without it")

    def _tell(self, text: str) -> None:
        later = "" if self._folder is None else f"; {self._folder} has it all, for `ladle report` to send later"
        self._say(text + later)


def _encoded(note: Mapping[str, Any]) -> bytes:
    """As a line of strict JSON, with a short way for what nearly every note is."""
    try:
        text = _encode(note)
    except (TypeError, ValueError):
        text = _encode(record.plain(note))
    return text.encode() + b"\n"


def couriers(sinks: Sequence[Sink | Tracker], screen: Sink) -> list[Sink]:
    """`sinks` with a courier in place of each tracker. Failures go to `screen`, to standard error if it is quiet."""
    say = Plain(None, stream=sys.stderr, clock=time.monotonic).message if isinstance(screen, Quiet) else screen.message
    return [Courier(one, say) if isinstance(one, tuple(BY_NAME.values())) else one for one in sinks]  # type: ignore[misc]
