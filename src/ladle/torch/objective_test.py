"""The objective of a module: which losses are taken and how, fresh parameters by seed, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from ladle.core.errors import ArgumentError
from ladle.torch.objective import objective

ROWS = {"x": torch.randn(5, 4), "y": torch.tensor([0, 1, 2, 1, 0])}


class Net(nn.Linear):
    def __init__(self) -> None:
        super().__init__(4, 3)


def own(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(outputs, y, reduction="none")


def of_model(model: nn.Module, batch: Any) -> torch.Tensor:
    return own(model(batch["x"]), batch["y"])


@pytest.mark.parametrize(
    "loss", [None, "cross_entropy", nn.CrossEntropyLoss(), functional.cross_entropy, own, of_model]
)
def test_losses_of_every_kind_are_one_a_row(loss: Any):
    made = objective(Net, loss, None, "classification")
    model = made.fresh(0)
    found, metrics = made.losses(model, ROWS)
    values = found[0] if isinstance(found, tuple) else found
    torch.testing.assert_close(values, own(model(ROWS["x"]), ROWS["y"]))
    assert list(metrics) == ([] if loss is of_model else ["accuracy"])
    assert made.name == "Net" and made.direction("accuracy" if metrics else "loss") if metrics else True


def test_parameters_are_those_of_the_seed_or_of_the_module():
    made = objective(Net, None, None, "classification")
    before = torch.get_rng_state()
    one, two, other = made.fresh(1), made.fresh(1), made.fresh(2)
    assert torch.equal(one.weight, two.weight) and not torch.equal(one.weight, other.weight)
    assert torch.equal(before, torch.get_rng_state())
    given = Net()
    kept = objective(given, None, None, "classification")
    first = given.weight.detach().clone()
    with torch.no_grad():
        given.weight.zero_()
    assert torch.equal(kept.fresh(3).weight, first)


def test_batch_statistics_are_no_sum_over_rows():
    assert objective(Net, None, None, "classification").additive
    assert not objective(lambda: nn.Sequential(nn.BatchNorm1d(4), Net()), None, None, "classification").additive


@pytest.mark.parametrize(
    ("model", "loss", "why"),
    [
        (3, None, "torch module or make one"),
        (lambda: 3, None, "make a torch module"),
        (Net, "crossentropy", "try 'cross_entropy'"),
        (Net, 3, "a function, a torch loss or a name"),
        (Net, nn.MSELoss(reduction="sum"), "grows with the batch"),
        (Net, nn.BCELoss, "a function, a torch loss or a name"),
    ],
)
def test_refusals(model: Any, loss: Any, why: str):
    with pytest.raises(ArgumentError, match=why):
        objective(model, loss, None, "classification").make()
