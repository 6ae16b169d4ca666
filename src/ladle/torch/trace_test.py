"""Traces: what they predict, and that nothing of the user's is touched."""

from __future__ import annotations

import copy
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from ladle.core.errors import ArgumentError
from ladle.core.moments import Gauge
from ladle.core.spec import BatchSpec
from ladle.torch.fakes import copied, optimizer_for
from ladle.torch.ledger import Ledger
from ladle.torch.trace import Untraceable, Updating, counted, trace


class Net(nn.Module):
    """Tied weights, dropout, batch norm."""

    def __init__(self, wide: int = 64, saves: bool = False) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(wide, wide), nn.Linear(wide, wide)
        self.two.weight = self.one.weight
        self.norm, self.drop, self.saves = nn.BatchNorm1d(wide), nn.Dropout(0.3), saves

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        def block(x: torch.Tensor) -> torch.Tensor:
            return torch.tanh(self.two(self.drop(torch.relu(self.one(x)))))

        for _ in range(4):
            x = checkpoint(block, x, use_reentrant=False) if self.saves else block(x)
        return self.norm(x)


def squares(model: nn.Module, batch: Any) -> torch.Tensor:
    return (model(batch[0]) - batch[1]).square().mean(1)


def updating(model: nn.Module | None = None, loss: Any = squares, **how: Any) -> Updating:
    model = model or Net()
    optimizer = torch.optim.AdamW(model.parameters())
    return Updating(model, loss, optimizer, (torch.zeros(4, 64), torch.zeros(4, 64)), **how)


def state_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> Any:
    hooks = [dict(part._forward_hooks) for part in model.modules()]
    grads = [leaf.grad for leaf in model.parameters()]
    tensors = {name: (id(leaf), leaf.clone()) for name, leaf in model.state_dict(keep_vars=True).items()}
    return tensors, grads, hooks, copy.deepcopy(optimizer.state_dict()), [part.training for part in model.modules()]


def generators() -> tuple[Any, ...]:
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()


def same(one: Any, two: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(same, one, two))
    return one is two or one == two


@pytest.mark.parametrize("copies", [True, False])
def test_nothing_of_the_users_changes(copies: bool):
    model, seen = Net(), []
    if not copies:
        model.lock = (_ for _ in ())  # A generator cannot be copied.
    optimizer = torch.optim.AdamW(model.parameters())
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5)
    squares(model, (torch.randn(8, 64), torch.randn(8, 64))).sum().backward()
    optimizer.step()
    if copies:
        model.one.register_forward_hook(lambda *of: seen.append(of))
    model.eval()
    before, drawn = state_of(model, optimizer), generators()

    def noisy(model: nn.Module, batch: Any) -> torch.Tensor:
        random.random(), np.random.rand()
        return squares(model, batch)

    found = trace(Updating(model, noisy, optimizer, (torch.zeros(4, 64), torch.zeros(4, 64))), BatchSpec(32, 16))
    assert found.peak > 0 and seen == []
    assert same(before, state_of(model, optimizer)) and drawn == generators()
    assert model.one.weight is model.two.weight and type(model.one.weight.data) is torch.Tensor


@pytest.mark.parametrize("spec", [BatchSpec(32, 32), BatchSpec(70, 32)])
@pytest.mark.parametrize("measured", [False, True])
def test_a_trace_is_what_is_allocated(spec: BatchSpec, measured: bool):
    """The same count with real tensors: equal but for the numbers of a few bytes that a step reads."""
    model = Net(saves=True)
    asked = updating(model, gauge=Gauge() if measured else None)
    batch = (torch.randn(spec.size, 64), torch.randn(spec.size, 64))
    found = []
    for cut in {False, measured}:
        real = copied(model)
        found.append(
            counted(real, optimizer_for(asked.optimizer, list(model.parameters()), real), batch, asked, spec, cut).peak
        )
    assert trace(asked, spec).peak == pytest.approx(max(found), abs=2000)


def test_the_split_is_of_what_it_says():
    found, weight = trace(updating(), BatchSpec(64, 64)), 4 * (64 * 64 + 2 * 64)
    assert found.parameters == weight + 4 * 4 * 64 + 8  # Norm: weight, bias, mean, variance, and a count.
    assert found.optimizer >= 2 * weight and found.batch == 2 * 64 * 64 * 4
    assert trace(updating(), BatchSpec(1024, 1024)).activations > 10 * 1024 * 64 * 4


