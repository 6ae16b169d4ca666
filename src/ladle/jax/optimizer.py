"""Optimisers by name, through optax, with their constants as traced numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import optax
from optax import contrib

from ladle.core.constants import SHARED, require_constants
from ladle.core.errors import ArgumentError, must, nearest
from ladle.core.paths import matches
from ladle.jax import layerwise
from ladle.jax.paths import path_text
from ladle.jax.transformation import own_rate

Hyper = Mapping[str, Any]
Mask = Callable[[Any], Any] | None
Form = Callable[[Hyper, Mask], optax.GradientTransformation]


@dataclass(frozen=True)
class Decays:
    """Which parameters weight decay shrinks: a tree of booleans. All but those that `excluded` means by their paths."""

    excluded: tuple[str, ...]

    def __call__(self, params: Any) -> Any:
        def leaf(path: Any, _: Any) -> bool:
            return not matches(path_text(path), self.excluded)

        return jax.tree_util.tree_map_with_path(leaf, params)


@dataclass(frozen=True)
class Optimizer:
    """An update rule at learning rate one, as a function of its constants.

    `make(hyper)` is called inside the compiled program with traced numbers, so that a change of `b2` or
    `weight_decay` compiles nothing. `hyper` holds their starting values; `lr` the default learning rate, or None
    when the transformation brings one of its own that cannot be read.
    - `form(hyper, mask)`: how it is made; `mask` is which parameters decay, None for all.
    - `unit`: the rate that `make` has inside, one for the named ones: its steps are multiplied by `lr / unit`.
    - `no_decay`: patterns of the paths of parameters that weight decay leaves alone.
    """

    name: str
    form: Form
    hyper: Mapping[str, float] = field(default_factory=dict)
    lr: float | None = None
    unit: float = 1.0
    no_decay: tuple[str, ...] = ()

    def make(self, hyper: Hyper) -> optax.GradientTransformation:
        """The rule with these constants."""
        return self.form(hyper, Decays(self.no_decay) if self.no_decay else None)

    @property
    def rule(self) -> Optimizer:
        """The same without its numbers, which are data of the programs: all that a trace depends on."""
        return replace(self, hyper={}, lr=None, unit=1.0)

    @property
    def is_custom(self) -> bool:
        """Whether it is a transformation of the user's, whose constants are not known here."""
        return isinstance(self.form, _Constant)

    def length(self, lr: jax.Array, lr_factor: jax.Array) -> jax.Array:
        """What a step of `make` is multiplied by at rate `lr`: by the rate, but for momentum that holds rates.

        Where a schedule's rate is zero, such momentum moves the weights on by what earlier rates put into it. A factor
        of zero is no rate but a probe, which moves nothing.
        """
        if not isinstance(self.form, _Layerwise):
            return lr
        return jnp.where((lr == 0) & (lr_factor != 0), 1.0, lr)


def _sgd(hyper: Hyper, mask: Mask) -> optax.GradientTransformation:
    return optax.sgd(1.0)


def _momentum(hyper: Hyper, mask: Mask) -> optax.GradientTransformation:
    return optax.sgd(1.0, momentum=hyper["momentum"])


def _nesterov(hyper: Hyper, mask: Mask) -> optax.GradientTransformation:
    return optax.sgd(1.0, momentum=hyper["momentum"], nesterov=True)


def _adam(hyper: Hyper, mask: Mask) -> optax.GradientTransformation:
    return optax.adam(1.0, b1=hyper["b1"], b2=hyper["b2"], eps=hyper["eps"])


def _adamw(hyper: Hyper, mask: Mask) -> optax.GradientTransformation:
    constants = {name: hyper[name] for name in ("b1", "b2", "eps", "weight_decay")}
    return optax.adamw(1.0, **constants, mask=mask)


def _adagrad(hyper: Hyper, mask: Mask) -> optax.GradientTransformation:
    return optax.adagrad(1.0, eps=hyper["eps"])


def _rmsprop(hyper: Hyper, mask: Mask) -> optax.GradientTransformation:
    return optax.rmsprop(1.0, decay=hyper["decay"], eps=hyper["eps"])


