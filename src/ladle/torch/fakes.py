"""Copies to measure with: of a module, its optimiser and a batch, as fake tensors without memory, or as real ones."""

from __future__ import annotations

import copy
import types
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode

from ladle.torch.tree import has_rows, mapped

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def plain(model: nn.Module) -> nn.Module:
    """The module below what `torch.compile` and `DistributedDataParallel` put around it: those cannot be copied."""
    while True:
        if isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        elif isinstance(model, nn.parallel.DistributedDataParallel):
            model = model.module
        else:
            return model


def fake_mode() -> FakeTensorMode:
    """A mode for a whole plan: fake tensors of two modes do not mix. Constants of a loss may be real."""
    return FakeTensorMode(allow_non_fake_inputs=True)


def copied(model: nn.Module, mode: FakeTensorMode | None = None) -> nn.Module:
    """A copy of a module, of fake tensors where there is a `mode`; ties and the training mode of each part are kept.

    Hooks that are functions are left out: what they write to is the user's. Objects (as `weight_norm` and pruning have
    them) are copied with the module. Raises whatever copying raises.
    """
    within = nullcontext() if mode is None else FakeCopyMode(mode)
    with within:
        made = copy.deepcopy(plain(model))
    for part in made.modules():
        vars(part).update(_without_functions(part))
    return made if made.training else made.train()


def _without_functions(part: nn.Module) -> dict[str, OrderedDict[int, Any]]:
    """The hooks of a module that are objects, by the names of their tables."""
    tables = {name: vars(part).get(name) or {} for name in HOOKS}
    return {
        name: OrderedDict((key, hook) for key, hook in table.items() if not isinstance(hook, types.FunctionType))
        for name, table in tables.items()
    }


@contextmanager
def borrowed(model: nn.Module, mode: FakeTensorMode) -> Iterator[nn.Module]:
    """The module itself with fake tensors in it, for one that cannot be copied; its own come back at the end."""
    inner, known = plain(model), dict[int, torch.Tensor]()
    before = [(part, dict(part._parameters), dict(part._buffers), set_aside(part)) for part in inner.modules()]

    def fake(tensor: torch.Tensor | None) -> torch.Tensor | None:
        if tensor is None:
            return None
        if id(tensor) not in known:
            made = mode.from_tensor(tensor.detach(), static_shapes=True)
            known[id(tensor)] = nn.Parameter(made, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else made
        return known[id(tensor)]

    try:
        for part, parameters, buffers, _ in before:
            for held, own in ((part._parameters, parameters), (part._buffers, buffers)):
                held.update({name: fake(leaf) for name, leaf in own.items()})  # pyright: ignore
        yield inner if inner.training else inner.train()
    finally:
        for part, parameters, buffers, others in before:
            part._parameters.update(parameters)
            part._buffers.update(buffers)
            vars(part).update(others)


def set_aside(part: nn.Module) -> dict[str, Any]:
    """What a module had beside its tensors, now that its hooks of functions are off."""
    others = {name: vars(part).get(name) for name in (*HOOKS, "training")}
    vars(part).update(_without_functions(part))
    return others


@contextmanager
def twin(model: nn.Module, mode: FakeTensorMode) -> Iterator[nn.Module]:
    """A fake copy of the module, or the module itself with fakes in it where it cannot be copied."""
    try:
        made = copied(model, mode)
    except Exception:  # Locks, handles, tensors in the middle of a graph: there is no list of what cannot be copied.
        made = None
    within: AbstractContextManager[nn.Module] = borrowed(model, mode) if made is None else nullcontext(made)
    with within as found:
        yield found


def optimizer_for(
    optimizer: torch.optim.Optimizer | Callable[[Any], torch.optim.Optimizer],
    parameters: Sequence[torch.Tensor],
    twin: nn.Module,
    mode: FakeTensorMode | None = None,
) -> torch.optim.Optimizer:
    """The optimiser again for `twin`, a copy of the module that has these `parameters`: groups, constants, averages.

    Without hooks and schedule. Its constructor is not called: what it would want is not known. A function makes its
    own.
    """
    if not isinstance(optimizer, torch.optim.Optimizer):
        with mode or nullcontext():
            return optimizer(twin.parameters())
    pairs = list(zip(parameters, twin.parameters(), strict=True))
    memo: dict[int, Any] = {id(old): new for old, new in pairs}
    twins = {id(old): new for old, new in pairs}
    own = {
        name: value
        for name, value in vars(optimizer).items()
        if not callable(value) and "hooks" not in name and name not in ("state", "param_groups")
    }
    groups = [
        {name: _plain(value) if name != "params" else copy.deepcopy(value, memo) for name, value in group.items()}
        for group in optimizer.param_groups
    ]
    state: dict[Any, Any] = defaultdict(dict)
    for leaf, held in optimizer.state.items():
        state[twins.get(id(leaf), leaf)] = {name: _average(value, mode) for name, value in held.items()}
    made = object.__new__(type(optimizer))
    vars(made).update(copy.deepcopy(own, memo))
    vars(made).update({name: OrderedDict() for name in vars(optimizer) if "hooks" in name})
    vars(made).update({"state": state, "param_groups": groups})
    made._patch_step_function()  # What a constructor does at its end: hooks of profiles and steps.
    return made


def _plain(value: Any) -> Any:
    """A constant of a group, numbers for tensors of one: the fake of a rate would have no value."""
    return float(value) if isinstance(value, torch.Tensor) and value.numel() == 1 else copy.deepcopy(value)


def _average(value: Any, mode: FakeTensorMode | None) -> Any:
    """What an optimiser keeps of a parameter. Counts keep their value in a fake: the step reads them."""
    if not isinstance(value, torch.Tensor):
        return copy.deepcopy(value)
    if mode is None:
        return value.detach().clone()
    if value.numel() == 1 and value.device.type == "cpu":
        with mode:
            return torch.tensor(value.tolist(), dtype=value.dtype)
    return mode.from_tensor(value.detach(), static_shapes=True)


def fake_rows(batch: Any, rows: int, mode: FakeTensorMode) -> Any:
    """A fake batch of so many rows, of the kinds and shapes of `batch`. Arrays of NumPy have zeros."""

    def leaf_of(leaf: Any) -> Any:
        if isinstance(leaf, np.ndarray) and has_rows(leaf):
            return np.zeros((rows, *leaf.shape[1:]), leaf.dtype)
        if not isinstance(leaf, torch.Tensor):
            return leaf
        fake = mode.from_tensor(leaf.detach(), static_shapes=True)
        if not has_rows(leaf):
            return fake
        with mode:
            return fake.new_empty((rows, *leaf.shape[1:]))

    return mapped(leaf_of, batch)
