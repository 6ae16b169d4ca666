"""`fingerprint`: all that a trace may read of a value, as something that can be compared. In doubt there is none.

Equal fingerprints mean equal traces. What is looked at, part by part:

- numbers, text, types of arrays, devices: as they are, type included (1, 1.0 and True are three values).
- arrays of up to `LARGEST_BYTES`: their type, shape and content. Larger ones have no fingerprint: nothing would keep
  them from being held in memory for the sake of a comparison.
- tuples, lists, dicts, sets, frozen and other objects of Python classes: their class, and every field.
- functions and lambdas: their code, defaults, what they close over, and every global they read, through modules and
  functions that they call (`ladle.jax.code`). Two lambdas of one line of code with equal values are equal.
- functions and classes of known libraries: by identity. Classes of the user's: by identity, and by their methods.
- anything else (a generator, an open file, a module used as a value, code that counts its calls): none.

A fingerprint is of this moment. Whoever keeps one compares it anew before relying on it.
"""

from __future__ import annotations

import functools
import sys
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from hashlib import blake2b
from types import BuiltinFunctionType, CellType, FunctionType, MappingProxyType, MethodType, ModuleType, SimpleNamespace
from typing import Any
from weakref import ref

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import Mesh, PartitionSpec, Sharding

from ladle.jax.code import Opaque, is_known, is_of_library, read_by

LARGEST_BYTES = 2**20
"""Of an array that is compared by its content."""

PLAIN = (type(None), bool, int, str, bytes, type(...), type(NotImplemented))
BY_EQUALITY = (Enum, np.dtype, jax.ShapeDtypeStruct, Mesh, Sharding, PartitionSpec, jax.Device, range)


def fingerprint(value: Any) -> Hashable:
    """What a trace may read of `value`. Raises `Opaque` where that cannot be told.

    >>> def scaled_by(k):
    ...     return lambda x: k * x
    >>> fingerprint(scaled_by(2)) == fingerprint(scaled_by(2)), fingerprint(scaled_by(2)) == fingerprint(scaled_by(2.0))
    (True, False)
    """
    try:
        return _Walk({}).of(value)
    except Opaque:
        raise
    except Exception as error:  # Reading an odd object may fail in any way; a comparison never stops a run.
        raise Opaque(str(error)) from error


@dataclass(frozen=True, eq=False)
class Same:
    """Equal to what holds the very same thing, which it keeps alive: a new thing never has the old one's number."""

    thing: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.thing is other.thing

    def __hash__(self) -> int:
        return id(self.thing)


