"""Processes that train together, as far as a loader has to know: each reads a part, or says that it reads all."""

from __future__ import annotations

import sys

from ladle.core.cursor import Shard
from ladle.core.errors import ArgumentError, must


def require_told(shard: Shard | None) -> None:
    """Refuse a pass of a process that trains with others, where nobody said which part of each batch is its own.

    Every process would read all examples, and an epoch would be as many. Raises `ArgumentError`.
    """
    if shard is not None:
        return
    rank, size = _place()
    if size > 1:
        why = f"this process is one of {size} that train together, and each would read every example"
        remedy = f"shard=ladle.Shard({rank}, {size}), or shard=ladle.Shard() where each is to take all that it is given"
        raise ArgumentError(must("shard", "be given", None, why, remedy))


def _place() -> tuple[int, int]:
    """This process's rank and the number of processes, as PyTorch or JAX have begun them; neither is imported."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    jax = sys.modules.get("jax")
    if jax is not None and jax.distributed.is_initialized():
        return jax.process_index(), jax.process_count()
    return 0, 1
