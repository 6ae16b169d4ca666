"""`Watch`: sees to it that processes which share a run end together, soon, and say which of them was the cause.

A collective waits for all ranks: one that raised, died or was stopped would keep the others waiting for its timeout.
So each rank gives a sign about once a second in the store where they met, and looks at others' signs from a thread:
rank 0 at all, the others at rank 0. The first reason that is noted there is everyone's.

One that hangs and still gives signs is met by the time that windows take: see `Watch.window` and `patience.py`.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from ladle.core.patience import Patience, Took

SILENCE = "LADLE_SILENCE_SECONDS"
"""Environment variable: after so many seconds without a sign a rank counts as frozen. 15 where it is not set."""

NOTE, LEFT = "note", "left"

HANGS = "no step"
"""Words of a reason for which each rank shows what all of its threads are doing."""


class Store(Protocol):
    """What all ranks read and write: texts by name, where they met. What fails raises, of whatever class."""

    def set_timeout(self, timeout: timedelta, /) -> None: ...

    def set(self, key: str, value: str, /) -> Any: ...

    def get(self, key: str, /) -> bytes: ...

    def check(self, keys: list[str], /) -> bool:
        """Whether all of them are there; waits for none."""
        ...

    def compare_set(self, key: str, expected: str, value: str, /) -> bytes:
        """What is there after `value` was set where nothing was; `expected` is "" here."""
        ...


class Watch:
    """The signs of one rank, and what it sees of others'.

    - `store`: where the ranks met, on a connection of its own. `name`: of the run among those of this process.
    - `leave`: what ends this process where its main thread does not; `os._exit` outside tests.
    """

    def __init__(self, store: Store, rank: int, size: int, name: str, leave: Callable[[int], None] = os._exit) -> None:
        self.store, self.rank, self.size, self.name, self.leave = store, rank, size, name, leave
        self.silence = float(os.environ.get(SILENCE, 15))
        self.note: str | None = None
        self._over = threading.Event()
        self._noted = threading.Event()
        self._seen: dict[int, tuple[str, float]] = {}
        self._patience, self._due = Patience(), float("inf")
        store.set_timeout(timedelta(seconds=self.silence / 2))
        self._sign(0)
        self._answered, self._pause = time.monotonic(), min(1.0, self.silence / 5)
        self._threads = [
            threading.Thread(target=run, name="ladle-watch", daemon=True) for run in (self._run, self._guard)
        ]
        for thread in self._threads:
            thread.start()

    def tell(self, reason: str) -> str:
        """Note why this rank ends; returns the reason that all ranks end for, which may be another's."""
        try:
            found = self.store.compare_set(self._key(NOTE), "", reason)
        except Exception:  # The store is gone with the process that kept it.
            return reason
        told = (found or reason.encode()).decode()
        self.note = told
        self._over.set()
        return told

    def heard(self, seconds: float) -> str | None:
        """What another rank noted, or what is seen of one, waited for so long."""
        self._noted.wait(seconds)
        return self.note

    @contextmanager
    def window(self, examples: int, size: int) -> Iterator[Callable[[], None]]:
        """A window of so many examples in batches of `size`, which all ranks have begun; yields what each step calls.

        Where the next step takes many times what steps took, it hangs: in Python, in the data or in a collective. Then
        the stacks of all threads are written to standard error, and the process ends.
        """
        limit, longest, began = self._patience.limit(examples, size), 0.0, time.monotonic()

        def stepped() -> None:
            nonlocal longest, began
            longest, began = max(longest, time.monotonic() - began), time.monotonic()
            self._due = began + limit

        self._due = began + limit
        try:
            yield stepped
        finally:
            self._due = float("inf")
        self._patience.note(Took(max(longest, time.monotonic() - began), examples, size))

    def stop(self, left: bool) -> None:
        """No more signs. `left`: because all went well."""
        self._over.set()
        for thread in self._threads:
            thread.join(self.silence)
        if left:
            try:
                self.store.set(self._key(self.rank), LEFT)
            except Exception:
                return

    def _key(self, of: object) -> str:
        return f"ladle/{self.name}/{of}"

    def _sign(self, number: int) -> None:
        pid = os.getpid()
        self.store.set(self._key(self.rank), f"{number} {socket.gethostname()} {pid} {_born(pid)}")

    def _run(self) -> None:
        looked, signs = time.monotonic(), 0
        while not self._over.wait(self._pause):
            now = time.monotonic()
            if now - looked > self.silence / 2:  # This process was stopped itself, and knows nothing of others.
                self._seen.clear()
            looked, signs = now, signs + 1
            try:
                self._sign(signs)
                reason, self._answered = self._look(now), now
            except Exception:  # The store is gone: rank 0 kept it, or a launcher.
                reason = self._of_store(silent=False)
            if reason is not None:
                self._end(reason)
                return

    def _guard(self) -> None:
        """A store whose keeper is stopped gives no answer and no error, and who asks it waits. This asks nothing."""
        looked = time.monotonic()
        while not self._over.wait(self._pause):
            if self._noted.is_set():  # The first reason is the reason: who found it no longer asks the store.
                return
            now = time.monotonic()
            if now - looked > self.silence / 2:
                self._answered = now
                self._due += now - looked
            looked = now
            if now > self._due:
                return self._hang()
            reason = self._of_store(silent=True) if now - self._answered > self.silence else None
            if reason is not None:
                self._end(reason)
                return

    def _hang(self) -> None:
        reason = f"rank {self.rank} made {HANGS} for many times as long as steps take"
        noted = threading.Thread(target=self._note, args=(reason,), daemon=True)
        noted.start()  # A store whose keeper hangs gives no answer.
        noted.join(self._pause)
        self._end(self.note or reason)

    def _note(self, reason: str) -> None:
        try:
            self.note = self.store.compare_set(self._key(NOTE), "", reason).decode() or reason
        except Exception:
            return

    def _of_store(self, silent: bool) -> str | None:
        sign = self._seen.get(0, ("", 0.0))[0]
        if not sign:
            return "the store where all ranks meet gives no answer" if silent else None
        return self._of_sign(0, sign, silent)

    def _look(self, now: float) -> str | None:
        """A reason to end, noted by another rank or seen now."""
        if self.store.check([self._key(NOTE)]):
            return self.store.get(self._key(NOTE)).decode()
        for rank in range(1, self.size) if self.rank == 0 else (0,):
            reason = self._of(rank, now)
            if reason is not None:
                return self.store.compare_set(self._key(NOTE), "", reason).decode() or reason
        return None

    def _of(self, rank: int, now: float) -> str | None:
        key = self._key(rank)
        sign = self.store.get(key).decode() if self.store.check([key]) else ""
        if sign in ("", LEFT):  # Not begun yet: there the collective's own patience counts.
            return None
        if sign != self._seen.get(rank, (None, 0.0))[0]:
            self._seen[rank] = sign, now
        return self._of_sign(rank, sign, silent=now - self._seen[rank][1] > self.silence)

    def _of_sign(self, rank: int, sign: str, silent: bool) -> str | None:
        """Why to end for a rank whose newest sign is this one; None while there is no reason."""
        _, host, pid, born = sign.split()
        here = host == socket.gethostname()
        if here and _born(int(pid)) != born:
            return f"rank {rank} died (process {pid} on {host})"
        if not silent:
            return None
        if here and _state(int(pid)) == "T":
            os.kill(int(pid), signal.SIGKILL)  # A stopped process hears nothing else, not even its launcher's SIGTERM.
        return f"rank {rank} gave no sign for {self.silence:g} s (process {pid} on {host})"

    def _end(self, reason: str) -> None:
        """End this process: by its main thread, which may be in a collective that fails by now, or without it."""
        self.note = reason
        self._noted.set()
        if HANGS in reason:
            _stacks(self.rank)
        if not self._over.wait(min(3.0, self.silence)):
            print(f"ladle: rank {self.rank}: the run ended, for {reason}", file=sys.stderr, flush=True)
            self.leave(1)


def _stacks(rank: int) -> None:
    """What every thread is doing, on standard error."""
    print(f"ladle: rank {rank}: what its threads are doing", file=sys.stderr, flush=True)
    try:
        faulthandler.dump_traceback(sys.__stderr__ or sys.stderr, all_threads=True)
    except (OSError, ValueError, AttributeError):  # No file behind it.
        return


def _stat(pid: int) -> list[str]:
    """Fields of a process from its state on; none where there is no such process, or it is dead and not yet buried."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
    return [] if fields[0] == "Z" else fields


def _born(pid: int) -> str:
    """When a process was begun, by which it is told from a later one of the same number; "0" where it is gone."""
    return (_stat(pid) or ["0"] * 20)[19]


def _state(pid: int) -> str:
    return (_stat(pid) or [""])[0]
