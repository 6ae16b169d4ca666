"""Plans for a loop: what they say, what they refuse, and that nothing of the user's moves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from ladle.api.torch_plan import plan
from ladle.core.errors import ArgumentError
from ladle.core.moments import Moments
from ladle.core.spec import BatchSpec
from ladle.feed.loader import Loader
from ladle.torch import confirm_test
from ladle.torch.examples import read_ahead
from ladle.torch.loop_plan import question
from ladle.torch.trace_test import generators, same, state_of

ROWS = 512
X = torch.randn(ROWS, 16, generator=torch.Generator().manual_seed(0))
Y = (X[:, :3].sum(1) > 0).long()
QUICK: Any = {"sizes": [1, 64], "budget": 0.5}


def make() -> nn.Module:
    return nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Dropout(0.1), nn.Linear(32, 2))


def loss(model: nn.Module, batch: Any) -> torch.Tensor:
    return nn.functional.cross_entropy(model(batch[0]), batch[1], reduction="none")


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)


def loader(size: int = 32) -> DataLoader:
    return DataLoader(TensorDataset(X, Y), size, shuffle=True, generator=torch.Generator().manual_seed(3))


def test_a_plan_for_a_loop_says_all_a_plan_says_and_changes_nothing():
    model = make()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=10)
    loss(model, (X[:8], Y[:8])).sum().backward()
    optimizer.step()
    data = loader()
    before, drawn, place = state_of(model, optimizer), generators(), data.generator.get_state()
    schedule = scheduler.state_dict()
    made = plan(model, loss, data, optimizer, **QUICK)
    assert same(before, state_of(model, optimizer)) and drawn == generators()
    assert torch.equal(place, data.generator.get_state()) and schedule == scheduler.state_dict()
    assert 1 <= made.micro_size <= made.size <= ROWS and made.noise.updates > 0
    assert made.reference_size == 32 and made.lr_rule == "square root"
    assert made.number("memory_measured_bytes") is None
    assert any(note.startswith("Not confirmed: the model was given as a module") for note in made.notes)
    text = made.explain()
    assert "(predicted; it was not run)" in text and "Gradient noise scale" in text
    assert made.number("memory_fixed_bytes").method.endswith("two updates traced as fake tensors")
    assert type(made).from_json(made.to_json()) == made


def test_a_module_that_cannot_be_copied_is_put_back_bit_for_bit():
    model = make()
    model.held = (_ for _ in ())  # A generator cannot be copied.
    optimizer = sgd(model.parameters())
    asked = question(model, loss, loader(), optimizer)
    before = state_of(model, optimizer)
    assert len(asked.probe.seconds(BatchSpec(8, 8), 2)) == 2 and asked.probe.moments(BatchSpec(32, 8), 3).count == 3
    assert same(before, state_of(model, optimizer))


def test_moments_are_those_of_the_gradients_at_the_parameters_as_they_stand():
    model = nn.Sequential(nn.Linear(16, 2))
    asked = question(model, loss, [(X[at : at + 32], Y[at : at + 32]) for at in range(0, ROWS, 32)], sgd)
    found = asked.probe.moments(BatchSpec(64, 8), 2)
    expected = Moments()
    for update in range(2):
        rows = [slice(64 * update + at, 64 * update + at + 8) for at in range(0, 64, 8)]
        stacked = []
        for part in rows:
            gradients = torch.autograd.grad(loss(model, (X[part], Y[part])).mean(), list(model.parameters()))
            stacked.append(np.concatenate([leaf.flatten().numpy() for leaf in gradients]))
        expected = expected.merge(Moments.from_gradients(np.array(stacked), 8))
    assert (found.trace, found.square) == pytest.approx((expected.trace, expected.square), rel=1e-4)
    assert (found.count, found.examples) == (2, 128)


@pytest.mark.parametrize(
    "data",
    [
        loader(),
        Loader({"x": X.numpy(), "y": Y.numpy()}, 32, to="torch"),
        [(X[:300], Y[:300]), (X[300:], Y[300:])],
    ],
)
def test_rows_of_any_loader_are_counted_and_it_stands_where_it_stood(data: Any):
    state = data.state_dict() if isinstance(data, Loader) else None
    found = read_ahead(data, torch.device("cpu"))
    assert found.rows == found.read == ROWS
    assert state is None or data.state_dict() == state
    whole = found.take(2 * ROWS)
    first = whole["x"] if isinstance(whole, dict) else whole[0]
    assert torch.equal(first[:ROWS].sort(0).values, first[ROWS:].sort(0).values)
    assert not torch.equal(first[:ROWS], first[ROWS:])


class Stream(IterableDataset):
    def __iter__(self) -> Any:
        return iter([(X[at], Y[at]) for at in range(64)])


def test_rows_that_cannot_be_counted_are_told_or_refused():
    with pytest.raises(ArgumentError, match="loader must have rows that can be counted; .* try rows=1_000_000"):
        plan(make(), loss, DataLoader(Stream(), 16), sgd)
    assert question(make(), loss, DataLoader(Stream(), 16), sgd, rows=10_000).rows == 10_000
    with pytest.raises(ArgumentError, match="loader must begin anew each time"):
        plan(make(), loss, iter([(X, Y)]), sgd)


def test_what_cannot_be_planned_for_is_refused_in_one_sentence():
    model = make()
    with pytest.raises(ArgumentError, match=r"loss must return one number per row, shape \(2,\)"):
        plan(model, lambda model, batch: loss(model, batch).mean(), loader(), sgd)
    with pytest.raises(ArgumentError, match="step without a closure; got 'LBFGS'"):
        plan(model, loss, loader(), torch.optim.LBFGS(model.parameters()))
    with pytest.raises(ArgumentError, match="got 'DataParallel'"):
        plan(nn.DataParallel(model), loss, loader(), sgd)
    with pytest.raises(ArgumentError, match="memory must be at least [0-9,]+ bytes; got '1,000 bytes'"):
        plan(model, loss, loader(), sgd, memory=1000)
    with pytest.raises(ArgumentError, match="optimizer must be that of the model"):
        plan(model, loss, loader(), sgd(make().parameters()))
    with pytest.raises(ArgumentError, match="optimizer must be a function where the model is one"):
        plan(make, loss, loader(), sgd(model.parameters()))
    with pytest.raises(ArgumentError, match="model must name a function as module:name"):
        plan("ladle.torch.loop_plan_test:nothing", loss, loader(), sgd)


def test_batch_statistics_leave_speed_alone_to_decide_and_the_layer_is_named():
    model = nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.Linear(32, 2))
    made = plan(model, loss, loader(), sgd, **QUICK)
    assert made.noise.verdict == "unresolved" and any("'1' takes statistics" in note for note in made.notes)


def test_a_compiled_module_is_measured_without_its_compiler_and_a_note_says_so():
    model = torch.compile(make(), backend="eager")
    asked = question(model, loss, loader(), sgd)
    assert asked.probe.memory_bytes(BatchSpec(64, 64)) > 0 and asked.probe.moments(BatchSpec(16, 4), 2).count == 2
    assert any("without torch.compile" in note for note in asked.notes())


def test_a_model_that_cannot_be_traced_has_a_measured_line():
    def reads(model: nn.Module, batch: Any) -> torch.Tensor:
        return loss(model, batch) * float(batch[0].abs().sum() > 0)

    asked, plain = question(make(), reads, loader(), sgd), question(make(), loss, loader(), sgd)
    for spec in (BatchSpec(16, 16), BatchSpec(256, 256), BatchSpec(256, 64)):
        assert asked.probe.memory_bytes(spec) == pytest.approx(plain.probe.memory_bytes(spec), rel=0.1)
    made = plan(make(), reads, loader(), sgd, **QUICK)
    assert any(r".item()" in note and "loop_plan_test.py" in note for note in made.notes)
    assert made.number("memory_predicted_bytes").source == "measured"


@pytest.mark.slow
def test_an_importable_function_is_confirmed_in_a_child():
    rows = [(X[at : at + 32, :8], X[at : at + 32, 0]) for at in range(0, ROWS, 32)]
    made = plan("ladle.torch.confirm_test:make", confirm_test.loss, rows, confirm_test.adamw, **QUICK)
    assert made.number("memory_measured_bytes").value > 0
    assert not any("Not confirmed" in note for note in made.notes)


def test_what_no_child_can_import_is_not_confirmed_and_named():
    local = lambda: make()  # noqa: E731
    made = plan(local, loss, loader(), sgd, **QUICK)
    assert any("Not confirmed: the model is not importable by a name" in note for note in made.notes)
