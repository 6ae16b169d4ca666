"""`gather`: the processes of a run wait for each other before JAX is told of them, each for a bounded time.

JAX ends a process with a stack trace of C++ where another one does not come. So the first process listens at the
address of the run until all have called, says that all are there, and leaves the address to JAX. Who calls says in one
line of JSON what it is, so that another number of processes or other versions are refused in one sentence, by all.

The connections stay as long as the processes: they are how the first one knows, at its end, that all others are gone.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ladle.core.errors import ArgumentError, must
from ladle.jax.cluster import EVERYWHERE, Place

JOIN = "LADLE_JOIN_SECONDS"
"""Environment variable: how long processes wait for each other. `SECONDS` where it is not set."""

SECONDS = 120.0
SPEAKING = 5.0
"""Seconds in which who calls says what it is, or has to call again: one that says nothing would keep others waiting."""

MOST = 4096
"""Bytes of what a process says of itself."""


class Met(NamedTuple):
    """`own`: the address by which others reach this process. `doors`: to all others, or to the first one."""

    own: str
    doors: list[socket.socket]

    def gone(self, seconds: float) -> bool:
        """Wait so long until those at the other ends have ended; whether they have."""
        until = time.monotonic() + seconds
        return all(_is_gone(door, until) for door in self.doors)


def gather(place: Place, facts: Mapping[str, Any], seconds: float | None = None) -> Met:
    """Wait until all processes of `place` are there, with equal `facts`.

    Raises `ArgumentError` on all of them, or after `seconds`.
    """
    limit = float(os.environ.get(JOIN, SECONDS)) if seconds is None else seconds
    until = time.monotonic() + limit
    if place.rank != 0:
        return _call(place, dict(facts), until, limit)
    doors = _host(place, dict(facts), until, limit)
    return Met(place.host if place.bind == EVERYWHERE else place.bind, doors)


def _host(place: Place, facts: dict[str, Any], until: float, limit: float) -> list[socket.socket]:
    callers: list[tuple[int, socket.socket]] = []
    refused = None
    with _listening(place) as door:
        try:
            while refused is None and len(callers) < place.size - 1:
                door.settimeout(max(until - time.monotonic(), 0.01))
                try:
                    caller, _ = door.accept()
                except TimeoutError:
                    lacking = sorted({*range(1, place.size)} - {rank for rank, _ in callers})
                    got, why = f"none of rank {', '.join(map(str, lacking))}", f"{limit:g} s are over"
                    remedy = f"starting them too, or {JOIN}=600"
                    refused = must("processes", f"be {place.size} at {place.address}", got, why, remedy)
                    break
                said = _read(caller, min(until, time.monotonic() + SPEAKING))
                if said is None:  # A stranger, or one that has gone again.
                    caller.close()
                    continue
                refused = _unlike(facts, said, place, [rank for rank, _ in callers])
                callers.append((said.get("rank", 0), caller))
        finally:
            for _, caller in callers:
                _say(caller, {"refused": refused})
    if refused is not None:
        for _, caller in callers:
            caller.close()
        raise ArgumentError(refused)
    return [caller for _, caller in callers]


def _call(place: Place, facts: dict[str, Any], until: float, limit: float) -> Met:
    said = {**facts, "rank": place.rank, "size": place.size}
    why = "nobody listened there"
    while time.monotonic() < until:
        try:
            door = socket.create_connection((place.host, place.port), timeout=5)
        except OSError as error:
            why = error.strerror or str(error) or type(error).__name__
        else:
            _say(door, said)
            answer = _read(door, until)
            if answer is not None and answer.get("refused", "") is None:
                return Met(door.getsockname()[0], [door])
            door.close()
            if answer is not None and "refused" in answer:
                raise ArgumentError(str(answer["refused"]))
        time.sleep(0.2)
    why = f"{why}, and {limit:g} s are over"
    remedy = f"MASTER_ADDR and MASTER_PORT of the first process, which has to run, or {JOIN}=600"
    raise ArgumentError(must("coordinator", "be reachable", place.address, why, remedy))


def _is_gone(door: socket.socket, until: float) -> bool:
    try:
        door.settimeout(max(until - time.monotonic(), 0.01))
        while door.recv(MOST):
            continue
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def _unlike(facts: dict[str, Any], said: dict[str, Any], place: Place, callers: Sequence[int]) -> str | None:
    """Why who called cannot be of this run."""
    rank, size = said.get("rank"), said.get("size")
    if size != place.size:
        why, remedy = "all processes have to agree", f"WORLD_SIZE={place.size} for all"
        return must(f"rank {rank}", f"be one of {place.size} processes", f"WORLD_SIZE={size}", why, remedy)
    if rank in callers or not isinstance(rank, int) or not 0 < rank < place.size:
        why, remedy = "each process has a number of its own", f"RANK=0 ... RANK={place.size - 1}, each once"
        return must("RANK", "be another for each process", rank, why, remedy)
    for name, wanted in facts.items():
        if said.get(name) != wanted:
            why = "ranks would compute different numbers, or not understand each other"
            be = f"have {name} {wanted}, as rank 0 has"
            return must(f"rank {rank}", be, said.get(name), why, "the same installation on all hosts")
    return None


def _listening(place: Place) -> socket.socket:
    family = socket.AF_INET6 if ":" in place.bind else socket.AF_INET
    try:
        return socket.create_server((place.bind, place.port), family=family, backlog=place.size)
    except OSError as error:
        why = error.strerror or str(error)
        remedy = "another MASTER_PORT, or an address of this machine in MASTER_ADDR"
        raise ArgumentError(must("coordinator", "be able to listen", place.bind_address, why, remedy)) from None


def _say(to: socket.socket, value: dict[str, Any]) -> None:
    try:
        to.sendall(json.dumps(value).encode() + b"\n")
    except OSError:
        return


def _read(caller: socket.socket, until: float) -> dict[str, Any] | None:
    """One line of JSON; None where none comes."""
    found = b""
    try:
        while not found.endswith(b"\n") and len(found) < MOST:
            caller.settimeout(max(until - time.monotonic(), 0.01))
            part = caller.recv(MOST)
            if not part:
                return None
            found += part
        value = json.loads(found)
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
