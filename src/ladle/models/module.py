"""Any Equinox module as a ladle model.

An Equinox module sees one example; here it is batched with `jax.vmap`, each example with a random key of its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from ladle.core.errors import ArgumentError, must
from ladle.models.ghost import GhostNorm

Make = Callable[[jax.Array], tuple[Any, eqx.nn.State]]


@dataclass(frozen=True)
class Call:
    """How a module is called: whether it takes a `key`, the name of its state argument if any, its `vmap` axis."""

    takes_key: bool
    state: str | None
    axis_name: Hashable | None


@dataclass(frozen=True, eq=False)
class EquinoxModel:
    """An Equinox module as a `ladle.models.protocol.Model`; made by `from_equinox`.

    - `params`: `{"layers.0.weight": ...}`, every floating-point array of the module by its path.
    - `model_state`: the arrays of its `eqx.nn.State`, then its other arrays; `()` where there are none.
    - `shapes`: `(module, state)` with shapes in the place of arrays, and all else as it is.
    """

    name: str
    make: Make
    call: Call
    shapes: Any

    @property
    def additive(self) -> bool:
        """False when the module has state: what batch norm does to other examples, other state might do too."""
        return self.call.state is None

    @property
    def norm_rows(self) -> int | None:
        """Rows that its batch norms take together, 0 for a whole micro-batch; None without batch norm."""
        nodes = jax.tree.leaves(self.shapes[0], is_leaf=_is_batch_norm)
        sizes = [getattr(node, "ghost_size", 0) for node in nodes if _is_batch_norm(node)]
        return min(filter(None, sizes), default=0) if sizes else None

    @property
    def applied(self) -> EquinoxModel:
        """The same for whoever only applies it: holds no array of a module that every run starts from."""
        return replace(self, make=_not_here)

    def init(self, key: jax.Array) -> tuple[Any, Any]:
        module, state = self.make(key)
        params, rest = eqx.partition(module, eqx.is_inexact_array)
        params = dict(zip(_paths(params), _copies(params), strict=True))
        return params, tuple(_copies((state, eqx.filter(rest, eqx.is_array))))

    def module(self, params: Any, model_state: Any = ()) -> tuple[Any, eqx.nn.State]:
        """The Equinox module with these parameters, and its state."""
        module, state = self.shapes
        floats, rest = eqx.partition(module, _is_float)
        others, static = eqx.partition(rest, _is_shape)
        floats = jax.tree.structure(floats).unflatten([params[path] for path in _paths(floats)])
        state, others = jax.tree.structure((state, others)).unflatten(model_state)
        return eqx.combine(floats, others, static), state

    def apply(
        self, params: Any, model_state: Any, x: Any, *, keys: jax.Array | None, weight: jax.Array, train: bool
    ) -> tuple[jax.Array, Any]:
        """Outputs of every row. Equinox's own batch norm counts padding rows too; the engine fills these with copies
        of real rows of the same micro-batch. Without `keys` (evaluation) every row gets the same one.
        """
        module, state = self.module(params, model_state)
        if any(leaf.dtype in (jnp.bfloat16, jnp.float16) for leaf in params.values()):
            module = _with_f32_norms(module)
        module = eqx.nn.inference_mode(module, value=not train)
        if keys is None:
            keys = jnp.broadcast_to(jax.random.key(0), jax.tree.leaves(x)[0].shape[:1])

        def alone(x: Any, key: jax.Array) -> tuple[Any, Any]:
            random = {"key": key} if self.call.takes_key else {}
            if self.call.state is None:
                return module(x, **random), state
            return module(x, **{self.call.state: state}, **random)

        outputs, state = jax.vmap(alone, axis_name=self.call.axis_name, out_axes=(0, None))(x, keys)
        if not train:
            return outputs, model_state
        moved = jax.tree.leaves(state)
        return outputs, (*moved, *model_state[len(moved) :])


def from_equinox(module_or_factory: Any, name: str | None = None) -> EquinoxModel:
    """An Equinox module as a model of ladle's.

    **Arguments**

    - `module_or_factory`: a module, which is then where every run starts, whatever its seed; or a function
      `key -> module`, such as the module's class with its other arguments bound. `(module, state)` of
      `eqx.nn.make_with_state` is understood in both places. The module is called with one example.
    - `name`: for records and reports; the module's class by default.

    In training the module is out of inference mode, in evaluation in it. All batch norms must name the same `vmap`
    axis, whatever it is called. A module with state is not `additive`.

    **Raises** `ArgumentError` when it is no module, or has state that its call does not take.

    >>> import equinox as eqx, jax, jax.numpy as jnp
    >>> model = from_equinox(lambda key: eqx.nn.MLP(4, 3, 16, 1, key=key))
    >>> params, state = model.init(jax.random.key(0))
    >>> sorted(params)[:2], state
    (['layers.0.bias', 'layers.0.weight'], ())
    >>> outputs, _ = model.apply(params, state, jnp.ones((5, 4)), keys=None, weight=jnp.ones(5), train=False)
    >>> outputs.shape
    (5, 3)
    """
    make = _maker(module_or_factory)
    shapes = eqx.filter_eval_shape(make, jax.random.key(0))
    module, state = shapes
    takes_key, state_name = _arguments(module, bool(jax.tree.leaves(state)))
    return EquinoxModel(name or type(module).__name__, make, Call(takes_key, state_name, _axis_name(module)), shapes)


def _maker(given: Any) -> Make:
    """`key -> (module, state)` from a module, `(module, state)`, or a function that returns either."""
    if not callable(given) or isinstance(given, eqx.Module):
        return lambda key: _with_state(given)
    if "key" in inspect.signature(given).parameters:
        return lambda key: _with_state(given(key=key))
    return lambda key: _with_state(given(key))


def _not_here(key: jax.Array) -> Any:
    raise NotImplementedError("a model that is only applied starts nothing")


def _with_state(made: Any) -> tuple[Any, eqx.nn.State]:
    module, state = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not (isinstance(module, eqx.Module) and callable(module)):
        raise ArgumentError(
            must(
                "module_or_factory",
                "be a callable Equinox module, or a function key -> module",
                type(module).__name__,
                "its call computes the outputs",
                "from_equinox(lambda key: eqx.nn.MLP(4, 3, 16, 1, key=key))",
            )
        )
    return (module, state) if isinstance(state, eqx.nn.State) else eqx.nn.make_with_state(lambda: module)()


def _arguments(module: Any, has_state: bool) -> tuple[bool, str | None]:
    """Whether the call takes `key`, and what it calls its state: `state`, or else the second positional argument."""
    parameters = inspect.signature(module.__call__).parameters
    takes_key = "key" in parameters
    if not has_state:
        return takes_key, None
    positional = [p.name for p in parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD and p.name != "key"]
    state = "state" if "state" in parameters else next(iter(positional[1:]), None)
    if state is None:
        raise ArgumentError(
            must(
                f"{type(module).__name__}.__call__",
                "take the module's state",
                f"({', '.join(parameters)})",
                "it has layers with state",
                "def __call__(self, x, state, *, key=None), returning outputs and state",
            )
        )
    return takes_key, state


def _axis_name(module: Any) -> Hashable | None:
    """The `vmap` axis over which the module's batch norms average."""
    nodes = jax.tree.leaves(module, is_leaf=_is_batch_norm)
    names = {node.axis_name for node in nodes if _is_batch_norm(node)}
    if len(names) > 1:
        because = "there is one axis of examples"
        raise ArgumentError(
            must("axis_name", "be the same in every BatchNorm", sorted(map(str, names)), because, "'batch' everywhere")
        )
    return next(iter(names), None)


