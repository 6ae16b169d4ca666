"""A task's augmentation: tried before work begins, and where it is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any, cast

import numpy as np

from ladle.api.task import Task
from ladle.core.backend import Backend
from ladle.core.errors import ArgumentError, LadleError, must
from ladle.core.npy import one_line
from ladle.core.stage import Augmenting
from ladle.feed.arrays import Arrays
from ladle.feed.augment import Augment
from ladle.feed.host import Stack
from ladle.feed.source.generators import kept, told

TRIED = 2
"""Rows that it is tried on."""


def require_usable(stage: Augment, train: Any) -> None:
    """Try `stage` on the first rows of the training part. Raises `ArgumentError` where it fails there.

    Also where it draws from generators that the process shares: a row would then depend on what was read before it, and
    inside a compiled update it would be drawn once.
    """
    source = Arrays(dict(train)) if isinstance(train, dict) else train
    ids = np.arange(min(TRIED, len(source)))
    with kept() as states:
        try:
            extent = stage.extent(source, ids, ids)
            made = stage(source, ids, ids, extent, len(ids)).data
        except LadleError:
            raise
        except Exception as error:
            got, why = f"{type(error).__name__}: {one_line(error)}", "it was tried on the first rows"
            raise ArgumentError(must("augment", "take rows of the data", got, why, "(row, key) -> row")) from error
        drawn = states.moved()
    if isinstance(train, Mapping) and (not isinstance(made, Mapping) or set(train) - set(made)):
        got = ", ".join(sorted(map(str, made))) if isinstance(made, Mapping) else type(made).__name__
        why, remedy = "a loss reads all of them", "{**row, 'x': ...}"
        raise ArgumentError(must("augment", f"return rows with {', '.join(sorted(train))}", got, why, remedy))
    if drawn:
        why = "the same row would be another one after a resume, or with another batch size"
        remedy = "ladle.feed.draws(key, count), or generator(key)"
        raise ArgumentError(must("augment", "draw its random numbers from its key", told(drawn), why, remedy))


def named(stage: Augment) -> str:
    """What a record calls it: a value with its numbers, a function by its name.

    >>> from ladle.feed import RandomImages
    >>> named(Augment(RandomImages(pad=2), whole=True))
    "RandomImages(pad=2, flip=True, jitter=0.0, name='x')"
    """
    function: Any = stage.function
    if is_dataclass(function):
        return repr(function)
    return getattr(function, "__qualname__", type(function).__name__)


def on_device(stage: Augment, task: Task, backend: Backend) -> bool:
    """Whether the updates can change rows that live on the devices. Raises where `lane` wants it, and they cannot."""
    able = cast(Augmenting, backend) if hasattr(backend, "cannot_augment") else None
    if not isinstance(stage.collate, Stack):
        why = "its collate makes arrays on the host"
    elif able is None:
        why = f"updates of {backend.name} are not compiled"
    else:
        why = able.cannot_augment(stage, dict(task.data.train))
    if why is not None and task.lane == "device":
        remedy = "lane='auto', where rows travel, or array methods and jax.numpy in it"
        raise ArgumentError(must("augment", "be a part of the update on the device", named(stage), why, remedy))
    return why is None