def _lion(hyper: Hyper, mask: Mask) -> optax.GradientTransformation:
    return optax.lion(1.0, b1=hyper["b1"], b2=hyper["b2"], weight_decay=hyper["weight_decay"], mask=mask)


def _lamb(hyper: Hyper, mask: Mask) -> optax.GradientTransformation:
    constants = {name: hyper[name] for name in ("b1", "b2", "eps", "weight_decay")}
    return optax.lamb(1.0, **constants, mask=mask)


@dataclass(frozen=True)
class _Layerwise:
    """LARS, or LAMB with its options: what takes its rate inside. The caller multiplies again, so it is divided out.

    Inside the momentum, a step added before the rate fell keeps its length; momentum outside shrinks it with the rate.
    `optax.sgd` and the rest of the table put the rate last, so one multiplication by the caller is the same.
    """

    transformation: Callable[..., optax.GradientTransformation]
    constants: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, hyper: Hyper, mask: Mask) -> optax.GradientTransformation:
        rate = jnp.asarray(hyper.get("lr", 1.0), jnp.float32)
        options = self.options if mask is None else {**self.options, "weight_decay_mask": mask}
        inner = self.transformation(rate, **{name: hyper[name] for name in self.constants}, **options)

        def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
            steps, state = inner.update(updates, state, params)
            # At a rate of zero nothing is added to the momentum, whose steps are whole ones: see `Optimizer.length`.
            inverse = jnp.where(rate > 0, 1 / jnp.where(rate > 0, rate, 1), 1)
            return jax.tree.map(lambda step: step * inverse.astype(step.dtype), steps), state

        return optax.GradientTransformation(inner.init, update)


def _muon(hyper: Hyper, mask: Mask) -> optax.GradientTransformation:
    return contrib.muon(1.0, beta=hyper["beta"], weight_decay=hyper["weight_decay"], weight_decay_mask=mask)


_MOMENTS = {"b1": 0.9, "b2": 0.999, "eps": 1e-8}
_LARS = {"momentum": 0.9, "weight_decay": 5e-4, "trust_coefficient": 1e-3}
_OPTAX_LARS = {**_LARS, "weight_decay": 1e-4}
_LAMB = {"b1": 0.9, "b2": 0.999, "eps": 1e-6, "weight_decay": 0.01}

BY_NAME: Mapping[str, Optimizer] = {
    optimizer.name: optimizer
    for optimizer in (
        Optimizer("sgd", _sgd, {}, 0.1),
        Optimizer("momentum", _momentum, {"momentum": 0.9}, 0.02),
        Optimizer("nesterov", _nesterov, {"momentum": 0.9}, 0.02),
        Optimizer("adam", _adam, _MOMENTS, 1e-3),
        Optimizer("adamw", _adamw, {**_MOMENTS, "weight_decay": 1e-4}, 1e-3),
        Optimizer("adagrad", _adagrad, {"eps": 1e-7}, 1e-2),
        Optimizer("rmsprop", _rmsprop, {"decay": 0.9, "eps": 1e-8}, 1e-3),
        Optimizer("lion", _lion, {"b1": 0.9, "b2": 0.99, "weight_decay": 1e-3}, 1e-4),
        Optimizer("lamb", _lamb, {**_MOMENTS, "eps": 1e-6, "weight_decay": 0.0}, 5e-3),
        Optimizer("lars", _Layerwise(optax.lars, tuple(_OPTAX_LARS)), _OPTAX_LARS, 5.0),
        Optimizer("lars_paper", _Layerwise(layerwise.lars, tuple(_LARS)), _LARS, 5.0),
        Optimizer("lamb_paper", _Layerwise(layerwise.lamb, tuple(_LAMB)), _LAMB, 5e-3),
        Optimizer("muon", _muon, {"beta": 0.95, "weight_decay": 0.0}, 2e-2),
    )
}
"""Optimisers by name. `lr` is a usual starting point at batches of about 64, not a recommendation for your data."""


