"""The room by itself: loading it loads no JAX, and not even torch before something of it is used."""

from __future__ import annotations

from collections.abc import Callable


def test_it_loads_no_jax(fresh_python: Callable[..., str]):
    code = """
import sys, ladle.torch
before = "torch" in sys.modules
import torch
from torch import nn
update = ladle.torch.Update(model := nn.Linear(3, 2), torch.optim.SGD(model.parameters(), lr=0.1), gauge=ladle.Gauge())
loss = ladle.torch.per_row(nn.CrossEntropyLoss())
batch = torch.randn(8, 3), torch.randint(0, 2, (8,))
update(batch, lambda model, batch: loss(model(batch[0]), batch[1]))
loaded = {name.partition(".")[0] for name in sys.modules}
print(before, update.updates, sorted({"jax", "jaxlib", "optax", "equinox", "orbax"} & loaded))
"""
    assert fresh_python(code).strip() == "False 1 []"


def test_every_name_is_there():
    import ladle.torch

    assert all(getattr(ladle.torch, name) is not None for name in ladle.torch.__all__)
