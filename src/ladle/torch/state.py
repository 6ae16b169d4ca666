"""`State`: what an update changes: a module and its optimiser, both mutated in place, and the constants in force."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from ladle.core.backend import Weight
from ladle.core.constants import CLIP
from ladle.core.errors import ArgumentError, must
from ladle.torch.ranks import ONE, Ranks
from ladle.torch.tree import mapped
from ladle.torch.update import Update


@dataclass
class State:
    """A module, its optimiser, and what belongs to them.

    - `hyper`: the optimiser's constants and `lr`. `seed`: of every random number, with the position.
    - `shares`: what each group's rate is to the first one's. `metrics`: names of those that are measured.
    - `ranks`: processes that each have a copy of it.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    hyper: dict[str, float]
    seed: int
    shares: tuple[float, ...]
    metrics: tuple[str, ...] = ()
    ranks: Ranks = ONE

    @cached_property
    def update(self) -> Update:
        """What makes its updates. A refusal is in the record, so it is not said."""
        how: dict[str, Any] = {
            "metrics": self.metrics,
            "warn": False,
            "ranks": self.ranks,
            "clip": self.hyper.get(CLIP),
        }
        return Update(self.model, self.optimizer, seed=self.seed, **how)

    @cached_property
    def compiled(self) -> bool:
        """Whether a part of the module is compiled, so that every micro-batch had better have one shape."""
        return any("_orig_mod" in vars(part)["_modules"] for part in self.model.modules())

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        """Parameters and buffers by name, as `nn.Module.state_dict` has them."""
        return self.model.state_dict()

    @property
    def rule(self) -> str:
        """The optimiser's class."""
        return type(self.optimizer).__name__

    def kept(self) -> Kept:
        """All of it in memory of its own, on the host."""
        weights = {name: leaf.detach().to("cpu", copy=True) for name, leaf in self.weights.items()}
        averages = mapped(_on_host, self.optimizer.state_dict()["state"])
        return Kept(weights, averages, dict(self.hyper), self.seed, self.rule)

    def put(self, kept: Kept) -> State:
        """This state with what `kept` holds, in place."""
        self.model.load_state_dict(kept.weights)
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": copy.deepcopy(kept.averages), "param_groups": groups})
        self.seed, self.hyper = kept.seed, dict(kept.hyper)
        self.__dict__.pop("update", None)
        return self


@dataclass(frozen=True)
class Kept:
    """A state as tensors of the host: what is kept in memory, sent to another process, and written."""

    weights: dict[str, torch.Tensor]
    averages: dict[Any, dict[str, Any]]
    hyper: dict[str, float]
    seed: int
    rule: str

    def kept(self) -> Kept:
        return self


def _on_host(leaf: Any) -> Any:
    return leaf.detach().to("cpu", copy=True) if isinstance(leaf, torch.Tensor) else leaf


WEIGHT = "model."
"""What the path of a weight in a state begins with."""


def type_of(tensor: torch.Tensor) -> str:
    """`float32` for `torch.float32`."""
    return str(tensor.dtype).removeprefix("torch.")


def weight_types(weights: Mapping[str, torch.Tensor]) -> dict[str, Weight]:
    """Name, place in a state, type and shape of every weight."""
    return {name: Weight(WEIGHT + name, type_of(leaf), tuple(leaf.shape)) for name, leaf in weights.items()}


def arrays_of(weights: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """Copies of all weights as NumPy arrays. Raises `ArgumentError` for types that NumPy has not, such as bfloat16."""
    for name, leaf in weights.items():
        if leaf.dtype is torch.bfloat16:
            why = "NumPy has no such numbers"
            raise ArgumentError(must(f"weight {name}", "be of a type of NumPy's", "bfloat16", why, "model.float()"))
    return {name: leaf.detach().to("cpu", copy=True).numpy() for name, leaf in weights.items()}
