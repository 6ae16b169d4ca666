"""`Program`: a compiled function. Those that mean the same are one, whoever makes them: a second fit compiles nothing.

A program is a pure function of what it means (an objective, an optimiser, a gauge, devices: a value) and of operands
(parameters, data, seed, rate, constants). Two programs of one process are one where the function and the fingerprints
of the values are equal (`ladle.jax.fingerprint` says what that looks at), the operands' shapes and types deciding the
rest, as always under `jax.jit`. Nothing stale is used:

- A program means what its value was when it was first used.
- A value without a fingerprint has programs of its own, for as long as whoever made them.
- A trace reads the value of whoever calls, not of whoever called first; and first looks whether it still has the
  fingerprint that the program is kept under. Where it was changed since, the caller goes on with a program of its own.

At most `MOST` programs are kept, those used last. One that fell out lives as long as something holds it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import jax
import numpy as np

from ladle.jax.code import Opaque
from ladle.jax.devices import crowded
from ladle.jax.fingerprint import fingerprint
from ladle.jax.mesh import Layout, is_parked
from ladle.jax.remat import compiler_options
from ladle.jax.shard import axis_in, kept

MOST = 128
"""Programs kept for others to share; a task has three to ten."""


@dataclass(frozen=True)
class Form:
    """How a function is compiled.

    - `static`: names of its arguments that are compiled in. `donate`: whether it consumes its first operand.
    - `layout`: where results are placed: as the inputs are, or a first call could differ from the second.
    - `recomputes`: whether it computes some of its values twice on purpose; see `ladle.jax.remat`.
    """

    static: tuple[str, ...] = ()
    donate: bool = False
    layout: Layout | None = None
    recomputes: bool = False

    @property
    def shardings(self) -> dict[str, Any]:
        """Where `jax.jit` is told to place results: all in one place, or nowhere, where `settled` says it of each."""
        layout = self.layout
        return {"out_shardings": layout.replicated} if layout is not None and layout.uniform else {}

    def settled(self, results: Any) -> Any:
        """Results inside a program, where the layout has them: in parts, where it has state in parts."""
        return kept(self.layout, results)


@dataclass(eq=False)
class Program:
    """`function(value, *operands, **static)`, compiled for each shape of the operands and each `static`.

    >>> import jax.numpy as jnp
    >>> def power(exponent, x):
    ...     return x**exponent
    >>> one, other, third = Program(power, 2), Program(power, 2), Program(power, 3)
    >>> float(one(jnp.float32(3.0))), one.compiled is other.compiled, one.compiled is third.compiled
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
    def compiled(self) -> _Compiled:
        """The compiled function, and what was asked of it: shared where they can be."""
        mark = self.owner.mark
        return _compiled(self.function, self.form) if mark is None else _shared(self.function, self.form, mark)

    def __call__(self, *operands: Any, **static: Any) -> Any:
        results = self._sent(*operands, **static)
        return jax.block_until_ready(results) if crowded() and _over_several(results) else results

    def _sent(self, *operands: Any, **static: Any) -> Any:
        try:
            return self.compiled.jitted(*operands, owner=self.owner, **static)
        except _Changed:
            return self._parted().jitted(*operands, owner=self.owner, **static)

    def shape(self, *operands: Any, **static: Any) -> Any:
        """What a call would return, as shapes: nothing runs, nothing is compiled."""
        try:
            return self.compiled.jitted.eval_shape(*operands, owner=self.owner, **static)
        except _Changed:
            return self._parted().jitted.eval_shape(*operands, owner=self.owner, **static)

    def computed_bytes(self, *operands: Any, **static: Any) -> int:
        """Bytes of all arrays that a call computes, loops counted once: a trace, which the call then makes use of."""
        return self.once(_question("computed", shapes_of(operands), static), self._computed, *operands, **static)

    def ahead(self, *shapes: Any, **static: Any) -> Any:
        """The program for operands of these shapes, compiled ahead of a call: nothing runs."""
        return self.once(_question("compiled", shapes, static), self._ahead, *shapes, **static)

    def exported(self, *shapes: Any, **static: Any) -> bytes:
        """The program over flat leaves of `shapes`, as bytes that another process can run."""
        return self.once(_question("exported", shapes, static), self._exported, *shapes, **static)

    def once(self, question: Hashable, answer: Callable[..., Any], *operands: Any, **static: Any) -> Any:
        """`answer(*operands, **static)`, or what an equal program answered to an equal question."""
        found = self.compiled.answers
        if question not in found:
            try:
                found[question] = answer(*operands, **static)
            except _Changed:
                self._parted()
                return self.once(question, answer, *operands, **static)
        return found[question]

    def _computed(self, *operands: Any, **static: Any) -> int:
        return _bytes_of(self.compiled.jitted.trace(*operands, owner=self.owner, **static).jaxpr.jaxpr)

    def _ahead(self, *shapes: Any, **static: Any) -> Any:
        return self.compiled.jitted.lower(*shapes, owner=self.owner, **static).compile()

    def _exported(self, *shapes: Any, **static: Any) -> bytes:
        from jax import export  # It takes 10 ms to load, and a run that trains exports nothing.

        leaves, tree = jax.tree.flatten(shapes)

        def flat(*leaves: Any) -> list[Any]:
            return jax.tree.leaves(
                self.form.settled(self.function(self.owner.read(), *tree.unflatten(leaves), **static))
            )

        return bytes(export.export(jax.jit(flat))(*leaves).serialize())

    def _parted(self) -> _Compiled:
        """The compiled function of one that shares nothing from now on."""
        self.owner = _Owner(self.value, None)
        self.compiled = _compiled(self.function, self.form)
        return self.compiled


