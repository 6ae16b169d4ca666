"""Which library computes a task: the one that its model is of, or one that was given. Loaded when first asked for."""

from __future__ import annotations

import inspect
import sys
from functools import cache
from importlib import import_module
from typing import Any

from ladle.core.backend import Backend
from ladle.core.errors import ArgumentError, must, nearest

HOMES = {
    "jax": ("ladle.jax.backend", "JaxBackend", "ladle.models"),
    "torch": ("ladle.torch.backend", "TorchBackend", "ladle.torch"),
}
"""Of each backend: its module, its class, and the library of models, losses and metrics that it computes with."""


def backend_of(task: Any) -> Backend:
    """The backend that computes `task`: that of its name, the one that it brings, or the one that its model is of.

    Raises `ArgumentError` for an unknown name.
    """
    if not isinstance(task.backend, str):
        return task.backend
    if task.backend == "auto" and is_of_torch(task.model, task.loss):
        return backend_named("torch")
    return backend_named(task.backend)


def is_of_torch(model: Any, loss: Any) -> bool:
    """Whether a model, or its loss, is of torch. Where torch is not loaded nothing is, and it is not loaded for this.

    A function without arguments makes a torch module: one of JAX's takes a key.
    """
    if "torch" not in sys.modules:
        return False
    if any(_from_torch(one) for one in (model, loss)):
        return True
    return inspect.isfunction(model) and not inspect.signature(model).parameters


def _from_torch(value: Any) -> bool:
    kind = value if isinstance(value, type) else type(value)
    named = getattr(value, "__module__", None) or ""
    homes = {base.__module__.partition(".")[0] for base in kind.__mro__}
    return "torch" in homes or named.partition(".")[0] == "torch"


def backend_named(name: str = "auto") -> Backend:
    """The backend of that name. Raises `ArgumentError` for an unknown one, and for a library that is not installed."""
    name = "jax" if name == "auto" else name
    if name not in HOMES:
        raise ArgumentError(must("backend", "be a known name", name, "no other is here", nearest(name, HOMES)))
    try:
        return _loaded(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        why, remedy = f"{name} is not installed", f"pip install 'ladle[{name}]'"
        raise ArgumentError(must("backend", "be an installed library", name, why, remedy)) from None


@cache
def _loaded(name: str) -> Backend:
    module, kind, library = HOMES[name]
    return getattr(import_module(module), kind)(import_module(library))
