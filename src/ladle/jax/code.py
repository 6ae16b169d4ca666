"""What the code of a function reads beside its arguments: globals, attributes of modules, what it imports.

A trace runs Python. Whether it would come out the same again depends on what that Python reads, so it is read off the
code. Libraries that are known (`KNOWN`) are taken as they are: their functions are the same throughout a process.
"""

from __future__ import annotations

import builtins
import dis
import sys
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType, FunctionType, ModuleType
from typing import Any

KNOWN = frozenset(
    "jax jaxlib numpy scipy optax equinox flax einops jaxtyping typing_extensions ladle math cmath functools itertools "
    "operator collections dataclasses typing types enum abc numbers contextlib copy warnings inspect builtins".split()
)
"""Libraries whose functions answer the same whenever they are asked."""

CHANGING = ("numpy.random",)
"""Parts of these that do not: they hold a state."""

UNREADABLE = frozenset("open input eval exec compile globals locals vars __import__".split())
"""Builtins that may read what no code tells of."""


class Opaque(Exception):
    """A value of which it cannot be told what a trace reads of it."""


def is_known(module: str | None) -> bool:
    """Whether what stands in the module of this name stays as it is. Tests are not, wherever they are.

    >>> is_known("jax.numpy"), is_known("numpy.random"), is_known("random"), is_known("__main__")
    (True, False, False, False)
    """
    name = module or ""
    if any(name == part or name.startswith(part + ".") for part in CHANGING):
        return False
    return name.partition(".")[0] in KNOWN and not name.endswith("_test")


def is_of_library(value: Any) -> bool:
    """Whether `value` is what a known module holds under the value's own name: `jnp.tanh`, `jax.nn.relu`, `Mlp`."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not (isinstance(module, str) and isinstance(name, str) and is_known(module)):
        return False
    return getattr(sys.modules.get(module), name, None) is value


def read_by(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """`(name, value)` of every global that `function`, or a function within it, reads: "scale", "config.scale".

    A name that does not exist has no value, and is left out. Raises `Opaque` where the code changes a variable that is
    not its own, or imports what is not known.
    """
    for root, *path in _names(function.__code__):
        here = function.__globals__
        value = here.get(root, getattr(builtins, root, None))
        if root in UNREADABLE and root not in here:
            raise Opaque(root)
        name = root
        while path and isinstance(value, ModuleType):
            if is_known(value.__name__) and not _changes(value, path[0]):
                break
            name, value = f"{name}.{path[0]}", getattr(value, path.pop(0), None)
        yield name, value


def _changes(module: ModuleType, name: str) -> bool:
    """Whether the attribute is a module of its own that is not known, such as `numpy.random`."""
    inner = getattr(module, name, None)
    return isinstance(inner, ModuleType) and not is_known(inner.__name__)


@lru_cache(maxsize=1024)
def _names(code: CodeType) -> tuple[tuple[str, ...], ...]:
    """Each global that is read, with the attributes that are read of it at once: `np.random.rand` as three words."""
    found: dict[tuple[str, ...], None] = {}
    for inner in _codes(code):
        chain: list[str] = []
        for step in [*dis.get_instructions(inner), None]:
            if step is not None and chain and step.opname in ("LOAD_ATTR", "LOAD_METHOD"):
                chain.append(step.argval)
                continue
            if chain:
                found[tuple(chain)] = None
            chain = [step.argval] if step is not None and step.opname in _GLOBALS else []
            _require_readable(step, code)
    return tuple(found)


_GLOBALS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _require_readable(step: dis.Instruction | None, outer: CodeType) -> None:
    if step is None:
        return
    if step.opname in ("STORE_GLOBAL", "DELETE_GLOBAL"):
        raise Opaque(f"global {step.argval}")
    if step.opname in ("STORE_DEREF", "DELETE_DEREF") and step.argval in outer.co_freevars:
        raise Opaque(f"nonlocal {step.argval}")
    if step.opname == "IMPORT_NAME" and not is_known(step.argval):
        raise Opaque(f"import {step.argval}")
