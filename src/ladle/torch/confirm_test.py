"""What a child runs. Its functions are imported there by name, so this file imports little."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from ladle.core.errors import RunError
from ladle.core.moments import Gauge
from ladle.core.spec import BatchSpec
from ladle.torch.confirm import Job, Remade, confirm, hindrance
from ladle.torch.trace import Updating, trace

WIDE = 256


def make() -> nn.Module:
    return nn.Sequential(nn.Linear(8, WIDE), nn.Tanh(), nn.Linear(WIDE, 1))


def squares(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (outputs[:, 0] - y).square()


def loss(model: nn.Module, batch: Any) -> torch.Tensor:
    return squares(model(batch[0]), batch[1])


def adamw(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=1e-3)


BATCH = (torch.zeros(4, 8), torch.zeros(4))


@pytest.mark.slow
def test_a_child_measures_what_was_traced():
    specs = [BatchSpec(8192, 8192), BatchSpec(8192, 1000)]
    model = make()
    asked = Updating(model, loss, adamw(model.parameters()), BATCH, Gauge())
    measured = confirm(Job(make, loss, adamw, BATCH, Gauge()), specs)
    for spec, peak in zip(specs, measured, strict=True):
        assert trace(asked, spec).peak == pytest.approx(peak, rel=0.1, abs=5e6)


def fails(parameters: Any) -> torch.optim.Optimizer:
    raise MemoryError("no room for averages")


@pytest.mark.slow
def test_the_last_words_of_a_child_are_told():
    with pytest.raises(RunError, match="ended with code 1: MemoryError: no room for averages"):
        confirm(Job(make, loss, fails, BATCH), [BatchSpec(4, 4)])


def test_what_a_child_cannot_make_again_is_told():
    assert hindrance(Job(make, loss, adamw, BATCH)) is None
    assert hindrance(Job(lambda: make(), loss, adamw, BATCH)) == "the model is not importable by a name"
    made = Remade.of(torch.optim.AdamW(make().parameters(), lr=torch.tensor(0.5), betas=(0.8, 0.9)))
    group = made(make().parameters()).param_groups[0]
    assert group["lr"] == 0.5 and group["betas"] == (0.8, 0.9)
    assert hindrance(Job(make, loss, made, BATCH)) is None