def test_checkpoints_autocast_and_accumulation_save_what_they_save():
    whole = BatchSpec(2048, 2048)
    plain = trace(updating(), whole).peak
    assert trace(updating(Net(saves=True)), whole).peak < 0.9 * plain
    assert trace(updating(), BatchSpec(2048, 256)).peak < 0.5 * plain

    def half(model: nn.Module, batch: Any) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return squares(model, batch)

    assert trace(updating(loss=half), whole).peak < 0.85 * plain


def test_every_row_costs_the_same():
    peaks = [trace(updating(), BatchSpec(size, size)).peak for size in (1024, 2048, 3072)]
    assert peaks[2] - peaks[1] == pytest.approx(peaks[1] - peaks[0], rel=1e-3)


@pytest.mark.parametrize(
    "kind", [torch.optim.SGD, torch.optim.NAdam, torch.optim.RMSprop, torch.optim.Adagrad, torch.optim.Adamax]
)
def test_optimisers_are_copied_with_their_groups(kind: Any):
    model = Net()
    groups = [{"params": [model.one.weight], "lr": 0.5}, {"params": [model.norm.weight], "lr": torch.tensor(0.25)}]
    optimizer = kind(groups) if kind is not torch.optim.NAdam else kind([groups[0]])
    made = optimizer_for(optimizer, list(model.parameters()), twin := copied(model))
    assert made.param_groups[0]["params"][0] is twin.one.weight and made.param_groups[0]["lr"] == 0.5
    assert trace(Updating(model, squares, optimizer, (torch.zeros(1, 64),) * 2), BatchSpec(8, 8)).peak > 0


def test_fused_steps_are_traced():
    model = Net()
    fused = Updating(model, squares, torch.optim.AdamW(model.parameters(), fused=True), (torch.zeros(1, 64),) * 2)
    assert trace(fused, BatchSpec(8, 8)).peak <= trace(updating(model), BatchSpec(8, 8)).peak


def picks(model: nn.Module, batch: Any) -> torch.Tensor:
    return squares(model, (batch[0], batch[1])) + 0 * batch[1].nonzero().sum()


def reads(model: nn.Module, batch: Any) -> torch.Tensor:
    return squares(model, batch) * float(batch[0].sum() > 0)


@pytest.mark.parametrize(("loss", "operation"), [(picks, "nonzero"), (reads, ".item()")])
def test_the_operation_that_stands_in_the_way_is_named(loss: Any, operation: str):
    with pytest.raises(Untraceable, match=r"trace_test\.py:\d+") as refused:
        trace(updating(loss=loss), BatchSpec(8, 8))
    assert refused.value.operation == operation


def test_a_loss_that_is_reduced_is_refused_with_the_shape():
    with pytest.raises(ArgumentError, match=r"one number per row, shape \(8,\)"):
        trace(updating(loss=lambda model, batch: squares(model, batch).mean()), BatchSpec(8, 8))


def test_a_loss_around_another_module_is_refused_and_trains_nothing():
    other = Net()
    asked = updating(other, loss=lambda model, batch: squares(other, batch))
    with pytest.raises((ArgumentError, Untraceable)):
        trace(asked, BatchSpec(8, 8))
    assert all(leaf.grad is None for leaf in other.parameters())


def test_the_library_tells_what_its_recurrent_layer_keeps():
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.LSTM(16, 32, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x)[0][:, -1]

    model, batch = Recurrent(), (torch.randn(24, 10, 16), torch.randn(24, 32))
    asked = Updating(model, squares, torch.optim.SGD(model.parameters()), batch)
    real = copied(model)
    found = counted(
        real, optimizer_for(asked.optimizer, list(model.parameters()), real), batch, asked, BatchSpec(24, 24), False
    )
    assert trace(asked, BatchSpec(24, 24)).peak == pytest.approx(found.peak, rel=0.05)


def test_the_ledger_forgets_what_is_gone():
    with Ledger() as ledger:
        for _ in range(3):
            torch.zeros(1000).add_(1)
    assert ledger.at_peak().peak in (4000, 8000)
