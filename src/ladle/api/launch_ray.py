"""`launch_on_ray`: the processes of one run on the nodes of a Ray cluster, begun together, ended together.

    ladle launch -n 4 --ray train digits --size 64

An actor a process: it asks Ray for its place, and begins there what `ladle launch` would begin here, told by the same
variables which process it is. Ray Train has no part in it: its trainer for JAX begins as many runs of one process on
processors, each with a world of its own. Here each process refuses to go on in a world that has not its size
(`ladle.jax.world.join`).
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from threading import Thread
from typing import Any

from ladle.api.launch import (
    FINAL,
    GRACE,
    RESTART,
    Launch,
    argv_of,
    begun_again,
    code_of,
    forwarding,
    free_port,
    placed,
    share_of,
)
from ladle.core.errors import ArgumentError, must
from ladle.search.ray import connected, own_address

TAKEN = ("LADLE_", "JAX_", "XLA_", "PYTHONPATH", "OMP_")
"""Beginnings of the names of variables that processes elsewhere have from here."""

COMING_SECONDS = 120.0
"""In which Ray has to find a place for every process."""

EVERY_SECONDS = 0.2


def launch_on_ray(asked: Launch, each: Mapping[str, float] | None = None) -> int:
    """Begin the processes of `asked` on a Ray cluster, and again after a failure; see `ladle.api.launch.launch`.

    - `each`: what Ray keeps for a process: `{"num_cpus": 1}` where left out, `{"num_cpus": 4, "num_gpus": 1}`.

    Raises `ArgumentError` without Ray, for `hosts` and a `port`, which Ray chooses, and where it has no room.
    """
    for name, value in (("hosts", ",".join(asked.hosts)), ("port", asked.port)):
        if value:
            raise ArgumentError(must(name, "be left out with ray", value, "Ray chooses the places", f"without {name}"))
    ray, each, command = connected("ray"), dict(each or {"num_cpus": 1}), placed(asked.command)
    return begun_again(asked.restarts, lambda attempt: _attempt(ray, asked, each, argv_of(command, attempt), attempt))


def _attempt(ray: Any, asked: Launch, each: Mapping[str, float], argv: Sequence[str], attempt: int) -> int:
    actors = [ray.remote(_Process).options(**each).remote() for _ in range(asked.processes)]
    try:
        addresses = _addresses(ray, actors, each)
        host, port = addresses[0], ray.get(actors[0].port.remote())
        kept = {name: value for name, value in os.environ.items() if name.startswith(TAKEN)}
        kept[RESTART] = str(attempt)
        place = list(argv), os.getcwd(), bool(each.get("num_gpus"))
        who = told(addresses, host, port)
        begun = [actor.begin.remote(*place, {**kept, **of}) for actor, of in zip(actors, who, strict=True)]
        for refused in filter(None, ray.get(begun)):
            raise ArgumentError(refused)
        return _ended(ray, actors)
    finally:
        ray.wait([actor.end.remote() for actor in actors], num_returns=len(actors), timeout=5)
        for actor in actors:
            ray.kill(actor)


def _addresses(ray: Any, actors: Sequence[Any], each: Mapping[str, float]) -> list[str]:
    try:
        return ray.get([actor.address.remote() for actor in actors], timeout=COMING_SECONDS)
    except ray.exceptions.GetTimeoutError:
        wanted = " and ".join(f"{value:g} {name.removeprefix('num_')}" for name, value in each.items())
        got = f"{len(actors)} with {wanted} each"
        why = f"the cluster had no place for all of them in {COMING_SECONDS:g} s"
        raise ArgumentError(must("processes", "find a place", got, why, "fewer of them, or a larger cluster")) from None


def told(addresses: Sequence[str], host: str, port: int) -> list[dict[str, str]]:
    """What each process is told of who it is, by the address of the node that it is on.

    >>> [(of["RANK"], of["LOCAL_RANK"], of["LOCAL_WORLD_SIZE"]) for of in told(["a", "b", "a"], "a", 7)]
    [('0', '0', '2'), ('1', '0', '1'), ('2', '1', '2')]
    """
    counts, seen, found = Counter(addresses), Counter[str](), []
    for rank, address in enumerate(addresses):
        numbers = {
            "RANK": rank,
            "WORLD_SIZE": len(addresses),
            "LOCAL_RANK": seen[address],
            "LOCAL_WORLD_SIZE": counts[address],
            "MASTER_PORT": port,
        }
        found.append({**{name: str(value) for name, value in numbers.items()}, "MASTER_ADDR": host})
        seen[address] += 1
    return found


def _ended(ray: Any, actors: Sequence[Any]) -> int:
    """The exit code of the first that failed, once all have ended; 0 where none did. What they say is said here."""
    codes: list[int | None] = [None] * len(actors)
    failed, failed_at = 0, 0.0
    asked, forwarded = list[int](), False

    def stop(number: int) -> None:
        if asked:  # A second one does not wait for them.
            raise KeyboardInterrupt
        asked.append(number)

    with forwarding(stop):
        while None in codes:
            if asked and not forwarded:  # They save and stop.
                forwarded = True
                ray.wait([actor.signal.remote(asked[0]) for actor in actors], num_returns=len(actors), timeout=5)
            for rank, actor in enumerate(actors):
                codes[rank] = _heard(ray, rank, actor, codes[rank])
            if not failed and (failed := next((code for code in codes if code), 0)):
                failed_at = time.monotonic()
                if failed not in FINAL:
                    said = f"ladle: rank {codes.index(failed)} ended by exit code {failed}; so do the others"
                    print(said, file=sys.stderr, flush=True)
            if failed and time.monotonic() - failed_at > GRACE:
                break
            time.sleep(EVERY_SECONDS)
    return failed


def _heard(ray: Any, rank: int, actor: Any, code: int | None) -> int | None:
    """The exit code of a process, None while there is none. Its words go where those of a launch go."""
    if code is not None:
        return code
    try:
        out, err, code = ray.get(actor.heard.remote())
    except ray.exceptions.RayActorError:
        print(f"ladle: the node of rank {rank} is gone", file=sys.stderr, flush=True)
        return 128 + signal.SIGKILL
    sys.stdout.write(out if rank == 0 else "")
    sys.stderr.write("".join(f"[{rank}] {line}" for line in (out + err).splitlines(True)) if rank else err)
    sys.stdout.flush()
    sys.stderr.flush()
    return code


class _Process:
    """The actor: one process of the run, on the node where Ray has put it."""

    def __init__(self) -> None:
        self.child: subprocess.Popen[bytes] | None = None
        self.said: dict[str, deque[bytes]] = {"out": deque(), "err": deque()}
        self.readers: list[Thread] = []

    def address(self) -> str:
        return own_address()

    def port(self) -> int:
        return free_port(own_address())

    def begin(self, argv: list[str], folder: str, accelerated: bool, variables: Mapping[str, str]) -> str | None:
        """Begin it; the sentence of a refusal where that cannot be."""
        if not Path(folder).is_dir():
            why, remedy = "processes of a run write into it", "a folder on a disk that all nodes share"
            return must("the working folder", "be there on every node", folder, why, remedy)
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", **variables}
        local, on_node = int(variables["LOCAL_RANK"]), int(variables["LOCAL_WORLD_SIZE"])
        if accelerated:  # Ray shows each process its own devices alone: which of all they are is not ours to say.
            environment.pop("LOCAL_RANK", None)
        os.sched_setaffinity(0, share_of(local, on_node))
        pipe = subprocess.PIPE
        self.child = child = subprocess.Popen(
            argv,
            cwd=folder,
            env=environment,
            process_group=0,
            stdout=pipe,
            stderr=pipe,
            preexec_fn=_as_a_child,
        )
        for name, stream in (("out", child.stdout), ("err", child.stderr)):
            self.readers.append(Thread(target=self._read, args=(name, stream), daemon=True))
            self.readers[-1].start()
        return None

    def _read(self, name: str, stream: Any) -> None:
        for line in stream:
            self.said[name].append(line)

    def heard(self) -> tuple[str, str, int | None]:
        """What it has said since this was asked last, and its exit code."""
        assert self.child is not None
        code = self.child.poll()
        for reader in self.readers if code is not None else ():
            reader.join(5)
        out, err = (b"".join(_taken(lines)).decode(errors="replace") for lines in self.said.values())
        return out, err, None if code is None else code_of(code)

    def signal(self, number: int) -> None:
        if self.child is not None and self.child.poll() is None:
            self.child.send_signal(number)

    def end(self) -> None:
        """End what is left of it."""
        if self.child is not None and self.child.poll() is None:
            self.child.kill()
            self.child.wait()


def _taken(lines: deque[bytes]) -> Iterator[bytes]:
    while lines:
        yield lines.popleft()


def _as_a_child() -> None:
    """In the process that is begun: it hears SIGINT, which no actor does, and ends with its own, also a killed one."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    if _PRCTL is not None:
        _PRCTL(_PR_SET_PDEATHSIG, signal.SIGKILL)


_PR_SET_PDEATHSIG = 1
_PRCTL = getattr(ctypes.CDLL(None), "prctl", None)
