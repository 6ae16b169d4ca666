"""`Update` beside Accelerate and Fabric, and under `torch.compile`: nothing of it stands in their way."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
import torch
from torch import nn

from ladle.core.moments import Gauge
from ladle.torch.factor import Factor
from ladle.torch.update import Update

SIZES = (64, 64, 32, 17, 48, 5, 2, 1, 96, 130, 7, 64)


def row_losses(model: Any, batch: Any) -> torch.Tensor:
    return (model(batch[0])[:, 0] - batch[1]) ** 2


def rows_of(size: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, 6, generator=generator), torch.randn(size, generator=generator)


def model_of() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))


def by_hand(rows: tuple[torch.Tensor, torch.Tensor], sizes: list[int]) -> list[torch.Tensor]:
    model = model_of()
    adam = torch.optim.AdamW(model.parameters(), lr=0.01)
    for x, y in zip(*(one.split(sizes) for one in rows), strict=True):
        adam.zero_grad()
        row_losses(model, (x, y)).mean().backward()
        adam.step()
    return [leaf.detach() for leaf in model.parameters()]


def same(model: nn.Module, wanted: list[torch.Tensor]) -> None:
    for found, leaf in zip(model.parameters(), wanted, strict=True):
        torch.testing.assert_close(found.detach(), leaf, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_update_in_a_loop_that_accelerate_prepared_also_with_a_ragged_last_batch():
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True)
    rows = rows_of(50)
    model = model_of()
    adam = torch.optim.AdamW(model.parameters(), lr=0.01)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*rows), batch_size=16)
    model, optimizer, loader = accelerator.prepare(model, adam, loader)
    update = Update(model, optimizer, micro_size=8, gauge=Gauge(every=1))
    for batch in loader:
        with accelerator.autocast():
            update(batch, row_losses)
    assert update.updates == 4 and update.observation().moments().count == 3
    same(model, by_hand(rows, [16, 16, 16, 2]))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
def test_update_in_a_loop_that_fabric_set_up_also_with_a_ragged_last_batch():
    lightning = pytest.importorskip("lightning")
    fabric = lightning.Fabric(accelerator="cpu", devices=1)
    rows = rows_of(50)
    plain = model_of()
    adam = torch.optim.AdamW(plain.parameters(), lr=0.01)
    model, _ = fabric.setup(plain, adam)
    loader = fabric.setup_dataloaders(torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*rows), batch_size=16))
    update = Update(plain, adam, micro_size=8, gauge=Gauge(every=1))
    for batch in loader:
        update(batch, row_losses)
    assert update.updates == 4 and update.observation().moments().count == 3
    same(plain, by_hand(rows, [16, 16, 16, 2]))
    assert model.module is plain


class Counting:
    """A backend that counts what it is asked to compile, and runs it as it is."""

    def __init__(self) -> None:
        self.compiled = 0

    def __call__(self, graph: Any, inputs: Any) -> Any:
        self.compiled += 1
        return graph.forward


@pytest.fixture
def fresh() -> Any:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield
    torch._dynamo.reset()


def trained(model: nn.Module, compiled: Any) -> tuple[Update, torch.optim.AdamW]:
    adam = torch.optim.AdamW(model.parameters(), lr=0.01)
    update, factor = Update(model, adam, micro_size=32), Factor(adam)
    for at, size in enumerate(SIZES):
        if at == 6:
            factor.value, adam.param_groups[0]["lr"], adam.param_groups[0]["betas"] = 0.5, 0.02, (0.8, 0.98)
        update(rows_of(size, at), lambda _, batch: row_losses(compiled, batch))
    return update, adam


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_dozen_sizes_are_one_compilation_and_another_rate_or_beta_is_none(fresh: Any):
    counting, model, plain = Counting(), model_of(), model_of()
    update, _ = trained(model, torch.compile(model, backend=counting))
    assert counting.compiled == 1 and update.updates == len(SIZES)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    trained(plain, plain)
    same(model, [leaf.detach() for leaf in plain.parameters()])


@pytest.mark.long
@pytest.mark.skipif(shutil.which("g++") is None, reason="no compiler for Inductor")
@pytest.mark.filterwarnings("ignore")
def test_inductor_compiles_once_for_a_dozen_sizes(fresh: Any):
    model, plain = model_of(), model_of()
    trained(model, torch.compile(model))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    trained(plain, plain)
    same(model, [leaf.detach() for leaf in plain.parameters()])
