"""Optimisers by name, where `torch.optim` has the rule that the name means, and any other as a function of the user's.

Constants have the names that ladle's policies and couplings move: `lr`, `b1`, `b2`, `eps`, `momentum`, `weight_decay`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from ladle.core.constants import CLIP, CLIP_VALUE, EMA, require_constants
from ladle.core.errors import ArgumentError, must, nearest
from ladle.torch.refuse import require_usable

Make = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


@dataclass(frozen=True)
class Optimizer:
    """Implements `ladle.core.backend.Optimizer`. `make(parameters)`: a fresh one, at its own constants.

    - `hyper`: the constants that a run begins with. `own`: those that `make` has inside.
    """

    name: str
    make: Make
    own: Mapping[str, float] = field(default_factory=dict)
    lr: float | None = None
    hyper: Mapping[str, float] = field(default_factory=dict)


def _named(name: str, kind: Callable[..., Any], lr: float, hyper: Mapping[str, float], **fixed: Any) -> Optimizer:
    def make(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        made = kind(parameters, lr=lr, **fixed)
        set_constants(made, constants_of(made), hyper)
        return made

    return Optimizer(name, make, {**hyper, "lr": lr}, lr, hyper)


_MOMENTS = {"b1": 0.9, "b2": 0.999, "eps": 1e-8}

BY_NAME: Mapping[str, Optimizer] = {
    made.name: made
    for made in (
        _named("sgd", torch.optim.SGD, 0.1, {}),
        _named("momentum", torch.optim.SGD, 0.02, {"momentum": 0.9}, momentum=0.9),
        _named("nesterov", torch.optim.SGD, 0.02, {"momentum": 0.9}, momentum=0.9, nesterov=True),
        _named("adam", torch.optim.Adam, 1e-3, _MOMENTS),
        _named("adamw", torch.optim.AdamW, 1e-3, {**_MOMENTS, "weight_decay": 1e-4}),
        _named("adagrad", torch.optim.Adagrad, 1e-2, {"eps": 1e-7}, initial_accumulator_value=0.1),
    )
}
"""Those whose steps are the JAX backend's. `lr` is a usual starting point at batches of about 64."""


def optimizer_of(rule: Any, hyper: Mapping[str, float] | None = None) -> Optimizer:
    """The optimiser of that name, or of a function `parameters -> torch.optim.Optimizer`, with `hyper` over its own.

    >>> optimizer_of(lambda p: torch.optim.AdamW(p, lr=3e-4)).lr, optimizer_of("adamw").hyper["weight_decay"]
    (0.0003, 0.0001)

    Raises `ArgumentError` for unknown names and constants, and for an optimiser of one module.
    """
    if isinstance(rule, torch.optim.Optimizer):
        why = "it holds the parameters of one module, and every run has a module of its own"
        remedy = f"lambda parameters: torch.optim.{type(rule).__name__}(parameters)"
        raise ArgumentError(must("optimizer", "be a function that makes one", type(rule).__name__, why, remedy))
    if isinstance(rule, str) and rule not in BY_NAME:
        why, remedy = "torch.optim has no equal rule", nearest(rule, BY_NAME) + ", or lambda p: torch.optim.RMSprop(p)"
        raise ArgumentError(must("optimizer", "be a known name", rule, why, remedy))
    known = rule if isinstance(rule, Optimizer) else BY_NAME[rule] if isinstance(rule, str) else _of_function(rule)
    for name in hyper or {}:
        if name in (CLIP_VALUE, EMA):
            why = "the torch backend bounds the gradient's norm, and keeps no average of the weights"
            remedy = "clip=1.0" if name == CLIP_VALUE else "torch.optim.swa_utils.AveragedModel in a loop of your own"
            raise ArgumentError(must(name, "be left out on torch", (hyper or {})[name], why, remedy))
        if name not in known.hyper and name != CLIP:
            why, remedy = "it has no such one", nearest(name, known.hyper)
            raise ArgumentError(must(f"hyper[{name!r}]", f"be a constant of {known.name}", name, why, remedy))
    require_constants(hyper or {})
    return replace(known, hyper={**known.hyper, **(hyper or {})})


def _of_function(make: Make | Any) -> Optimizer:
    if not callable(make):
        why, remedy = "each run makes one for its module", "'adamw', or lambda p: torch.optim.AdamW(p)"
        raise ArgumentError(must("optimizer", "be a name or a function", type(make).__name__, why, remedy))
    made: Any = make([nn.Parameter(torch.zeros(2, 2))])
    require_usable(nn.Linear(1, 1), made)
    found = constants_of(made)
    lr = found.pop("lr", None)
    rule: Any = make
    return Optimizer(type(made).__name__.lower(), rule, {**found, "lr": lr or 1.0}, lr, found)


PLAIN = ("eps", "momentum", "weight_decay", "dampening", "alpha", "momentum_decay")
"""Constants that are called the same in a parameter group."""


def trained(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """The parameters that its steps move, group by group: those that require gradients."""
    return [leaf for group in optimizer.param_groups for leaf in group["params"] if leaf.requires_grad]


def constants_of(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """The constants of its first group, by ladle's names.

    >>> constants_of(torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.5))["momentum"]
    0.5
    """
    group = optimizer.param_groups[0]
    found = {"lr": float(group["lr"])} if "lr" in group else {}
    if isinstance(group.get("betas"), tuple) and len(group["betas"]) == 2:
        found |= dict(zip(("b1", "b2"), map(float, group["betas"]), strict=True))
    plain = {name: group[name] for name in PLAIN if isinstance(group.get(name), int | float)}
    return {**found, **{name: float(value) for name, value in plain.items() if not isinstance(value, bool)}}


def set_constants(optimizer: torch.optim.Optimizer, old: Mapping[str, float], new: Mapping[str, float]) -> None:
    """Put constants in force, all but the rate. Groups that had a value of their own keep it."""
    moved = {name: value for name, value in new.items() if name != "lr" and value != old.get(name)}
    for group in optimizer.param_groups:
        for at, name in enumerate(("b1", "b2")):
            if name in moved and group["betas"][at] == old[name]:
                betas = list(group["betas"])
                betas[at] = moved[name]
                group["betas"] = tuple(betas)
        for name in PLAIN:
            if name in moved and group[name] == old.get(name):
                group[name] = moved[name]


def set_rate(optimizer: torch.optim.Optimizer, shares: Iterable[float], lr: float) -> None:
    """The rate of each group: `lr` times its share, what its rate was to the first one's."""
    for group, share in zip(optimizer.param_groups, shares, strict=True):
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(lr * share)
        else:
            group["lr"] = lr * share


def shares_of(optimizer: torch.optim.Optimizer) -> tuple[float, ...]:
    """What the rate of each group is to the first one's."""
    rates = [float(group["lr"]) for group in optimizer.param_groups]
    return tuple(rate / rates[0] if rates[0] else 1.0 for rate in rates)