@dataclass(frozen=True, eq=False)
class _Compiled:
    """`jitted`: the function under `jax.jit`. `answers`: to questions of `Program.once`."""

    jitted: Any
    answers: dict[Hashable, Any] = field(default_factory=dict)


def forget() -> None:
    """Keep no program: the next one is compiled anew."""
    _shared.cache_clear()


def shapes_of(tree: Any) -> Any:
    """The shapes and types of a tree of arrays, of whatever library; and their place, of those in parts or parked."""

    def shape(leaf: Any) -> jax.ShapeDtypeStruct:
        place = getattr(leaf, "sharding", None)
        told = axis_in(place) is not None or is_parked(place)
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place if told else None)

    return jax.tree.map(shape, tree)


def _over_several(tree: Any) -> bool:
    """Whether the arrays of a tree are on several devices."""
    return any(len(leaf.sharding.device_set) > 1 for leaf in jax.tree.leaves(tree))


def _bytes_of(jaxpr: Any) -> int:
    """Bytes of the results of all equations, those inside loops and conditions included."""
    total = 0
    for equation in jaxpr.eqns:
        total += sum(_size(one.aval) for one in equation.outvars)
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_jaxpr):
            total += _bytes_of(getattr(inner, "jaxpr", inner)) if _is_jaxpr(inner) else 0
    return total


def _is_jaxpr(value: Any) -> bool:
    return hasattr(getattr(value, "jaxpr", value), "eqns")


def _size(aval: Any) -> int:
    """Bytes of an array; a random key counts as four words."""
    width = getattr(getattr(aval, "dtype", None), "itemsize", 16)
    return int(np.prod(getattr(aval, "shape", ()), dtype=np.int64)) * width


def _question(name: str, shapes: Any, static: Mapping[str, Any]) -> Hashable:
    leaves, tree = jax.tree.flatten(shapes)
    return name, tuple(leaves), tree, tuple(sorted(static.items()))


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


def _compiled(function: Callable[..., Any], form: Form) -> _Compiled:
    def traced(*operands: Any, owner: _Owner, **static: Any) -> Any:
        return form.settled(function(owner.read(), *operands, **static))

    traced.__name__ = traced.__qualname__ = function.__name__
    donated = (0,) if form.donate else ()
    placed = form.shardings
    if options := compiler_options(form.recomputes):
        placed["compiler_options"] = options
    return _Compiled(jax.jit(traced, static_argnames=("owner", *form.static), donate_argnums=donated, **placed))


@lru_cache(maxsize=MOST)
def _shared(function: Callable[..., Any], form: Form, mark: Hashable) -> _Compiled:
    return _compiled(function, form)
