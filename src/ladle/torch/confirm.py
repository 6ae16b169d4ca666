"""A measured peak: the chosen update is run in a child process, which makes the model by its importable name."""

from __future__ import annotations

import inspect
import os
import pickle
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ladle.core.confirmation import confirmed_peaks
from ladle.core.errors import ArgumentError, must
from ladle.core.moments import Gauge
from ladle.core.spec import BatchSpec

ROWS = 64
"""Rows that a child is given, to repeat."""


@dataclass(frozen=True)
class Job:
    """What a child runs. Functions and classes travel by their names, rows and numbers as they are.

    - `make_model() -> nn.Module`, `loss(model, batch) -> f32[rows]`, `make_optimizer(parameters)`.
    - `batch`: rows to repeat; `ROWS` are enough.
    """

    make_model: Callable[[], nn.Module]
    loss: Callable[[nn.Module, Any], Any]
    make_optimizer: Callable[[Any], torch.optim.Optimizer]
    batch: Any
    gauge: Gauge | None = None
    clip: float | None = None
    device: str = "cpu"
    threads: int = 1
    specs: tuple[BatchSpec, ...] = ()


@dataclass(frozen=True)
class Remade:
    """Makes an optimiser of a class with its constants, for any parameters. Groups become one."""

    kind: type[torch.optim.Optimizer]
    constants: dict[str, Any]

    @classmethod
    def of(cls, optimizer: torch.optim.Optimizer) -> Remade:
        taken = inspect.signature(type(optimizer)).parameters
        constants = {name: value for name, value in optimizer.defaults.items() if name in taken}
        return cls(type(optimizer), {n: v.item() if isinstance(v, torch.Tensor) else v for n, v in constants.items()})

    def __call__(self, parameters: Any) -> torch.optim.Optimizer:
        return self.kind(parameters, **self.constants)


def named(reference: str) -> Callable[[], nn.Module]:
    """What `module:name` names, such as a function that makes a model. Raises `ArgumentError` where nothing does.

    >>> named("torch.nn:Identity")()
    Identity()
    """
    module, _, name = reference.partition(":")
    try:
        found = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        remedy = "model='package.module:make_model', or the function itself"
        raise ArgumentError(must("model", "name a function as module:name", reference, str(error), remedy)) from None
    return found  # type: ignore[return-value]


def hindrance(job: Job) -> str | None:
    """Why a child cannot make this job's model again, in words; None where it can.

    >>> hindrance(Job(nn.Identity, lambda model, batch: model(batch), torch.optim.SGD, None))
    'the loss is not importable by a name'
    """
    for what, thing in (("model", job.make_model), ("loss", job.loss), ("optimizer", job.make_optimizer)):
        try:
            written = pickle.dumps(thing)
        except Exception:  # Pickling raises what it likes; each of it means the same here.
            return f"the {what} is not importable by a name"
        if b"__main__" in written:
            return f"the {what} is defined in the program that runs, which a child cannot import"
        if isinstance(thing, nn.Module):
            return f"the {what} is a module, and no function that makes one"
    return None


def confirm(job: Job, specs: Sequence[BatchSpec]) -> list[int]:
    """Measured peak bytes of updates of these `specs`, in one child process.

    Raises `RunError` if the child did not survive it, with its last words.
    """
    with tempfile.TemporaryDirectory(prefix="ladle-probe-") as folder:
        file = Path(folder) / "job"
        file.write_bytes(pickle.dumps(replace(job, specs=tuple(specs))))
        return confirmed_peaks("ladle.torch.child", str(file), len(specs), {"PYTHONPATH": _path()})


def _path() -> str:
    """All that we can import from, for a child that imports what is the user's."""
    return os.pathsep.join(str(Path(entry or ".").absolute()) for entry in sys.path)
