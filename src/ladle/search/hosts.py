"""Trials on other machines: each worker is begun by a command, such as `ssh HOST`, and spoken to by its pipes."""

from __future__ import annotations

import os
import pickle
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from importlib import metadata
from multiprocessing.connection import Connection
from typing import Any

from ladle.core.errors import ArgumentError, must
from ladle.core.sources import package_digest
from ladle.search.crew import Gone, Kept, died

SIGN = b""
"""A sign of life, between answers."""

MARK = b"a worker of ladle\n"
"""What it says first."""

SIGN_SECONDS = 5.0

SILENCE_SECONDS = 60.0
"""A worker without a sign for so long is given up: its network is cut, or it is stopped."""

COMING_SECONDS = 120.0
"""In which a worker has to come after its command was begun."""


class Hosts(Kept):
    """An `Executor` of one worker a command: `Hosts(["ssh one", "ssh two"])`, the same one again for two workers there.

    Each command is followed by `PYTHON -m ladle.search.worker`, and has to connect standard input and output with it:
    `ssh HOST`, `docker exec -i NAME`, `ip netns exec NAME`, `srun -N1 -n1`, or `env` for this machine. Nothing listens
    anywhere, and who may log in is ssh's affair; what travels is pickled, so both sides have to trust each other.

    - `python`: the interpreter there; this one's path where left out. `silence`: seconds without a sign of life after
      which a worker counts as dead.

    The function travels to each worker once. Raises `ArgumentError` before any item where a worker does not come, or
    has other versions of Python, ladle, JAX or NumPy. A worker that died is begun again before the next item; one that
    cannot be is left out.
    """

    def __init__(
        self, commands: Sequence[str], *, python: str = sys.executable, silence: float = SILENCE_SECONDS
    ) -> None:
        self.commands = tuple(commands)
        if not self.commands or not all(command.strip() for command in self.commands):
            got, why = list(self.commands), "each of them begins a worker"
            raise ArgumentError(must("workers", "name commands", got, why, "'hosts:ssh one,ssh two'"))
        self.python, self.silence = python, silence

    def begun(self, sent: bytes) -> list[_Remote]:
        workers = [_Remote(shlex.split(one), self.python, self.silence, sent) for one in self.commands]
        with ThreadPoolExecutor(len(workers)) as pool:  # They come side by side.
            coming = [pool.submit(one.begin) for one in workers]
        try:
            for one, come in zip(workers, coming, strict=True):
                one.require(come)
        except BaseException:
            for one in workers:
                one.close()
            raise
        return workers


class _Remote:
    """One worker, asked by one thread."""

    def __init__(self, command: Sequence[str], python: str, silence: float, function: bytes) -> None:
        self.command, self.python, self.silence, self.function = command, python, silence, function
        self.child: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Begin it and give it the function. Raises `Gone` where it does not come, or is another one."""
        self.words = tempfile.TemporaryFile()  # noqa: SIM115  # Open for as long as the worker.
        words = [*self.command, self.python, "-m", "ladle.search.worker"]
        pipe = subprocess.PIPE
        try:
            self.child = subprocess.Popen(words, bufsize=0, stdin=pipe, stdout=pipe, stderr=self.words)
        except OSError as error:
            self.words.close()
            raise Gone(f"{self.command[0]}: {error.strerror}") from None
        assert self.child.stdin is not None and self.child.stdout is not None
        self.asking = Connection(os.dup(self.child.stdin.fileno()), readable=False)
        self.hearing = Connection(os.dup(self.child.stdout.fileno()), writable=False)
        self.child.stdin.close()
        self.child.stdout.close()
        try:
            self._await(MARK)
            there = pickle.loads(self._heard(COMING_SECONDS))
            self.asking.send_bytes(self.function)
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            raise Gone(self._end(error)) from None
        for name, here in versions().items():
            if there.get(name) != here:
                self.close()
                raise Gone(f"it has {name} {there.get(name)}, and this process {here}")

    def require(self, begun: Future[None]) -> None:
        """Refuse a worker that has not come."""
        try:
            begun.result()
        except Gone as error:
            be, remedy = "come when they are called", "a command that reaches a Python with the same packages"
            raise ArgumentError(must("workers", be, shlex.join(self.command), str(error), remedy)) from None

    def __call__(self, item: Any) -> Any:
        if self.child is None:
            self.begin()
        try:
            self.asking.send_bytes(pickle.dumps(item))
            good, answer = pickle.loads(self._heard(self.silence))
        except (EOFError, OSError) as error:
            return died(item, f"its worker, {shlex.join(self.command)}, ended ({self._end(error)})")
        if not good:
            raise answer
        return answer

    def _await(self, mark: bytes) -> None:
        """Let pass what a shell says before the worker speaks: a greeting, say."""
        until, heard = time.monotonic() + COMING_SECONDS, b""
        while not heard.endswith(mark):
            if not self.hearing.poll(max(until - time.monotonic(), 0)):
                raise TimeoutError(f"no word from it for {COMING_SECONDS:g} s")
            if not (byte := os.read(self.hearing.fileno(), 1)):
                raise EOFError
            heard = heard[-len(mark) :] + byte

    def _heard(self, silence: float) -> bytes:
        """The next message that is more than a sign. Raises `OSError` after so many seconds without either."""
        while self.hearing.poll(silence):
            if message := self.hearing.recv_bytes():
                return message
        raise TimeoutError(f"no sign of life for {silence:g} s")

    def _end(self, error: Exception) -> str:
        """End what is left of it; why it ended, in its own last words where it has any."""
        assert self.child is not None
        how = str(error)
        if isinstance(error, TimeoutError):
            self.child.kill()
        else:
            with suppress(subprocess.TimeoutExpired):
                how = f"exit code {self.child.wait(2)}"
        self.words.seek(max(self.words.seek(0, os.SEEK_END) - 2000, 0))
        said = self.words.read().decode(errors="replace").split("\n")
        self.close()
        last = next((" ".join(line.split()) for line in reversed(said) if line.strip()), "")
        return f"{how}: {last}" if last else how

    def close(self) -> None:
        child, self.child = self.child, None
        if child is None:
            return
        self.asking.close()  # It ends by itself then, if it is idle.
        try:
            child.wait(1)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        self.hearing.close()
        self.words.close()


def versions() -> dict[str, str]:
    """What has to be equal for trials to be the same wherever they run."""
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in ("jax", "jaxlib", "numpy", "torch"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {**found, "files of ladle": package_digest()}
