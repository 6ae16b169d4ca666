"""Things that cannot be done right in a PyTorch loop, each refused in one line that names the remedy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, IterableDataset

import ladle
from ladle.core.errors import ArgumentError
from ladle.core.moments import Gauge
from ladle.feed import Loader
from ladle.policy import NoiseFollow, Range
from ladle.torch.follow import Follow
from ladle.torch.loop_plan import question
from ladle.torch.update import Update

X, Y = torch.randn(64, 5, generator=torch.Generator().manual_seed(0)), torch.arange(64) % 3


def rows(model: nn.Module, batch: Any) -> torch.Tensor:
    return nn.functional.cross_entropy(model(batch["x"]), batch["y"], reduction="none")


def of_pairs(model: nn.Module, batch: Any) -> torch.Tensor:
    return rows(model, {"x": batch[0], "y": batch[1]})


def centred(model: nn.Module, batch: Any) -> torch.Tensor:
    """A loss by which rows depend on each other, with no layer that does."""
    outputs = model(batch["x"])
    return nn.functional.cross_entropy(outputs - outputs.mean(0), batch["y"], reduction="none")


def sgd(model: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD([*model.parameters()] or [nn.Parameter(torch.ones(1))], lr=0.1)


def update(model: nn.Module, **how: Any) -> Update:
    return Update(model, sgd(model), micro_size=8, **how)


def loader() -> Loader:
    return Loader({"x": X, "y": Y}, 16, to="torch")


class Again(nn.Module):
    """A layer used twice, computed again in the backward pass by hooks that give its gradient in pieces."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.last = nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(2):
            x = checkpoint(self.layer, x.requires_grad_() if x.is_leaf else x, use_reentrant=True)
        return self.last(x)


class Hooked(nn.Linear):
    _comm_hooks = ("one",)


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(zip(X, Y, strict=True))


ENGINE = type("Engine", (nn.Module,), {"__module__": "deepspeed.runtime.engine"})


def followed(loss: Any, model: nn.Module) -> None:
    made, batches = update(model, gauge=Gauge()), loader()
    Follow(NoiseFollow(Range(8, 64, micro_size=8)), None, batches, made)
    for batch in batches:
        made(batch, loss)


def planned(given: Any, **how: Any) -> Any:
    model = nn.Linear(5, 3)
    return ladle.torch.plan(model, of_pairs, given, sgd(model), budget=0.1, **how)


NORMED = nn.Sequential(nn.Linear(5, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))
BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "a loss already reduced": (
        lambda: update(nn.Linear(5, 3))({"x": X, "y": Y}, lambda m, b: rows(m, b).mean()),
        r"one number per row.*try ladle.torch.per_row",
    ),
    "reentrant checkpointing with a gauge": (
        lambda: update(Again(), gauge=Gauge())({"x": X.clone(), "y": Y}, rows),
        "use_reentrant=False",
    ),
    "hooks that are taken": (lambda: update(Hooked(5, 3)), "have no communication hook"),
    "closures": (lambda: Update(nn.Linear(5, 3), torch.optim.LBFGS(nn.Linear(5, 3).parameters())), "without a closure"),
    "DataParallel": (lambda: update(nn.DataParallel(nn.Linear(5, 3))), "DistributedDataParallel under torchrun"),
    "a DeepSpeed engine": (lambda: update(ENGINE()), "got 'a DeepSpeed engine'"),
    "a coupled model with a noise policy": (lambda: followed(rows, NORMED), "no gradient of its own.*try GroupNorm"),
    "a coupled loss with a noise policy": (
        lambda: followed(centred, nn.Linear(5, 3)),
        "sum over rows where its noise is measured",
    ),
    "rows that cannot be counted": (lambda: planned(DataLoader(Stream(), 16)), "try rows=1_000_000"),
    "not one example fits": (lambda: planned([(X, Y)], memory=100), "memory must be at least"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_done_right_is_refused_in_one_line(what: str):
    act, why = BAD[what]
    with pytest.raises(ArgumentError, match=why) as refused:
        act()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("of", [nn.BatchNorm1d(16), None])
def test_fit_refuses_a_noise_policy_for_what_is_no_sum_over_rows(of: nn.Module | None):
    def coupled(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(outputs - outputs.mean(0), y, reduction="none")

    def net() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), *([of] if of else []), nn.Linear(16, 10))

    task = ladle.torch.task(net, nn.CrossEntropyLoss() if of else coupled, "digits", optimizer="sgd", lr=0.1)
    with pytest.raises(ArgumentError, match="no gradient of its own"):
        ladle.fit(task, policy=NoiseFollow(Range(16, 64, micro_size=16)), until="1 epochs")


def test_trying_a_loss_changes_nothing_and_leaves_those_alone_that_are_sums():
    """Dropout draws the same in both passes; spectral norm moves a buffer in each, which is put back."""

    def train(gauge: Gauge | None) -> nn.Module:
        torch.manual_seed(0)
        spectral = nn.utils.parametrizations.spectral_norm(nn.Linear(5, 8))
        model = nn.Sequential(spectral, nn.Dropout(0.5), nn.Linear(8, 3))
        made = update(model, gauge=gauge, rng="user")
        torch.manual_seed(1)
        for _ in range(2):
            made({"x": X, "y": Y}, rows)
        return model

    plain, measured = train(None).state_dict(), train(Gauge(every=1)).state_dict()
    assert all(torch.allclose(leaf, measured[name], rtol=1e-5, atol=1e-7) for name, leaf in plain.items())


def test_a_plan_of_a_coupled_loss_has_no_noise_and_says_why():
    model = nn.Linear(5, 3)
    asked = question(model, centred, [{"x": X, "y": Y}], sgd(model))
    assert asked.probe.coupled and asked.probe.moments(ladle.BatchSpec(8, 4), 1).count == 0
    assert any("is another one among other rows" in note for note in asked.notes())
    assert not question(model, rows, [{"x": X, "y": Y}], sgd(model)).probe.coupled
