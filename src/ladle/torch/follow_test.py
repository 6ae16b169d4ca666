"""`Follow`: sizes, rates and betas of a loop that a policy moves, whatever schedule the loop has."""

from __future__ import annotations

import copy
import itertools
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, TensorDataset

from ladle.core.decision import Clock, Decision, Progress
from ladle.core.errors import ArgumentError, RunError
from ladle.core.moments import Gauge
from ladle.core.spec import BatchSpec
from ladle.core.traits import Traits
from ladle.feed.loader import Loader
from ladle.policy.constant import Constant
from ladle.policy.noise_follow import NoiseFollow
from ladle.policy.plateau import Plateau
from ladle.policy.range import Range
from ladle.policy.steps import Steps
from ladle.torch.factor import Factor
from ladle.torch.follow import Follow
from ladle.torch.update import Update

ROWS = 128
X = torch.randn(ROWS, 6, generator=torch.Generator().manual_seed(0))
DATA = {"x": X.numpy(), "y": (X @ torch.arange(6.0)).numpy()}


def loss(model: nn.Module, batch: Any) -> torch.Tensor:
    return (model(batch["x"])[:, 0] - batch["y"]).square()


@dataclass(frozen=True)
class Says:
    """A policy that goes through a list of decisions and remembers how far it is."""

    decisions: tuple[Decision, ...]
    traits: Traits = field(default_factory=Traits)

    def init(self, plan: Any) -> int:
        return 0

    def decide(self, memory: int, progress: Progress) -> tuple[int, Decision]:
        return memory + 1, self.decisions[min(memory, len(self.decisions) - 1)]


def at(size: int, factor: float = 1.0, **hyper: float) -> Decision:
    return Decision(BatchSpec(size, size), lr_factor=factor, hyper=hyper, reason=f"{size}")


class Loop:
    """A user's loop, small."""

    def __init__(self, policy: Any, kind: Callable[..., Any] = torch.optim.SGD, gauge: Gauge | None = None, **how: Any):
        torch.manual_seed(0)
        self.model = nn.Linear(6, 1)
        self.optimizer = kind(self.model.parameters(), lr=1e-2)
        self.loader = Loader(DATA, 16, to="torch")
        self.update = Update(self.model, self.optimizer, gauge=gauge)
        self.follow = Follow(policy, None, self.loader, self.update, **how)
        self.lines: list[dict[str, Any]] = []

    def train(self, epochs: int, after: Callable[[], Any] = lambda: None) -> Loop:
        for _ in range(epochs):
            for batch in self.loader:
                self.update(batch, loss)
                after()
                self.lines += self.follow()
        return self


def test_sizes_follow_the_policy_and_lines_are_those_of_a_run():
    loop = Loop(Steps(((0, 16), (ROWS, 64)), micro_size=32, coupling="linear")).train(3)
    assert [line["size"] for line in loop.lines] == [16, 64, 64]
    assert [line["updates"] for line in loop.lines] == [8, 10, 12]
    assert [line["examples"] for line in loop.lines] == [128, 256, 384]
    assert [line["lr_factor"] for line in loop.lines] == [1.0, 4.0, 4.0]
    assert loop.update.micro_size == 32 and loop.lines[1]["reason"].startswith("batch size 16 -> 64")
    assert {"train_loss", "grad_norm", "refused", "epoch", "seconds", "examples_per_second"} <= loop.lines[0].keys()
    assert loop.lines[2]["train_loss"] < loop.lines[0]["train_loss"]


def test_windows_within_an_epoch_and_decisions_that_end():
    loop = Loop(Steps(((0, 16), (48, 32)), micro_size=32), window=64).train(1)
    assert [(line["examples"], line["size"]) for line in loop.lines] == [(48, 16), (80, 32), (128, 32)]


def test_a_policy_that_goes_by_noise_has_its_moments():
    loop = Loop(NoiseFollow(Range(8, 64, micro_size=64)), gauge=Gauge(every=1)).train(4)
    assert loop.lines[0]["noise/count"] > 0 and {line["size"] for line in loop.lines} != {16}