@dataclass(frozen=True)
class _Walk:
    """`seen`: the number of each thing on the way, and the thing, so that its id stays its own."""

    seen: dict[int, tuple[int, Any]]

    def of(self, value: Any) -> Hashable:
        kind = type(value)
        if kind in PLAIN:
            return kind, value
        if kind in (float, complex):
            return kind, value.hex() if kind is float else repr(value)
        if isinstance(value, BY_EQUALITY):
            return Same(kind), value
        if is_of_library(value):
            return Same(value)
        if id(value) in self.seen:
            return "seen", self.seen[id(value)][0]
        self.seen[id(value)] = len(self.seen), value
        return Same(kind), self._parts(value)

    def _parts(self, value: Any) -> Hashable:
        if isinstance(value, Tracer | ModuleType):
            return self._module(value)
        if isinstance(value, np.ndarray | np.generic | jax.Array):
            return _content(value)
        if isinstance(value, type):
            return Same(value), self._methods(value)
        if isinstance(value, FunctionType):
            return self._function(value)
        if isinstance(value, MethodType):
            return self.of(value.__func__), self.of(value.__self__)
        if isinstance(value, BuiltinFunctionType):
            return self._builtin(value)
        if isinstance(value, functools.partial):
            return self.of(value.func), self.of(value.args), self.of(value.keywords)
        if isinstance(value, CellType):
            return self.of(value.cell_contents)
        if isinstance(value, jax.tree_util.PyTreeDef):
            return value.num_leaves, self.of(value.node_data()), tuple(map(self.of, value.children()))
        if isinstance(value, ref):
            return self.of(value())
        return self._wrapped(value) if hasattr(value, "__wrapped__") else self._object(value)

    def _module(self, value: Any) -> Hashable:
        if isinstance(value, ModuleType) and is_known(value.__name__):
            return Same(value)
        raise Opaque(repr(value))

    def _function(self, value: FunctionType) -> Hashable:
        closed = tuple(self.of(cell) for cell in value.__closure__ or ())
        given = self.of(value.__defaults__), self.of(value.__kwdefaults__)
        if is_known(value.__globals__.get("__name__")):
            return value.__code__, closed, given
        read = tuple((name, self.of(found)) for name, found in read_by(value))
        return value.__code__, closed, given, read, self.of(vars(value))

    def _builtin(self, value: BuiltinFunctionType) -> Hashable:
        if value.__self__ is None or isinstance(value.__self__, ModuleType):
            if is_known(value.__module__):
                return Same(value)
            raise Opaque(repr(value))
        return value.__name__, self.of(value.__self__)

    def _wrapped(self, value: Any) -> Hashable:
        """What `jax.jit`, `jax.custom_jvp`, `functools.lru_cache` made: it may remember, so it is that very thing."""
        return Same(value), self.of(value.__wrapped__)

    def _methods(self, kind: type) -> Hashable:
        """Of a class of the user's: whatever stands in it and above it."""
        own = [each for each in kind.__mro__ if not is_known(each.__module__)]
        return tuple(
            (name, self.of(member.__func__ if isinstance(member, staticmethod | classmethod) else member))
            for each in own
            for name, member in vars(each).items()
            if not _is_of_no_account(name, member)
        )

    def _object(self, value: Any) -> Hashable:
        kind = type(value)
        if kind is object:
            return Same(value)
        if isinstance(value, property | functools.cached_property):
            return self.of(value.fget if isinstance(value, property) else value.func)
        if kind in (dict, MappingProxyType, OrderedDict) or (isinstance(value, Mapping) and _is_readable(kind)):
            held = tuple((self.of(key), self.of(part)) for key, part in value.items())
        elif isinstance(value, tuple | list):
            held = tuple(map(self.of, value))
        elif kind in (set, frozenset):
            held = frozenset(map(_plain, value))
        elif _is_readable(kind):
            held = ()
        else:
            raise Opaque(repr(kind))
        return held, self.of(kind), self._fields(value)

    def _fields(self, value: Any) -> Hashable:
        if is_dataclass(value) and is_known(type(value).__module__):
            names = [each.name for each in fields(value)]
        else:
            names = [*getattr(value, "__dict__", ()), *_slots(type(value))]
        return tuple((name, self.of(getattr(value, name))) for name in names if hasattr(value, name))


def _is_readable(kind: type) -> bool:
    """Whether all that an instance holds is in its fields: what is written in C holds more."""
    if kind is SimpleNamespace:
        return True
    if not (isinstance(kind.__new__, FunctionType) or kind.__new__ is object.__new__):
        return False
    files = (getattr(sys.modules.get(each.__module__), "__file__", None) for each in kind.__mro__[:-1])
    built_in = any(each.__module__ in sys.builtin_module_names for each in kind.__mro__[:-1])
    return not built_in and all(file is None or file.endswith((".py", ".pyc")) for file in files)


def _plain(value: Any) -> Hashable:
    if type(value) not in PLAIN:
        raise Opaque(repr(value))
    return type(value), value


def _slots(kind: type) -> list[str]:
    held = [vars(each).get("__slots__", ()) for each in kind.__mro__]
    return [name for slots in held for name in ((slots,) if isinstance(slots, str) else slots) if name != "__weakref__"]


def _content(value: Any) -> Hashable:
    weak = getattr(value, "weak_type", False)
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        value = jax.random.key_data(value)
    if value.nbytes > LARGEST_BYTES or value.dtype.hasobject or not getattr(value, "is_fully_addressable", True):
        raise Opaque(f"{value.dtype}{value.shape}")
    whole = np.ascontiguousarray(value)
    return str(whole.dtype), np.shape(value), weak, blake2b(whole.tobytes()).digest()


_UNREAD = frozenset("__repr__ __str__ __format__ __setattr__ __delattr__ __reduce__ __getstate__ __setstate__".split())


def _is_of_no_account(name: str, member: Any) -> bool:
    """Entries of a class that say nothing of what it computes: documentation, its slots, what `dataclass` wrote."""
    if name in _UNREAD or name == "_abc_impl" or type(member).__name__.endswith(("_descriptor", "_tuplegetter")):
        return True
    if isinstance(member, FunctionType):
        return member.__code__.co_filename == "<string>"
    return name.startswith("__") and name.endswith("__") and not callable(member)