def _paths(tree: Any) -> list[str]:
    return [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in jax.tree.leaves_with_path(tree)]


def _copies(tree: Any) -> list[jax.Array]:
    """The leaves, copied: the engine reuses the memory of its state, which must not be the user's own arrays."""
    return [jnp.array(leaf, copy=True) for leaf in jax.tree.leaves(tree)]


def _is_batch_norm(node: Any) -> bool:
    return isinstance(node, eqx.nn.BatchNorm | GhostNorm)


class _InF32(eqx.nn.StatefulLayer):
    """A batch norm of Equinox's whose averages and arithmetic are float32 in a module of half precision."""

    norm: eqx.nn.BatchNorm

    def __init__(self, norm: eqx.nn.BatchNorm) -> None:
        """Around `norm`."""
        self.norm = norm

    def __call__(self, x: jax.Array, state: eqx.nn.State, **named: Any) -> tuple[jax.Array, eqx.nn.State]:
        outputs, state = self.norm(x.astype(jnp.float32), state, **named)
        return outputs.astype(x.dtype), state


def _with_f32_norms(module: Any) -> Any:
    def found(node: Any) -> Any:
        if not isinstance(node, eqx.nn.BatchNorm):
            return node
        return _InF32(jax.tree.map(lambda leaf: leaf.astype(jnp.float32) if eqx.is_inexact_array(leaf) else leaf, node))

    return jax.tree.map(found, module, is_leaf=lambda node: isinstance(node, eqx.nn.BatchNorm))


def _is_shape(leaf: Any) -> bool:
    return isinstance(leaf, jax.ShapeDtypeStruct)


def _is_float(leaf: Any) -> bool:
    return _is_shape(leaf) and jnp.issubdtype(leaf.dtype, jnp.inexact)
