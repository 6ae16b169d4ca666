"""`Update`: the gradient of the whole batch, however it is cut; its moments, its refusals, its random numbers."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.checkpoint import checkpoint

from ladle.core.errors import ArgumentError
from ladle.core.moments import Gauge, Moments
from ladle.torch.update import Update

functional = nn.functional


def net(dtype: torch.dtype = torch.float32, dropout: float = 0.0) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Dropout(dropout), nn.Linear(7, 3)).to(dtype)


def rows(count: int, dtype: torch.dtype = torch.float32, seed: int = 1) -> dict[str, torch.Tensor]:
    drawn = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 5, dtype=torch.float64, generator=drawn)
    return {"x": x.to(dtype), "y": torch.randint(0, 3, (count,), generator=drawn)}


def loss(model: nn.Module, batch: Any) -> torch.Tensor:
    return functional.cross_entropy(model(batch["x"]), batch["y"], reduction="none")


def updated(model: nn.Module, **how: Any) -> Update:
    return Update(model, torch.optim.SGD(model.parameters(), lr=0.0), **how)


def flat(model: nn.Module) -> np.ndarray:
    """The gradient that the last step was made by, as one vector."""
    return torch.cat([leaf.grad.flatten() for leaf in model.parameters() if leaf.grad is not None]).double().numpy()


def close(found: np.ndarray, wanted: np.ndarray, relative: float) -> None:
    assert np.abs(found - wanted).max() <= relative * np.abs(wanted).max()


WORDS = st.integers(0, 2**32)


@settings(max_examples=40)
@given(size=st.integers(1, 40), micro=st.integers(1, 50), weighted=st.booleans(), wide=st.booleans(), seed=WORDS)
def test_the_gradient_is_that_of_the_whole_batch(size: int, micro: int, weighted: bool, wide: bool, seed: int):
    dtype = torch.float64 if wide else torch.float32
    model, batch = net(dtype), rows(size, dtype, seed)
    weight = torch.from_numpy(np.random.default_rng(seed).uniform(0.1, 3, size)) if weighted else None
    w = torch.ones(size, dtype=dtype) if weight is None else weight.to(dtype)
    ((loss(model, batch) * w).sum() / w.sum()).backward()
    wanted = flat(model)
    done = updated(model, micro_size=micro)(batch, loss, weight)
    close(flat(model), wanted, 1e-12 if wide else 1e-6)
    assert done.weight == pytest.approx(float(w.sum())) and done.grad_norm == pytest.approx(np.linalg.norm(wanted))


@settings(max_examples=20)
@given(size=st.integers(1, 12), micro=st.integers(1, 12), seed=WORDS)
def test_tokens_are_divided_by_their_number(size: int, micro: int, seed: int):
    model, drawn = net(torch.float64), torch.Generator().manual_seed(seed)
    x, y = torch.randn(size, 4, 5, dtype=torch.float64, generator=drawn), torch.randint(0, 3, (size, 4))
    mask = torch.rand(size, 4, generator=drawn) < 0.6
    mask[0, 0] = True

    def tokens(model: nn.Module, batch: Any) -> Any:
        x, y, mask = batch
        return functional.cross_entropy(model(x).transpose(1, 2), y, reduction="none"), mask

    losses, counted = tokens(model, (x, y, mask))
    ((losses * counted).sum() / counted.sum()).backward()
    wanted = flat(model)
    updated(model, micro_size=micro)((x, y, mask), tokens)
    close(flat(model), wanted, 1e-12)


class Pair(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor


@pytest.mark.parametrize(
    "shape", [dict, OrderedDict, lambda b: Pair(**b), lambda b: (b["x"], [b["y"], "a text", None]), lambda b: [b]]
)
def test_a_batch_may_be_any_tree(shape: Callable[..., Any]):
    def of(model: nn.Module, tree: Any) -> torch.Tensor:
        assert type(tree) is type(shape(rows(2)))
        inner = tree[0] if isinstance(tree, list) else tree
        x, y = (inner["x"], inner["y"]) if isinstance(inner, dict) else (inner[0], inner[1])
        return loss(model, {"x": x, "y": y[0] if isinstance(y, list) else y})

    model = net()
    updated(model)(rows(10), loss)
    wanted = flat(model)
    updated(model, micro_size=4)(shape(rows(10)), of)
    close(flat(model), wanted, 1e-6)


@pytest.mark.parametrize("clip", [0.01, 1e3])
@pytest.mark.parametrize("micro", [10, 4])
def test_clipping_is_torchs_on_the_whole_batch(clip: float, micro: int):
    model = net()
    loss(model, rows(10)).mean().backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
    wanted = flat(model)
    done = updated(model, micro_size=micro, clip=clip)(rows(10), loss)
    close(flat(model), wanted, 1e-6)
    assert done.grad_norm == pytest.approx(float(norm), rel=1e-6)  # Before clipping.


def micro_gradients(model: nn.Module, batch: dict[str, torch.Tensor], size: int) -> list[np.ndarray]:
    found = []
    for start in range(0, len(batch["y"]), size):
        model.zero_grad()
        loss(model, {name: leaf[start : start + size] for name, leaf in batch.items()}).mean().backward()
        found.append(flat(model))
    return found


@pytest.mark.parametrize(("size", "micro", "parts"), [(24, 6, 4), (24, 24, 4), (24, 32, 8), (24, None, 3)])
def test_moments_are_those_of_the_stacked_gradients(size: int, micro: int | None, parts: int):
    model, batch = net(), rows(size)
    piece = micro if micro and micro < size else size // parts
    wanted = Moments.from_gradients(micro_gradients(model, batch, piece), piece)
    update = updated(model, micro_size=micro, gauge=Gauge(parts=parts))
    update(batch, loss)
    found = update.observation().moments()
    for name in ("count", "trace", "square", "trace_sq", "cross", "examples"):
        assert getattr(found, name) == pytest.approx(getattr(wanted, name), rel=1e-5), name
    assert update.observation().moments().count == 0  # They are handed out once.


def test_weights_have_their_say_in_the_moments():
    """By hand: the formulas of `moments.pair` for weights other than 0 and 1, per example drawn."""
    model, batch = net(torch.float64), rows(12, torch.float64)
    w = torch.from_numpy(np.random.default_rng(0).uniform(0.2, 2, 12))
    update = updated(model, micro_size=4, gauge=Gauge())
    update(batch, loss, w)
    found, weights = update.observation().moments(), w.numpy().reshape(3, 4)
    sums = []
    for at in range(3):
        model.zero_grad()
        part = {name: leaf[4 * at : 4 * at + 4] for name, leaf in batch.items()}
        (loss(model, part) * w[4 * at : 4 * at + 4]).sum().backward()
        sums.append(flat(model))
    m, q, total = weights.sum(1), (weights**2).sum(1), weights.sum()
    whole = q.sum() / total
    batch_sq = np.sum((np.sum(sums, 0) / total) ** 2)
    trace = (sum(np.sum(g**2) / m[j] for j, g in enumerate(sums)) - total * batch_sq) / ((q / m).sum() - whole)
    assert found.trace == pytest.approx(trace * 12 * whole / total)
    assert found.square == pytest.approx(batch_sq - trace * whole / total)


def test_hooks_live_in_measured_updates_alone():
    model = net()
    update = updated(model, micro_size=4, gauge=Gauge(every=3))
    measured = []
    for _ in range(7):
        update(rows(8), loss)
        measured.append(update.observation().moments().count)
        assert not any(leaf._backward_hooks for leaf in model.parameters())
    assert measured == [1, 0, 0, 1, 0, 0, 1]


@pytest.mark.parametrize("micro", [8, 4])
def test_one_gradient_an_example_in_every_update_also_accumulated(micro: int):
    model, batch = net(), rows(8)
    wanted = Moments.from_gradients(micro_gradients(model, batch, 1), 1)
    update = updated(model, micro_size=micro, gauge=Gauge(per_example=True))
    for _ in range(3):
        update(batch, loss)
    found = update.observation().moments()
    assert found.count == 3 and found.trace == pytest.approx(3 * wanted.trace, rel=1e-5)


def test_a_ragged_last_batch_is_not_measured():
    update = updated(net(), micro_size=4, gauge=Gauge(every=1))
    for size in (8, 8, 3):
        update(rows(size), loss)
    assert update.observation().moments().count == 2


def test_a_planted_noise_scale_lies_in_its_interval():
    """Rows whose gradients are G + Sigma^(1/2) z: tr Sigma / |G|^2 = 40. Sums are not clamped."""
    drawn, inside, seeds = torch.Generator().manual_seed(3), 0, 60
    for _ in range(seeds):
        model = nn.Linear(20, 1, bias=False)
        update = updated(model, micro_size=16, gauge=Gauge(every=1))
        for _ in range(40):
            z = torch.randn(64, 20, generator=drawn) + 0.5**0.5 * torch.tensor([1.0] + [0.0] * 19)
            update(z, lambda model, z: model(z)[:, 0])
        noise = update.observation().read()
        inside += noise["noise_scale_low"] <= 40 <= noise["noise_scale_high"]
    assert 0.88 * seeds <= inside <= seeds


def trained(updates: list[int], micro: int, state: Any = None, rng: Any = "position") -> tuple[nn.Module, Update]:
    model = net(dropout=0.5)
    update = Update(model, torch.optim.AdamW(model.parameters()), micro_size=micro, seed=7, gauge=Gauge(3), rng=rng)
    if state is not None:
        model.load_state_dict(state[0])
        update.optimizer.load_state_dict(state[1])
        update.load_state_dict(state[2])
    for number in updates:
        torch.rand(number)  # Somebody else draws too.
        update(rows(10, seed=number), loss)
    return model, update


def test_dropout_is_a_function_of_the_position():
    model, update = trained([1, 2, 3], 4)
    kept = copy.deepcopy((model.state_dict(), update.optimizer.state_dict(), update.state_dict()))
    whole, _ = trained([1, 2, 3, 4, 5], 4)
    torch.manual_seed(99)
    again, resumed = trained([4, 5], 4, kept)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))
    assert resumed.position == 50 and resumed.updates == 5
    torch.manual_seed(1)
    before = torch.get_rng_state()
    trained([], 4, rng="user")
    torch.manual_seed(1)
    assert torch.equal(before, torch.get_rng_state())


def test_the_seed_is_that_of_torch_where_none_is_given():
    """Two runs that differ by `torch.manual_seed` alone have other dropout; and one that goes on has its own again."""

    def drawn(seed: int, state: Any = None) -> tuple[list[float], Any]:
        torch.manual_seed(0)
        model = net(dropout=0.5)
        update = Update(model, torch.optim.SGD(model.parameters(), lr=0.0))
        torch.manual_seed(seed)
        if state is not None:
            update.load_state_dict(state)
        found = [update(rows(10, seed=number), loss).grad_norm for number in range(2)]
        return found, update.state_dict()

    one, state = drawn(5)
    assert drawn(5)[0] == one != drawn(6)[0]
    assert state["seed"] == 5 and drawn(6, {**state, "position": 0})[0] == one


def test_half_precision_by_autocast():
    def half(model: nn.Module, batch: Any) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return loss(model, batch)

    model = net()
    half(model, rows(10)).mean().backward()
    wanted = flat(model)
    updated(model, micro_size=4)(rows(10), half)
    close(flat(model), wanted, 2e-2)


def test_a_scaler_is_undone_before_norms_and_moments():
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    model = net()
    plain = updated(model, micro_size=4, gauge=Gauge(), clip=0.1)
    wanted, moments = plain(rows(12), loss), plain.observation().moments()
    gradient = flat(model)
    update = updated(model, micro_size=4, gauge=Gauge(), clip=0.1, scaler=scaler)
    found = update(rows(12), loss)
    close(flat(model), gradient, 1e-5)
    assert found.grad_norm == pytest.approx(wanted.grad_norm, rel=1e-5)
    assert update.observation().moments().trace == pytest.approx(moments.trace, rel=1e-4)


@pytest.mark.parametrize("scaled", [False, True])
def test_what_is_not_finite_moves_nothing(scaled: bool):
    model, scaler = net(), torch.amp.GradScaler("cpu") if scaled else None
    update = Update(model, torch.optim.AdamW(model.parameters()), micro_size=4, gauge=Gauge(), scaler=scaler)
    before = copy.deepcopy(model.state_dict())
    batch = rows(8)
    batch["x"][3] = float("nan")
    if scaled:
        done = update(batch, loss)  # What a scaler makes infinite is usual.
        assert scaler is not None and scaler.get_scale() == 2.0**15
    else:
        with pytest.warns(RuntimeWarning, match="update 1 was refused: its loss was nan"):
            done = update(batch, loss)
    assert not done.applied and update.refused == 1 and update.updates == 0 and not update.optimizer.state
    assert all(torch.equal(before[name], leaf) for name, leaf in model.state_dict().items())
    assert update.observation().moments().count == 0
    assert update(rows(8), loss).applied


def test_an_update_left_in_the_middle_is_forgotten():
    model = net()
    updated(model)(rows(10), loss)
    wanted = flat(model)
    update = updated(model, micro_size=4)
    for part in update.parts(rows(12, seed=9)):
        part.backward(loss(model, part.data))
        break
    with pytest.raises(ArgumentError, match="between updates"):
        update.state_dict()
    update(rows(10), loss)
    close(flat(model), wanted, 1e-6)


def test_one_compilation_serves_every_size():
    programs: list[Any] = []

    def backend(graph: Any, inputs: Any) -> Any:
        programs.append(graph)
        return graph.forward

    model = torch.compile(net(), backend=backend)
    update = Update(model, torch.optim.SGD(model.parameters(), lr=0.1), micro_size=16)  # type: ignore[arg-type]
    for size in (16, 16, 32, 17, 5, 2, 1, 40):
        update(rows(size), loss)
    update.optimizer.param_groups[0]["lr"] = 0.2
    update(rows(3), loss)
    assert len(programs) == 1


class Twice(nn.Module):
    """A layer used in two segments, each computed again in the backward pass."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.layer, self.reentrant = nn.Linear(5, 5), reentrant

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(2):
            x = checkpoint(self.layer, x.requires_grad_(), use_reentrant=self.reentrant)
        return x


