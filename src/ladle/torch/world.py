"""`TorchWorld`: the processes that `torchrun` began, as one run. On processors they speak by gloo, on GPUs by NCCL.

    torchrun --nproc-per-node 2 script.py             script.py calls ladle.fit as for one process
    torchrun --nproc-per-node 2 -m ladle.cli train file.py:task --size 64

What ranks tell each other are plain values of their own run, pickled by torch; they trust each other.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from types import TracebackType
from typing import Any, TypeVar

import torch
from torch import distributed

from ladle.core.cursor import Shard
from ladle.core.errors import ArgumentError, LadleError, RunError, must
from ladle.core.world import ALONE, World
from ladle.torch.watch import Watch

Value = TypeVar("Value")

WAIT = timedelta(minutes=10)
"""What a collective waits for ranks that give signs and do not come."""

_RUNS = count()
_busy = False
"""Whether rank 0 makes something for all, in which no other takes part."""


def world() -> World:
    """The processes that share a run: those of `torch.distributed`, begun here under torchrun; else this one alone.

    Raises `ArgumentError` where the variables of torchrun are there in part.
    """
    if _busy or not distributed.is_available():
        return ALONE
    if not distributed.is_initialized():
        if int(os.environ.get("WORLD_SIZE", "1")) < 2:
            return ALONE
        _begin()
    return TorchWorld() if distributed.get_world_size() > 1 else ALONE


def _begin() -> None:
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        if name not in os.environ:
            why, remedy = "WORLD_SIZE says that there are several processes, which have to find each other", "torchrun"
            raise ArgumentError(must(name, "be set beside WORLD_SIZE", None, why, remedy))
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    # Values of the host travel by gloo there, too.
    distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=WAIT)


class TorchWorld:
    """Implements `ladle.core.world.World` by the default process group."""

    def __init__(self) -> None:
        self.rank, self.size = distributed.get_rank(), distributed.get_world_size()
        self.on_host = int(os.environ.get("LOCAL_WORLD_SIZE", self.size))
        self._watch: Watch | None = None

    @property
    def shard(self) -> Shard:
        return Shard(self.rank, self.size)

    def first(self, make: Callable[[], Value]) -> Value:
        global _busy
        told: list[Any] = [None, None]
        if self.rank == 0:
            _busy = True
            try:
                told = [make(), None]
            except LadleError as error:  # What is refused is refused on all ranks, and they stay in step.
                told = [None, error]
            finally:
                _busy = False
        distributed.broadcast_object_list(told, src=0)
        if told[1] is not None:
            raise told[1]
        return told[0]

    def gathered(self, value: Value) -> list[Value]:
        every: list[Any] = [None] * self.size
        distributed.all_gather_object(every, value)
        return every

    def why(self, error: BaseException) -> str:
        own = str(error) or type(error).__name__
        if self._watch is None:
            return own
        if _of_peers(error) and (heard := self._watch.heard(self._watch.silence + 5)):
            return heard
        return own if isinstance(error, RunError) and own == self._watch.note else f"rank {self.rank}: {own}"

    def __enter__(self) -> TorchWorld:
        store: Any = distributed.distributed_c10d._get_default_store()  # pyright: ignore[reportPrivateImportUsage]
        store = store.clone() if hasattr(store, "clone") else store
        self._watch = Watch(store, self.rank, self.size, str(next(_RUNS)))
        _leave_at_once()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._watch is not None
        late = error
        if error is None:
            try:
                self.gathered(None)  # Whoever leaves may end: what rank 0 writes is written then.
            except RuntimeError as failed:
                late = failed
        if late is None:
            self._watch.stop(left=True)
            return
        reason = self._watch.tell(self.why(late))
        self._watch.stop(left=False)
        if _of_peers(late):
            raise RunError(f"the run ended, for {reason}") from late
        if error is None:
            raise late


def _of_peers(error: BaseException) -> bool:
    """Whether it is a collective that failed, of which another rank is the cause."""
    return isinstance(error, distributed.DistError) or (
        isinstance(error, RuntimeError) and any(word in str(error).lower() for word in ("gloo", "connection", "nccl"))
    )


def _leave_at_once() -> None:
    """What is raised to the top ends this process at once: what else it does at its end may wait for the others."""
    said = sys.excepthook
    if getattr(said, "of_ladle", False):
        return

    def leave(kind: Any, error: Any, trace: Any) -> None:
        said(kind, error, trace)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)

    leave.of_ladle = True  # type: ignore[attr-defined]
    sys.excepthook = leave