def test_an_evaluation_is_told_to_the_policy():
    loop = Loop(Plateau(16, 64, micro_size=64, metric="valid_loss", patience=1))
    loop.train(4, lambda: loop.follow.due and loop.follow.read(valid_loss=1.0))
    assert loop.lines[-1]["size"] > 16 and loop.lines[-1]["evaluated"] == 4 * ROWS


SCHEDULERS: dict[str, Callable[[Any], Any]] = {
    "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, lambda step: 1 / (1 + step)),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=40),
    "StepLR": lambda o: lr_scheduler.StepLR(o, 3),
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, 7),
    "ConstantLR": lambda o: lr_scheduler.ConstantLR(o, 0.5, 4),
    "LinearLR": lambda o: lr_scheduler.LinearLR(o, 0.3, total_iters=6),
    "ExponentialLR": lambda o: lr_scheduler.ExponentialLR(o, 0.8),
    "ReduceLROnPlateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=1),
}


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("factor", [1.0, 0.3])
def test_the_factor_is_exact_under_every_schedule_and_no_schedule_sees_it(name: str, factor: float):
    used: list[list[float]] = [[], []]
    seen: list[list[float]] = [[], []]
    for place, value in enumerate((1.0, factor)):
        weight = nn.Parameter(torch.ones(1))
        optimizer = torch.optim.SGD([weight], lr=0.05, momentum=0.5)
        schedule = SCHEDULERS[name](optimizer)
        Factor(optimizer, value)
        optimizer.register_step_pre_hook(lambda o, *_, to=used[place]: to.append(o.param_groups[0]["lr"]))
        for _ in range(20):
            weight.grad = torch.ones(1)
            optimizer.step()
            seen[place].append(optimizer.param_groups[0]["lr"])
            schedule.step(*([1.0] if name == "ReduceLROnPlateau" else []))
    assert seen[0] == seen[1] and len(set(seen[0])) > 1
    assert used[1] == [factor * rate for rate in used[0]]


def test_a_step_that_raises_leaves_no_factor_behind():
    weight = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=0.5)
    factor = Factor(optimizer, 3.0)

    def fails() -> Any:
        raise KeyError

    with pytest.raises(KeyError):
        optimizer.step(fails)
    weight.grad = torch.ones(1)
    optimizer.step()
    assert weight.item() == -0.5 and optimizer.param_groups[0]["lr"] == 0.5
    factor.close()
    optimizer.step()
    assert weight.item() == -1.0


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
@pytest.mark.parametrize(("betas", "amsgrad"), [((0.9, 0.9), False), ((0.5, 0.999), True), ((0.8, 0.95), True)])
def test_the_step_of_adam_is_continuous_when_betas_move(kind: Any, betas: tuple[float, float], amsgrad: bool):
    """At a gradient that is what the averages say, the next step is the same with any betas."""
    steps = []
    for moves in (False, True):
        policy = Says((at(16), at(16, b1=betas[0], b2=betas[1]) if moves else at(16)))
        loop = Loop(policy, lambda leaves, lr: kind(leaves, lr=lr, weight_decay=0.0, amsgrad=amsgrad), rows=16)
        # Ten updates by one gradient: the corrected averages are that gradient and its square.
        for turn in range(11):
            if turn == 10 and moves:
                loop.follow._move({"b1": betas[0], "b2": betas[1]})
            before = loop.model.weight.detach().clone()
            for leaf in loop.model.parameters():
                leaf.grad = torch.full_like(leaf, 0.25)
            loop.optimizer.step()
        steps.append(loop.model.weight.detach() - before)
    assert torch.allclose(steps[0], steps[1], rtol=1e-6, atol=0)
    assert loop.optimizer.param_groups[0]["betas"] == betas


def test_constants_are_absolute_and_those_not_named_stay():
    loop = Loop(Says((at(16), at(16, 0.5, weight_decay=0.25, b2=0.99))), torch.optim.AdamW).train(1)
    group = loop.optimizer.param_groups[0]
    assert group["weight_decay"] == 0.25 and group["betas"] == (0.9, 0.99) and group["lr"] == 1e-2
    assert loop.train(1).lines[1]["hyper"] == {"weight_decay": 0.25, "b2": 0.99}


