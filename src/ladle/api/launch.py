"""`launch`: several processes of one run on this machine, begun together, ended together, begun again where one failed.

    ladle launch -n 4 train digits --size 64
    ladle launch -n 2 --hosts 10.0.0.1,10.0.0.2 train digits          said on both machines

Each process is told by RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT which one it is; see `ladle.jax.cluster`. On the
processor each has its share of the cores.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ladle.core import record
from ladle.core.errors import ArgumentError, must
from ladle.core.spec import require_count

GRACE = 10.0
"""Seconds in which processes end by themselves after one has failed, and say why; then they are killed."""

PORT = 29400
"""Port where processes of several machines meet; those of one machine take a free one."""

RESTART = "LADLE_RESTART"
"""Environment variable: how often the processes were begun again. A script resumes its run where it is not 0."""

LOOPBACK = "127.0.0.1"
FINAL = (0, 2, 130, 143)
"""Exit codes after which nothing is begun again: it ended, it was refused, it was interrupted."""


@dataclass(frozen=True)
class Launch:
    """What is launched: `command`, `train` with its options, or a script of Python with its arguments.

    - `processes`: on this machine. `hosts`: addresses of all machines, the first of which is where processes meet; none
      for this machine alone. `host`: which of them this one is; found by its address where left out.
    - `port`: where they meet; 0 for a free one, or `PORT` with `hosts`.
    - `restarts`: how often all are begun again after one failed.
    """

    command: tuple[str, ...]
    processes: int = 2
    hosts: tuple[str, ...] = ()
    host: int | None = None
    port: int = 0
    restarts: int = 0

    def __post_init__(self) -> None:
        require_count("processes", self.processes)
        if not self.command or not (self.command[0] == "train" or self.command[0].endswith(".py")):
            got, why = self.command[0] if self.command else None, "processes share a run, and nothing else"
            raise ArgumentError(must("command", "be train, or a script", got, why, "ladle launch -n 2 train digits"))
        if self.restarts < 0:
            why = "processes are begun again so often"
            raise ArgumentError(must("restarts", "be 0 or more", self.restarts, why, "restarts=3"))
        if not 0 <= self.port < 2**16:
            raise ArgumentError(must("port", "be from 0 to 65535", self.port, "ports are numbered so", f"port={PORT}"))
        if self.host is not None and not 0 <= self.host < len(self.hosts):
            why = "machines are numbered from 0, in the order of hosts"
            raise ArgumentError(
                must("host", f"be below {len(self.hosts)}", self.host, why, "hosts='10.0.0.1,10.0.0.2'")
            )


def launch(asked: Launch) -> int:
    """Begin the processes of `asked`, and again after a failure; the exit code of the first one that failed, or 0.

    Of standard output there is that of the first process; what others say goes to standard error, with their rank.
    SIGINT and SIGTERM go to all of them: they save and stop.
    """
    node = _node(asked)
    command = placed(asked.command)
    return begun_again(asked.restarts, lambda attempt: _Attempt(asked, node, attempt).run(argv_of(command, attempt)))


def begun_again(restarts: int, run: Callable[[int], int]) -> int:
    """The exit code of `run(0)`, of `run(1)` where that failed, and so on: the last, or the first that is final."""
    for attempt in range(restarts + 1):
        code = run(attempt)
        if code in FINAL or attempt == restarts:
            return code
        print(f"ladle: the processes are begun again, {attempt + 1} of {restarts}", file=sys.stderr, flush=True)
    raise AssertionError("a launch begins once")


def words_of(command: Sequence[str]) -> list[str]:
    """How a process of it is begun: this Python, and the command line of ladle or the script."""
    if command[0].endswith(".py"):
        return [sys.executable, *command]
    return [sys.executable, "-m", "ladle.cli", *command]


def placed(command: tuple[str, ...]) -> tuple[str, ...]:
    """`command` with the folder of its run named, so that it can be gone on with; a script as it is."""
    if command[0] != "train" or _option(command, "--out") or _option(command, "--resume"):
        return command
    data = next((word for word in command[1:] if not word.startswith("-")), "run")
    return (*command, "--out", str(record.free_folder("train", data)))


def onward(command: tuple[str, ...]) -> tuple[str, tuple[str, ...]] | None:
    """The folder of a training whose folder is named, and the command that goes on with it; None for others.

    >>> onward(("train", "digits", "--out=runs/a", "--json"))
    ('runs/a', ('train', '--resume', 'runs/a', '--json'))
    """
    folder = _option(command, "--out")
    if command[0] != "train" or folder is None:
        return None
    return folder, ("train", "--resume", folder, *(word for word in command if word in ("--quiet", "--json")))


def argv_of(command: tuple[str, ...], attempt: int) -> list[str]:
    """What the processes are begun with: after a failure, going on with the run where it has begun."""
    found = onward(command) if attempt else None
    begun = found is not None and (Path(found[0]) / record.RUN_FILE).is_file()
    return words_of(found[1] if found is not None and begun else command)


def _option(command: Sequence[str], name: str) -> str | None:
    for place, word in enumerate(command):
        if word == name and place + 1 < len(command):
            return command[place + 1]
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
    return None


def _node(asked: Launch) -> int:
    """Which machine this is: the one whose address it has."""
    if not asked.hosts or asked.host is not None:
        return asked.host or 0
    own = [number for number, host in enumerate(asked.hosts) if _is_own(host)]
    if len(own) != 1:
        got, why = f"{len(own)} of {', '.join(asked.hosts)}", "each machine begins its own processes"
        raise ArgumentError(must("hosts", "hold one address of this machine", got, why, "host=0 on the first machine"))
    return own[0]


def _is_own(host: str) -> bool:
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as one:
            one.bind(address)
    except OSError:
        return False
    return True


class _Attempt:
    """One attempt: the processes of this machine from their beginning to their end."""

    def __init__(self, asked: Launch, node: int, attempt: int) -> None:
        self.asked, self.node, self.attempt = asked, node, attempt
        self.address = asked.hosts[0] if asked.hosts else LOOPBACK
        self.port = asked.port + attempt if asked.port else PORT + attempt if asked.hosts else free_port(LOOPBACK)
        self.children: list[subprocess.Popen[bytes]] = []

    def run(self, argv: Sequence[str]) -> int:
        readers = []
        with forwarding(self._forward):
            try:
                for local, cores in enumerate(self._cores()):
                    child = self._begun(argv, local, cores)
                    self.children.append(child)
                    if local:
                        readers.append(self._reader(child, self._rank(local)))
                return self._ended()
            finally:
                for child in self.children:
                    if child.poll() is None:
                        child.kill()
                        child.wait()
                for reader in readers:
                    reader.join(5)

    def _rank(self, local: int) -> int:
        return self.node * self.asked.processes + local

    def _variables(self, local: int) -> Mapping[str, str]:
        count = self.asked.processes
        told = {
            "RANK": self._rank(local),
            "WORLD_SIZE": count * max(len(self.asked.hosts), 1),
            "LOCAL_RANK": local,
            "LOCAL_WORLD_SIZE": count,
            "MASTER_ADDR": self.address,
            "MASTER_PORT": self.port,
            RESTART: self.attempt,
        }
        quiet = {"TF_CPP_MIN_LOG_LEVEL": "2"}  # JAX's runtime else warns of what it was asked for.
        return {**quiet, **os.environ, **{name: str(value) for name, value in told.items()}}

    def _begun(self, argv: Sequence[str], local: int, cores: set[int]) -> subprocess.Popen[bytes]:
        out, err = (subprocess.PIPE, subprocess.STDOUT) if local else (None, None)
        every = os.sched_getaffinity(0)
        os.sched_setaffinity(0, cores)  # Of this thread: what it begins now has the same.
        try:
            # A group of its own: Ctrl-C in a terminal reaches this process, which hands it on once.
            return subprocess.Popen(argv, env=self._variables(local), process_group=0, stdout=out, stderr=err)
        finally:
            os.sched_setaffinity(0, every)

    def _cores(self) -> list[set[int]]:
        return [share_of(local, self.asked.processes) for local in range(self.asked.processes)]

    def _reader(self, child: subprocess.Popen[bytes], rank: int) -> threading.Thread:
        def read() -> None:
            assert child.stdout is not None
            with child.stdout as said:
                for line in said:
                    sys.stderr.write(f"[{rank}] {line.decode(errors='replace')}")
                    sys.stderr.flush()

        thread = threading.Thread(target=read, name=f"ladle-rank-{rank}", daemon=True)
        thread.start()
        return thread

    def _ended(self) -> int:
        """The exit code of the first that failed, once all have ended; 0 where none did."""
        code, failed_at = 0, 0.0
        while None in [child.poll() for child in self.children]:
            failed = next((one for one in enumerate(self.children) if one[1].returncode), None)
            if failed is not None and not code:
                code, failed_at = code_of(failed[1].returncode), time.monotonic()
                self._tell(*failed)
            if code and time.monotonic() - failed_at > GRACE:
                break
            time.sleep(0.05)
        return code or next((code_of(one.returncode) for one in self.children if one.returncode), 0)

    def _tell(self, local: int, child: subprocess.Popen[bytes]) -> None:
        how = f"exit code {child.returncode}"
        if child.returncode < 0:
            how = signal.Signals(-child.returncode).name
        if code_of(child.returncode) not in FINAL:
            print(f"ladle: rank {self._rank(local)} ended by {how}; so do the others", file=sys.stderr, flush=True)

    def _forward(self, number: int) -> None:
        for child in self.children:
            if child.poll() is None:
                child.send_signal(number)


@contextmanager
def forwarding(forward: Callable[[int], None]) -> Iterator[None]:
    """SIGINT and SIGTERM are what `forward` makes of them, in the main thread; nowhere else has Python handlers."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda got, _: forward(got)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def share_of(local: int, count: int) -> set[int]:
    """Cores of process `local` of `count` on this machine: equal shares, or all for all where there are too few."""
    every = sorted(os.sched_getaffinity(0))
    share = len(every) // count
    return set(every[local * share : (local + 1) * share]) if share else set(every)


def code_of(returned: int) -> int:
    """As a shell has it."""
    return 128 - returned if returned < 0 else returned


def free_port(host: str) -> int:
    """A port that nobody listens at on `host`, an address of this machine."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as one:
        one.bind((host, 0))
        return one.getsockname()[1]
