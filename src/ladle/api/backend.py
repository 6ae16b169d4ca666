"""Which library computes a task: the one that its model is of, or one that was given. Loaded when first asked for."""

from __future__ import annotations

import inspect
import sys
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from ladle.core.backend import Backend
from ladle.core.errors import ArgumentError, must, nearest

HOMES = {
    "jax": ("ladle.jax.backend", "JaxBackend", "ladle.models"),
    "torch": ("ladle.torch.backend", "TorchBackend", "ladle.torch"),
}
"""Of each backend: its module, its class, and the library of models, losses and metrics that it computes with."""

NEEDS = {
    "jax": ("jax", "jaxlib", "flatbuffers", "optax", "equinox", "orbax"),
    "torch": ("torch",),
}
"""What `pip install 'ladle[NAME]'` brings, by the names under which it is imported."""


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
    return "torch" in homes or named.partition(".")[0] == "torch" or f"{kind.__module__}.".startswith("ladle.torch.")


def backend_named(name: str = "auto") -> Backend:
    """The backend of that name; "auto" is JAX, or torch where only that is installed.

    Raises `ArgumentError` for an unknown name, for a library that is not installed, and where none is.
    """
    name = usual() if name == "auto" else name
    if name not in HOMES:
        raise ArgumentError(must("backend", "be a known name", name, "no other is here", nearest(name, HOMES)))
    try:
        return _loaded(name)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in NEEDS[name]:
            raise
        why, remedy = f"{missing} is not installed", f"pip install 'ladle[{name}]'"
        raise ArgumentError(must("backend", "be an installed library", name, why, remedy)) from None


def usual() -> str:
    """The backend that computes where nothing asks for another. Raises `ArgumentError` where none is installed."""
    found = next(filter(_installed, HOMES), None)
    if found is None:
        why, remedy = "neither JAX nor PyTorch is installed", "pip install 'ladle[jax]', or pip install 'ladle[torch]'"
        raise ArgumentError(must("backend", "be an installed library", None, why, remedy))
    return found


def built_in() -> Any:
    """The built-in models of that backend: `mlp`, `convnet`, `tabular`. Raises `ArgumentError` as `usual` does."""
    return import_module(HOMES[backend_named().name][2])


def _installed(name: str) -> bool:
    """Whether the library can be imported; it is not loaded for this."""
    try:
        return sys.modules.get(name) is not None or find_spec(name) is not None
    except ImportError:
        return False


@cache
def _loaded(name: str) -> Backend:
    module, kind, library = HOMES[name]
    return getattr(import_module(module), kind)(import_module(library))