def test_checkpointing_is_measured_or_refused():
    update = updated(Twice(False), micro_size=4, gauge=Gauge())
    update(rows(8), loss)
    assert update.observation().moments().count == 1
    with pytest.raises(ArgumentError, match="use_reentrant=False"):
        updated(Twice(True), micro_size=4, gauge=Gauge())(rows(8), loss)
    updated(Twice(True), micro_size=4)(rows(8), loss)


class Hooked(nn.Linear):
    _comm_hooks = ("one",)


ENGINE = type("Engine", (nn.Module,), {"__module__": "deepspeed.runtime.engine"})


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Update(nn.DataParallel(net()), torch.optim.SGD([nn.Parameter(torch.ones(1))])), "DistributedData"),
        (lambda: Update(ENGINE(), torch.optim.SGD([nn.Parameter(torch.ones(1))])), "DeepSpeed"),
        (lambda: updated(Hooked(2, 2)), "no communication hook"),
        (lambda: Update(net(), torch.optim.LBFGS(net().parameters())), "without a closure"),
        (lambda: Update(net(), None), "be a torch optimiser"),
        (lambda: updated(net(), clip=-1.0), "clip must be a positive number"),
        (lambda: updated(net(), micro_size=0), "micro_size must be at least 1"),
        (lambda: updated(net(), rng="mine"), "rng must be"),
        (lambda: updated(nn.Sequential(nn.BatchNorm1d(5)), gauge=Gauge()), "'0' a row has no gradient of its own"),
        (lambda: updated(net(), gauge=Gauge(projection=True)), "projection must be False with torch"),
        (lambda: updated(net())(rows(8), lambda m, b: loss(m, b).mean()), r"shape \(8,\); got 'one number'.*per_row"),
        (lambda: updated(net())(rows(8), lambda m, b: m(b["x"])), r"one number per row, shape \(8,\); got \(8, 3\)"),
        (lambda: updated(net())(rows(8), lambda m, b: (loss(m, b), torch.ones(3))), "two tensors of one shape"),
        (lambda: updated(net())((torch.ones(3), torch.ones(4)), loss), r"batch\[0\] 3, batch\[1\] 4"),
        (lambda: updated(net())("a text", loss), "one number of rows"),
        (lambda: updated(net())(rows(0), loss), "batch must have a row"),
        (lambda: updated(net()).step(), "step must come after the beginning"),
        (lambda: [list(u.parts(rows(4))), u.step()] if (u := updated(net())) else 0, "0 of 1 parts"),
        (lambda: updated(net())(rows(4), lambda m, b: torch.ones(4, requires_grad=True) * 1), "depend on the param"),
    ],
)
def test_refusals(make: Callable[[], Any], why: str):
    with pytest.raises(ArgumentError, match=why) as error:
        make()
    assert "\n" not in str(error.value)
