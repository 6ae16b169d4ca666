"""Any Flax NNX module as a ladle model. The only file that knows Flax.

An NNX module holds its variables and sees a whole batch; here it is taken apart into a description and plain arrays,
and put together anew inside each call, so that nothing is changed in place.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from ladle.core.errors import ArgumentError, must

Make = Callable[[jax.Array], nnx.Module]


@dataclass(frozen=True, eq=False)
class NnxModel:
    """An NNX module as a model of ladle's; made by `from_nnx`.

    - `params`: `{"layers.0.kernel": ...}`, every `nnx.Param` by its path.
    - `model_state`: the arrays of all other variables but random streams, by path; `()` where there are none.
    - `graph`, `shapes`: the module's description, and the shapes of `Param`, random and other variables.
    """

    name: str
    make: Make
    graph: Any
    shapes: tuple[Any, Any, Any]

    @property
    def additive(self) -> bool:
        """False when the module has variables beside its parameters: batch statistics depend on the whole batch."""
        return not jax.tree.leaves(self.shapes[2])

    @property
    def norm_rows(self) -> int | None:
        """0 where it has batch statistics, of a whole micro-batch; None without."""
        held = jax.tree.leaves(self.shapes[2], is_leaf=lambda leaf: isinstance(leaf, nnx.BatchStat))
        return 0 if any(isinstance(leaf, nnx.BatchStat) for leaf in held) else None

    @property
    def applied(self) -> NnxModel:
        """The same for whoever only applies it: holds no array of a module that every run starts from."""
        return replace(self, make=_not_here)

    def init(self, key: jax.Array) -> tuple[Any, Any]:
        _, params, _, others = _split(self.make(key))
        # Copies: the engine reuses the memory of its state, which must not be the user's own variables.
        params, others = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), (_named(params), _named(others)))
        return params, others or ()

    def module(self, params: Any, model_state: Any = (), *, key: jax.Array | None = None) -> nnx.Module:
        """The NNX module with these parameters; `key` seeds its random streams."""
        floats, streams, others = self.shapes
        streams = _seeded(streams, jax.random.key(0) if key is None else key)
        return nnx.merge(self.graph, _filled(floats, params), streams, _filled(others, model_state))

    def apply(
        self, params: Any, model_state: Any, x: Any, *, keys: jax.Array | None, weight: jax.Array, train: bool
    ) -> tuple[jax.Array, Any]:
        """Outputs of the whole micro-batch.

        The first key seeds the module's random streams, so dropout masks depend on how a batch is cut, though not
        their distribution. Flax's own batch norm counts padding rows too; the engine fills these with copies of real
        rows of the same micro-batch.
        """
        module = self.module(params, model_state, key=None if keys is None else keys[0])
        _keep_f32_norms(module, {leaf.dtype for leaf in jax.tree.leaves(params)})
        if not train:
            module.eval()
            return module(x), model_state  # type: ignore[operator]
        module.train()
        outputs = module(x)  # type: ignore[operator]
        after = _named(_split(module)[3])
        # Variables that the call itself created, such as recorded intermediates, are not carried.
        return outputs, {path: after[path] for path in model_state} if model_state else model_state


def from_nnx(module_or_factory: Any, name: str | None = None) -> NnxModel:
    """A Flax NNX module as a model of ladle's.

    **Arguments**

    - `module_or_factory`: a module, which is then where every run starts, whatever its seed; or a function
      `rngs -> module`, such as the module's class with its other arguments bound. The module is called with a whole
      micro-batch.
    - `name`: for records and reports; the module's class by default.

    `module.train()` is in force in training, `module.eval()` in evaluation. A module with variables beside its
    parameters (batch statistics) is not `additive`.

    **Raises** `ArgumentError` when it is no NNX module.

    >>> from flax import nnx
    >>> import jax, jax.numpy as jnp
    >>> model = from_nnx(lambda rngs: nnx.Linear(4, 3, rngs=rngs))
    >>> params, state = model.init(jax.random.key(0))
    >>> sorted(params), state
    (['bias', 'kernel'], ())
    >>> outputs, _ = model.apply(params, state, jnp.ones((5, 4)), keys=None, weight=jnp.ones(5), train=False)
    >>> outputs.shape
    (5, 3)
    """
    make = _maker(module_or_factory)
    abstract = nnx.eval_shape(lambda: make(jax.random.key(0)))
    graph, *shapes = _split(abstract)
    return NnxModel(name or type(abstract).__name__, make, graph, (shapes[0], shapes[1], shapes[2]))


def _maker(given: Any) -> Make:
    """`key -> module` from a module, or from a function `rngs -> module`."""
    if isinstance(given, nnx.Module):
        return lambda key: given
    if not callable(given):
        raise _no_module(given)
    by_name = "rngs" in inspect.signature(given).parameters

    def make(key: jax.Array) -> nnx.Module:
        rngs = nnx.Rngs(key)
        made = given(rngs=rngs) if by_name else given(rngs)
        if not (isinstance(made, nnx.Module) and callable(made)):
            raise _no_module(made)
        return made

    return make


def _not_here(key: jax.Array) -> nnx.Module:
    raise NotImplementedError("a model that is only applied starts nothing")


def _no_module(got: Any) -> ArgumentError:
    return ArgumentError(
        must(
            "module_or_factory",
            "be a callable NNX module, or a function rngs -> module",
            type(got).__name__,
            "its call computes the outputs",
            "from_nnx(lambda rngs: nnx.Linear(4, 3, rngs=rngs))",
        )
    )


def _split(module: nnx.Module) -> tuple[Any, Any, Any, Any]:
    """`(graph, parameters, random streams, other variables)`."""
    graph, params, streams, rest = nnx.split(module, nnx.Param, nnx.RngState, ...)
    return graph, params, streams, rest


def _named(variables: Any) -> dict[str, jax.Array]:
    return dict(zip(_paths(variables), jax.tree.leaves(variables), strict=True))


def _keep_f32_norms(module: nnx.Module, types: set[Any]) -> None:
    """In a module of half precision, batch norms compute in float32 and answer in the module's type."""
    half = types & {jnp.dtype(jnp.bfloat16), jnp.dtype(jnp.float16)}
    for _, node in nnx.iter_modules(module) if half else ():
        if isinstance(node, nnx.BatchNorm) and node.dtype is None:
            (node.dtype, *_), node.promote_dtype = half, _in_f32  # type: ignore[assignment]


def _in_f32(given: Any, **named: Any) -> tuple[Any, ...]:
    return tuple(None if one is None else one.astype(jnp.float32) for one in given)


def _filled(variables: Any, named: Any) -> Any:
    return jax.tree.structure(variables).unflatten([named[path] for path in _paths(variables)])


def _seeded(streams: Any, key: jax.Array) -> Any:
    """Random streams that start anew from `key`, each from a key of its own."""
    leaves, structure = jax.tree.flatten(streams)

    def fresh(number: int, leaf: Any) -> jax.Array:
        if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jnp.zeros(leaf.shape, leaf.dtype)
        own = jax.random.fold_in(key, number)
        return jax.random.split(own, leaf.shape) if leaf.shape else own

    return structure.unflatten([fresh(number, leaf) for number, leaf in enumerate(leaves)])


def _paths(variables: Any) -> list[str]:
    paths = (jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in jax.tree.leaves_with_path(variables))
    return [path.removesuffix(".value") for path in paths]
