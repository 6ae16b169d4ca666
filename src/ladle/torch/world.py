"""`TorchWorld`: the processes that `torchrun` began, as one run. On processors they speak by gloo, on GPUs by NCCL.

    torchrun --nproc-per-node 2 script.py             script.py calls ladle.fit as for one process
    torchrun --nproc-per-node 2 -m ladle.cli train file.py:task --size 64

What ranks tell each other are plain values of their own run, pickled by torch; they trust each other.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed

from ladle.core.errors import ArgumentError, must
from ladle.core.peers import Peers, busy
from ladle.core.world import ALONE, World

Value = TypeVar("Value")

WAIT = timedelta(minutes=10)
"""What a collective waits for ranks that give signs and do not come."""


def world() -> World:
    """The processes that share a run: those of `torch.distributed`, begun here under torchrun; else this one alone.

    Raises `ArgumentError` where the variables of torchrun are there in part.
    """
    if busy() or not distributed.is_available():
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


class TorchWorld(Peers):
    """Implements `ladle.core.world.World` by the default process group."""

    def __init__(self) -> None:
        rank, size = distributed.get_rank(), distributed.get_world_size()
        super().__init__(rank, size, int(os.environ.get("LOCAL_WORLD_SIZE", size)))

    def told(self, value: Any) -> Any:
        told = [value]
        distributed.broadcast_object_list(told, src=0)
        return told[0]

    def gathered(self, value: Value) -> list[Value]:
        every: list[Any] = [None] * self.size
        distributed.all_gather_object(every, value)
        return every

    def store(self) -> Any:
        store: Any = distributed.distributed_c10d._get_default_store()  # pyright: ignore[reportPrivateImportUsage]
        return store.clone() if hasattr(store, "clone") else store

    def of_peers(self, error: BaseException) -> bool:
        words = ("gloo", "connection", "nccl")
        return isinstance(error, distributed.DistError) or (
            isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)
        )
