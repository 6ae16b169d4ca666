"""Where the weight of an update is known before its end, each part is divided on the way: the same bits, or undone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from ladle.torch.update import Update


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))


def rows(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    drawn = torch.Generator().manual_seed(1)
    return torch.randn(count, 5, generator=drawn), torch.randint(0, 3, (count,), generator=drawn)


def loss(model: nn.Module, batch: Any) -> torch.Tensor:
    return nn.functional.cross_entropy(model(batch[0]), batch[1], reduction="none")


def updated(model: nn.Module, size: int = 4) -> Update:
    return Update(model, torch.optim.SGD(model.parameters(), lr=0.0), micro_size=size)


def gradients(model: nn.Module) -> list[torch.Tensor]:
    return [leaf.grad.clone() for leaf in model.parameters() if leaf.grad is not None]


def of_sums(batch: tuple[torch.Tensor, torch.Tensor], size: int, micro: int) -> list[torch.Tensor]:
    """The slow way, of the first `size` rows: the sum over all parts, then one division."""
    model = net()
    for at in range(0, size, micro):
        loss(model, (batch[0][at : at + micro], batch[1][at : at + micro])).sum().backward()
    return [one / size for one in gradients(model)]


@pytest.mark.parametrize("size", [8, 16, 12])
def test_divided_on_the_way_or_at_the_end_the_bits_are_the_same(size: int):
    model = net()
    done = updated(model)(rows(size), loss)
    wanted = of_sums(rows(size), size, 4)
    for found, one in zip(gradients(model), wanted, strict=True):
        if size & (size - 1) == 0:
            assert torch.equal(found, one)
        else:  # Multiplied by 1 / 12, which is rounded.
            torch.testing.assert_close(found, one)
    assert done.grad_norm == pytest.approx(float(torch.cat([one.flatten() for one in wanted]).norm()), rel=1e-6)


def test_weights_that_come_in_a_later_part_undo_it():
    """The first part gives a loss a row, the second losses with weights: the sum of all weights divides."""
    model, batch = net(), rows(8)
    update = updated(model)
    for at, part in enumerate(update.parts(batch)):
        found = loss(model, part.data)
        part.backward(found if at == 0 else (found, torch.full_like(found, 3.0)))
    done = update.step()
    assert done.weight == 16
    other = net()
    w = torch.tensor([1.0] * 4 + [3.0] * 4)
    ((loss(other, batch) * w).sum() / 16).backward()
    for found, wanted in zip(gradients(model), gradients(other), strict=True):
        torch.testing.assert_close(found, wanted)


def test_an_update_that_is_ended_early_is_the_mean_of_what_came():
    model = net()
    update = updated(model)
    parts = update.parts(rows(16))
    for _ in range(2):
        part = next(parts)
        part.backward(loss(model, part.data))
    assert update.step().weight == 8
    for found, wanted in zip(gradients(model), of_sums(rows(16), 8, 4), strict=True):
        torch.testing.assert_close(found, wanted)