def layerwise_named(name: str, **options: Any) -> Optimizer:
    """LARS or LAMB of the papers with `options` of `layerwise.lars` and `lamb` that are no numbers, for `Task`.

    - `name`: "lars_paper" or "lamb_paper".
    - `excluded`: which layers keep ratio 1 and no weight decay. `stacked_axes`: leaves that hold many layers.
    - `clamp`, `bias_correction`: of LAMB.

    Raises `ArgumentError` for other names and options.

    >>> layerwise_named("lamb_paper", stacked_axes={"blocks.weight": 0}, clamp=(0.0, 10.0)).lr
    0.005
    """
    known = BY_NAME.get(name)
    if known is None or not isinstance(known.form, _Layerwise) or name == "lars":
        why = "no other takes such options"
        raise ArgumentError(must("name", "be 'lars_paper' or 'lamb_paper'", name, why, "'lamb_paper'"))
    taken = ["excluded", "stacked_axes", *(["clamp", "bias_correction"] if name == "lamb_paper" else [])]
    for option in options:
        if option not in taken:
            raise ArgumentError(must("options", f"be of {name}", option, "it has no such one", nearest(option, taken)))
    form = replace(known.form, options=options)
    form(known.hyper, None)  # Refuses what it cannot take now, not when it is traced.
    return replace(known, form=form)


def optimizer_named(
    optimizer: str | Optimizer | optax.GradientTransformation, hyper: Mapping[str, float] | None = None
) -> Optimizer:
    """The optimiser of that name with `hyper` over its defaults, or a wrapper around any optax transformation.

    A transformation of the user's keeps its own learning rate, which is `lr` where it can be read
    (`ladle.jax.transformation`). An `Optimizer` is taken as it is, with `hyper` over its own. Raises `ArgumentError`
    for unknown names and constants.

    >>> optimizer_named("adam", {"b2": 0.99}).hyper["b2"]
    0.99
    """
    if isinstance(optimizer, Optimizer):
        return _with(optimizer, hyper or {})
    if not isinstance(optimizer, str):
        if not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
            raise ArgumentError(
                must(
                    "optimizer",
                    "be a name or an optax transformation",
                    optimizer,
                    "it has no init and update",
                    "'adam'",
                )
            )
        rate = own_rate(optimizer)
        require_constants(hyper or {})
        return Optimizer("custom", _Constant(optimizer), dict(hyper or {}), rate, unit=rate or 1.0)
    if optimizer not in BY_NAME:
        raise ArgumentError(
            must(
                "optimizer", "be a known name", optimizer, "ladle knows optax's usual ones", nearest(optimizer, BY_NAME)
            )
        )
    return _with(BY_NAME[optimizer], hyper or {})


def _with(known: Optimizer, hyper: Mapping[str, float]) -> Optimizer:
    """`known` with `hyper` over its constants."""
    for name in hyper:
        if name not in known.hyper and name not in SHARED:
            be, found = f"be a constant of {known.name}", nearest(name, [*known.hyper, *SHARED])
            raise ArgumentError(must(f"hyper[{name!r}]", be, name, "it has no such one", found))
    require_constants(hyper)
    return replace(known, hyper={**known.hyper, **hyper})


def without_decay(optimizer: Optimizer, patterns: tuple[str, ...]) -> Optimizer:
    """`optimizer` whose weight decay leaves alone the parameters that `patterns` mean by their paths.

    Raises `ArgumentError` for an optimiser without weight decay of its own, and for the papers' LARS and LAMB, which
    name what they exclude themselves.
    """
    if not patterns:
        return optimizer
    if optimizer.name in ("lars_paper", "lamb_paper"):
        why = "its excluded layers have no decay, and a ratio of one besides"
        remedy = f"ladle.layerwise({optimizer.name!r}, excluded=...)"
        raise ArgumentError(must("no_decay", f"be left out with {optimizer.name}", patterns, why, remedy))
    if "weight_decay" not in optimizer.hyper:
        if optimizer.is_custom:
            why, remedy = "the transformation decays as it was made to", "the mask of the transformation, or 'adamw'"
        else:
            why, remedy = f"{optimizer.name} has no weight decay", "optimizer='adamw'"
        raise ArgumentError(must("no_decay", "come with an optimiser that decays", optimizer.name, why, remedy))
    return replace(optimizer, no_decay=patterns)


@dataclass(frozen=True, eq=False)
class _Constant:
    """A user's transformation: the same whatever the constants."""

    transformation: optax.GradientTransformation

    def __call__(self, hyper: Hyper, mask: Mask) -> optax.GradientTransformation:
        return self.transformation
