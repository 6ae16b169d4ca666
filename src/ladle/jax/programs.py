"""`Program`: a compiled function. Those that mean the same are one, whoever makes them: a second fit compiles nothing.

A program is a pure function of what it means (an objective, an optimiser, a gauge, devices: a value) and of operands
(parameters, data, seed, rate, constants). Two programs of one process are one where the function and the fingerprints
of the values are equal (`ladle.jax.fingerprint` says what that looks at), the operands' shapes and types deciding the
rest, as always under `jax.jit`. Nothing stale is used:

- A value without a fingerprint has programs of its own, for as long as whoever made them.
- A trace reads the value of whoever calls, not of whoever called first; and first looks whether it still has the
  fingerprint that the program is kept under. Where it was changed since, the caller goes on with a program of its own.

At most `MOST` programs are kept, those used last. One that fell out lives as long as something holds it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import jax

from ladle.jax.code import Opaque
from ladle.jax.fingerprint import fingerprint
from ladle.jax.mesh import Layout

MOST = 128
"""Programs kept for others to share; a task has three to ten."""


@dataclass(frozen=True)
class Form:
    """How a function is compiled.

    - `static`: names of its arguments that are compiled in. `donate`: whether it consumes its first operand.
    - `layout`: where results are placed: as the inputs are, or a first call could differ from the second.
    """

    static: tuple[str, ...] = ()
    donate: bool = False
    layout: Layout | None = None


@dataclass(eq=False)
class Program:
    """`function(value, *operands, **static)`, compiled for each shape of the operands and each `static`.

    >>> import jax.numpy as jnp
    >>> def power(exponent, x):
    ...     return x**exponent
    >>> one, other, third = Program(power, 2), Program(power, 2), Program(power, 3)
    >>> float(one(jnp.float32(3.0))), one.jitted is other.jitted, one.jitted is third.jitted
    (9.0, True, False)
    """

    function: Callable[..., Any]
    value: Any
    form: Form = field(default_factory=Form)

    @cached_property
    def owner(self) -> _Owner:
        """What is asked for the value when the function is traced."""
        try:
            return _Owner(self.value, fingerprint(self.value))
        except Opaque:
            return _Owner(self.value, None)

    @cached_property
    def jitted(self) -> Any:
        """The compiled function, shared where it can be."""
        mark = self.owner.mark
        return _compiled(self.function, self.form) if mark is None else _shared(self.function, self.form, mark)

    def __call__(self, *operands: Any, **static: Any) -> Any:
        try:
            return self.jitted(*operands, owner=self.owner, **static)
        except _Changed:
            return self._parted()(*operands, owner=self.owner, **static)

    def shape(self, *operands: Any, **static: Any) -> Any:
        """What a call would return, as shapes: nothing runs, nothing is compiled."""
        try:
            return self.jitted.eval_shape(*operands, owner=self.owner, **static)
        except _Changed:
            return self._parted().eval_shape(*operands, owner=self.owner, **static)

    def lower(self, *shapes: Any, **static: Any) -> Any:
        """The program for operands of these shapes, lowered: nothing runs."""
        try:
            return self.jitted.lower(*shapes, owner=self.owner, **static)
        except _Changed:
            return self._parted().lower(*shapes, owner=self.owner, **static)

    def _parted(self) -> Any:
        """The compiled function of one that shares nothing from now on."""
        self.owner = _Owner(self.value, None)
        self.jitted = _compiled(self.function, self.form)
        return self.jitted


def forget() -> None:
    """Keep no program: the next one is compiled anew."""
    _shared.cache_clear()


class _Changed(Exception):
    """A value is no longer what its program is kept under."""


@dataclass(frozen=True, eq=False)
class _Owner:
    """Hands a trace the value of whoever calls. Owners are equal: all those of one program mean the same."""

    value: Any
    mark: Hashable | None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Owner)

    def __hash__(self) -> int:
        return 0

    def read(self) -> Any:
        if self.mark is not None and _mark(self.value) != self.mark:
            raise _Changed
        return self.value


def _mark(value: Any) -> Hashable | None:
    try:
        return fingerprint(value)
    except Opaque:
        return None


def _compiled(function: Callable[..., Any], form: Form) -> Any:
    def traced(*operands: Any, owner: _Owner, **static: Any) -> Any:
        return function(owner.read(), *operands, **static)

    traced.__name__ = traced.__qualname__ = function.__name__
    placed = {} if form.layout is None else {"out_shardings": form.layout.replicated}
    donated = (0,) if form.donate else ()
    return jax.jit(traced, static_argnames=("owner", *form.static), donate_argnums=donated, **placed)


@lru_cache(maxsize=MOST)
def _shared(function: Callable[..., Any], form: Form, mark: Hashable) -> Any:
    return _compiled(function, form)
