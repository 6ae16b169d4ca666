"""Which library computes a task: the one that its model is of, or one that was given. Loaded when first asked for."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from ladle.core.backend import Backend
from ladle.core.errors import ArgumentError, must, nearest

HOMES = {"jax": ("ladle.jax.backend", "JaxBackend", "ladle.models")}
"""Of each backend: its module, its class, and the library of models, losses and metrics that it computes with."""


def backend_of(task: Any) -> Backend:
    """The backend that computes `task`: that of its name, or the one that it brings.

    Raises `ArgumentError` for an unknown name.
    """
    return backend_named(task.backend) if isinstance(task.backend, str) else task.backend


def backend_named(name: str = "auto") -> Backend:
    """The backend of that name. Raises `ArgumentError` for an unknown one."""
    name = "jax" if name == "auto" else name
    if name not in HOMES:
        raise ArgumentError(must("backend", "be a known name", name, "no other is here", nearest(name, HOMES)))
    return _loaded(name)


@cache
def _loaded(name: str) -> Backend:
    module, kind, library = HOMES[name]
    return getattr(import_module(module), kind)(import_module(library))