def test_a_scheduler_that_counts_updates_is_warned_about_once():
    loop = Loop(Says((at(16), at(32), at(64))))
    schedule = lr_scheduler.StepLR(loop.optimizer, 100)
    with pytest.warns(
        UserWarning, match="batches of 32 after 16: a learning-rate scheduler .* goes 0.5|2 times"
    ) as told:
        loop.train(3, schedule.step)
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Loop(Says((at(16), at(32)))).train(2)


@pytest.mark.parametrize("stop", [3, 8, 11])
def test_a_loop_that_is_resumed_anywhere_is_the_same_loop(stop: int):
    policy = Steps(((0, 16), (ROWS, 32)), micro_size=32, coupling="square root")
    whole, first, second = (Loop(policy, torch.optim.AdamW, Gauge(every=2)) for _ in range(3))
    whole.train(3)
    for _ in range(3):
        for batch in first.loader:
            first.update(batch, loss)
            first.lines += first.follow()
            if first.update.updates == stop:
                break
        else:
            continue
        break
    parts = ("model", "optimizer", "update", "loader", "follow")
    state = {name: copy.deepcopy(getattr(first, name).state_dict()) for name in parts}
    state["follow"] = json.loads(json.dumps(state["follow"]))
    for name in parts:
        getattr(second, name).load_state_dict(state[name])
    second.lines = first.lines
    while second.update.position < 3 * ROWS:
        second.train(1)
    assert torch.equal(whole.model.weight, second.model.weight)
    timed = ("seconds", "cpu_seconds", "window_seconds", "examples_per_second")
    kept = [[{name: line[name] for name in line if name not in timed} for line in one.lines] for one in (whole, second)]
    assert kept[0] == kept[1]


def test_a_clock_of_a_policy_is_in_the_record():
    decision = Decision(BatchSpec(16, 16), clock=Clock(0.0, 0.5))
    assert Loop(Says((decision,))).train(1).lines[0]["clock"] == 64.0


def refused(match: str, make: Callable[[], Any], kind: type[Exception] = ArgumentError) -> None:
    with pytest.raises(kind, match=match):
        make()


def test_what_cannot_be_followed_is_refused_in_one_sentence():
    noisy, model = NoiseFollow(Range(8, 64, micro_size=64)), nn.Linear(6, 1)
    refused("update must have a gauge for NoiseFollow; got None", lambda: Loop(noisy))
    update = Update(model, torch.optim.SGD(model.parameters()))
    fixed = DataLoader(TensorDataset(X), 16)
    refused("batch_size that moves; got 'DataLoader'", lambda: Follow(Constant(16, 16), None, fixed, update))
    normed = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6))
    loader, of_norm = Loader(DATA, 16), Update(normed, torch.optim.SGD(normed.parameters()))
    refused("batch statistics of '1'", lambda: Follow(noisy, None, loader, of_norm))
    refused("policy must move constants .* got 'momentun'", lambda: Loop(Says((at(16, momentun=0.5),))))
    refused("leave betas alone", lambda: Loop(Says((at(16, b1=0.5),)), torch.optim.NAdam))
    coupled = Says((at(16),), Traits(coupling="sde"))
    refused("leave betas alone; got 'sde'", lambda: Loop(coupled, torch.optim.RAdam))
    refused("decide at most the 128 examples", lambda: Loop(Says((at(256),))), RunError)
    refused("decide past position 0", lambda: Loop(Says((Decision(BatchSpec(8, 8), stop=0),))), RunError)


def test_anything_whose_size_may_be_set_is_followed():
    class Own:
        batch_size = 16

        def __iter__(self) -> Any:
            starts = itertools.accumulate(itertools.repeat(self.batch_size), initial=0)
            for start in itertools.takewhile(lambda start: start < ROWS, starts):
                yield {"x": X[start : start + self.batch_size], "y": X[start : start + self.batch_size, 0]}

    loop = Loop(Constant(16, 16))
    follow = Follow(Says((at(32),)), None, own := Own(), loop.update, rows=ROWS)
    assert own.batch_size == 32 and follow.epoch_size == ROWS
    refused("Follow\\(..., rows=1_000_000\\)", lambda: Follow(Constant(16, 16), None, Own(), loop.update))
