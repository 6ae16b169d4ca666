"""`JaxWorld`: processes that share a run on `jax.distributed`: all of their devices are one mesh.

    ladle launch -n 4 train digits --size 64           four processes of this machine
    srun -n 4 ladle train digits --size 64             or mpirun, torchrun, a Job of Kubernetes

Each process has its own devices and a copy of resident data on them; of rows that travel it reads its part of each
micro-batch. Gradients are added up by the compiled programs themselves, weighted sums and their weights, divided once.
"""

from __future__ import annotations

import atexit
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib import metadata
from typing import Any, TypeVar

import jax
import numpy as np
from jax._src import distributed, xla_bridge
from jax._src.lib import _jax  # pyright: ignore[reportPrivateImportUsage]
from jax.experimental import multihost_utils

from ladle.core.errors import ArgumentError, RunError, must
from ladle.core.peers import Peers, busy
from ladle.core.world import ALONE, World
from ladle.jax.cluster import Place, found
from ladle.jax.lobby import Met, gather
from ladle.jax.talk import Signs, Talk

Value = TypeVar("Value")

HEARTBEAT = 30
"""Seconds without a heartbeat after which JAX gives up a process. `Watch` speaks first, and says who."""

LEAVING = 60.0
"""Seconds that the first process waits at its end for others that still work: what they meet through ends with it."""

COMING = 600.0
"""Seconds that a process waits for others to come to where it is, between two windows."""

MAKING = 24 * 3600.0
"""Seconds in which the first process makes something for all, such as a plan."""

_joined: Place | None = None
_met: Met | None = None
"""Kept: where a connection is closed, its process counts as gone."""


def world() -> World:
    """The processes that share a run, which `join` has brought together; this one alone where there is no other."""
    return ALONE if busy() else join()


def join() -> World:
    """Find the other processes of this run and begin `jax.distributed`, once; `ladle.fit` does it where nobody has.

    It has to come before JAX is used: a script that makes arrays before it calls `ladle.fit` calls this first.

    Raises `ArgumentError` where JAX was used before, where variables are there in part, and where others do not come,
    or are other ones.

    >>> join().size
    1
    """
    global _joined
    if distributed.global_state.client is None:
        place = found()
        if place is None:
            return ALONE
        _begin(place)
        _joined = place
        if jax.process_count() != place.size:  # As many runs of one process each would all look well.
            why, remedy = "each would train by itself, and nothing would say so", "processes begun by ladle launch"
            raise ArgumentError(must("processes", f"be {place.size} in one world", jax.process_count(), why, remedy))
    return JaxWorld(_joined) if jax.process_count() > 1 else ALONE


class JaxWorld(Peers):
    """Implements `ladle.core.world.World` by the coordinator of `jax.distributed`."""

    _number = 0  # Of what was told, in this process: the same on all of them.

    def __init__(self, place: Place | None = None) -> None:
        rank, size = jax.process_index(), jax.process_count()
        super().__init__(rank, size, (place and place.on_host) or size)
        self._client: Any = distributed.global_state.client
        self._talk = Talk(self._client, self._alive)
        self._mine: list[str] = []

    def told(self, value: Any) -> Any:
        key = self._next()
        if self.rank != 0:
            return self._talk.get(key, MAKING)
        self._mine += self._talk.put(key, value)
        return value

    def gathered(self, value: Value) -> list[Value]:
        key = self._next()
        mine = self._talk.put(f"{key}/{self.rank}", value)
        every = [value if rank == self.rank else self._talk.get(f"{key}/{rank}", COMING) for rank in range(self.size)]
        self._talk.drop(self._mine)  # All have come this far, and so have read what was told before.
        self._mine = mine
        return every

    def store(self) -> Signs:
        return Signs(self._client)

    def of_peers(self, error: BaseException) -> bool:
        words = ("gloo", "connection", "coordination", "nccl", "unavailable", "collective")
        return isinstance(error, jax.errors.JaxRuntimeError) and any(word in str(error).lower() for word in words)

    def _next(self) -> str:
        JaxWorld._number += 1
        return f"ladle/told/{JaxWorld._number}"

    def _alive(self) -> None:
        if self._watch is not None and self._watch.note is not None:
            raise RunError(self._watch.note)


def _begin(place: Place) -> None:
    if xla_bridge.backends_are_initialized():
        why = "JAX was used before, and each process then has its own devices alone"
        remedy = "ladle.jax.world.join() first thing in the script, before any array of JAX"
        raise ArgumentError(must("processes", f"be {place.size}, joined before JAX is used", 1, why, remedy))
    global _met
    _met = met = gather(place, _versions())
    # Who dies, but for the first, does not end the others by itself, with a trace of C++: `Watch` does, and says who.
    jax.config.update("jax_enable_recoverability", True)
    jax.config.update("jax_enable_preemption_service", False)  # It would keep SIGTERM from a process that plans.
    several = place.local_rank is not None and place.on_host is not None and place.on_host > 1
    try:
        with _quiet(), _heard_at(met.own):
            jax.distributed.initialize(
                place.address,
                place.size,
                place.rank,
                local_device_ids=[place.local_rank] if several else None,  # type: ignore[list-item]
                cluster_detection_method="deactivate",
                coordinator_bind_address=place.bind_address,
                initialization_timeout=60,
                heartbeat_timeout_seconds=HEARTBEAT,
                shutdown_timeout_seconds=5,
            )
            if place.rank == 0:  # What all meet through ends with it: before JAX's own end, which waits for nobody.
                atexit.register(met.gone, LEAVING)
            devices = multihost_utils.process_allgather(np.int32(jax.local_device_count())).tolist()
    except RuntimeError as error:
        why, remedy = str(error).partition("\n")[0], "another MASTER_PORT"
        raise ArgumentError(must("coordinator", "begin", place.address, why, remedy)) from error
    if len(set(devices)) > 1:
        why = "a batch is split over all devices in equal parts"
        remedy = "CUDA_VISIBLE_DEVICES, or JAX_NUM_CPU_DEVICES, alike on all hosts"
        raise ArgumentError(must("processes", "have as many devices each", devices, why, remedy))


def _versions() -> dict[str, str]:
    """What has to be equal before processes can speak to each other."""
    return {
        "python": ".".join(platform.python_version_tuple()[:2]),
        **{name: metadata.version(name) for name in ("jax", "jaxlib", "numpy")},
    }


@contextmanager
def _heard_at(address: str) -> Iterator[None]:
    """Collectives between processors, made meanwhile, listen at `address`, and not where the host's name leads."""
    made = _jax.make_gloo_tcp_collectives
    _jax.make_gloo_tcp_collectives = partial(made, hostname=address)
    try:
        yield
    finally:
        _jax.make_gloo_tcp_collectives = made


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing is written to standard output meanwhile: gloo tells there who is connected."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
