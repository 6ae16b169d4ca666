"""What a plan may not change: the state of every random generator, and the gradients of what it was handed."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from ladle.core.errors import ArgumentError, RunError, must
from ladle.torch.fakes import set_aside
from ladle.torch.place import accelerator


@contextmanager
def kept_generators() -> Iterator[None]:
    """Leaves every generator of the process as it was: Python's, NumPy's, torch's on the processor and on devices.

    >>> before = torch.get_rng_state()
    >>> with kept_generators():
    ...     _ = torch.rand(3)
    >>> torch.equal(before, torch.get_rng_state())
    True
    """
    python, numpy, torch_ = random.getstate(), np.random.get_state(), torch.get_rng_state()
    module = _accelerator()
    devices = module.get_rng_state_all() if module is not None else None
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(torch_)
        if module is not None and devices is not None:
            module.set_rng_state_all(devices)


def _accelerator() -> Any:
    """The module of the accelerator in use; None where none was started, whose generators nobody has drawn from."""
    found = accelerator()
    module = torch.get_device_module(found) if found is not None else None
    started = getattr(module, "is_initialized", lambda: True)
    return module if module is not None and hasattr(module, "get_rng_state_all") and started() else None


@contextmanager
def kept_gradients(parameters: Iterable[torch.Tensor]) -> Iterator[None]:
    """Puts `.grad` of the user's parameters back, and refuses a loss that reached them.

    A loss that calls a module from around it, and not the one it is given, would train that one in a measurement.
    """
    before = [(leaf, leaf.grad, None if leaf.grad is None else leaf.grad._version) for leaf in parameters]
    reached = False
    try:
        yield
    finally:
        for leaf, gradient, version in before:
            if leaf.grad is not gradient or (gradient is not None and gradient._version != version):
                leaf.grad, reached = gradient, True
    if reached:
        why = "what is measured is a copy, and gradients came to the parameters of the original"
        raise ArgumentError(
            must("loss", "use the model that it is given alone", "another", why, "loss(model, batch): model(batch[0])")
        )


@contextmanager
def kept_module(module: nn.Module) -> Iterator[nn.Module]:
    """The module itself to measure with, for one that cannot be copied: its tensors come back bit for bit.

    Their values wait on the host meanwhile. Raises `RunError` where one is not what it was afterwards.
    """
    tensors = [*module.parameters(), *module.buffers()]
    kept = [leaf.detach().to("cpu", copy=True) for leaf in tensors]
    gradients = [(leaf, leaf.grad) for leaf in module.parameters()]
    others = [(part, set_aside(part)) for part in module.modules()]
    for leaf, _ in gradients:
        leaf.grad = None
    try:
        yield module if module.training else module.train()
    finally:
        with torch.no_grad():
            for leaf, was in zip(tensors, kept, strict=True):
                leaf.copy_(was)
        for leaf, gradient in gradients:
            leaf.grad = gradient
        for part, was in others:
            vars(part).update(was)
    now = [*module.parameters(), *module.buffers()]
    if any(one is not two for one, two in zip(now, tensors, strict=True)) or not all(
        torch.equal(leaf.detach().to("cpu").view(torch.uint8), was.view(torch.uint8))
        for leaf, was in zip(tensors, kept, strict=True)
        if leaf.ndim
    ):
        raise RunError("a measurement changed the module, which could neither be copied nor put back as it was")
