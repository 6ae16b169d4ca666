"""The mixin in the Trainer's own loop, against gradients that were stacked by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ladle.core.errors import ArgumentError
from ladle.core.moments import Gauge, Moments, pair
from ladle.policy import NoiseFollow, Range, Steps

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from ladle.torch.hf import LadleMixin  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::UserWarning"),  # The library's own advice.
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

X = torch.randn(40, 5, generator=torch.Generator().manual_seed(1))
Y = torch.randn(40, generator=torch.Generator().manual_seed(2))


class Line(nn.Module):
    """A model whose loss is a mean over rows, as most of one's own are."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Linear(5, 1)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": ((self.net(x)[:, 0] - labels) ** 2).mean()}


class Tagger(nn.Module):
    """A class for each token; the loss divides by what it is told, or by its own tokens."""

    def __init__(self, honest: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net, self.honest = nn.Embedding(7, 3), honest

    def forward(
        self, x: torch.Tensor, labels: torch.Tensor, num_items_in_batch: Any = None, **kwargs: Any
    ) -> dict[str, torch.Tensor]:
        logits = self.net(x).reshape(-1, 3)
        total = nn.functional.cross_entropy(logits, labels.reshape(-1), ignore_index=-100, reduction="sum")
        told = num_items_in_batch if num_items_in_batch is not None and self.honest else labels.ne(-100).sum()
        return {"loss": total / told}


class Watched(LadleMixin, transformers.Trainer):
    """Keeps accumulation, rate and schedule of each update."""

    rates: list[tuple[int, float]]

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        made, self.rates = super().create_optimizer(*args, **kwargs), []
        inner = getattr(made, "optimizer", made)
        inner.register_step_post_hook(lambda optimizer, *_: self.rates.append(self._rate(optimizer)))
        return made

    def _rate(self, optimizer: Any) -> tuple[int, float]:
        return self.args.gradient_accumulation_steps, optimizer.param_groups[0]["lr"]

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
        return torch.utils.data.SequentialSampler(self.train_dataset)


def rows_of_line(rows: int = 40) -> list[dict[str, Any]]:
    return [{"x": X[at], "labels": Y[at]} for at in range(rows)]


def rows_of_tagger(rows: int = 16) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 7, (rows, 6)), rng.integers(0, 3, (rows, 6))
    for at in range(rows):
        y[at, 1 + at % 5 :] = -100  # from one label to five
    return [{"x": torch.tensor(x[at]), "labels": torch.tensor(y[at])} for at in range(rows)]


@pytest.fixture
def trained(tmp_path) -> Callable[..., Any]:
    def train(model: nn.Module, data: Any, *, resume: Any = None, options: Any = None, **arguments: Any) -> Any:
        plain = {"optim": "sgd", "learning_rate": 0.0, "per_device_train_batch_size": 8, "report_to": "none"}
        plain |= {"use_cpu": True, "save_strategy": "no", "num_train_epochs": 1, "disable_tqdm": True}
        args = transformers.TrainingArguments(output_dir=str(tmp_path), **{**plain, **arguments})
        made = Watched(model, args, train_dataset=data, **(options or {"gauge": Gauge(every=1)}))
        made.train(resume_from_checkpoint=resume)
        made._ladle.advise()
        return made

    return train


def gradient(model: nn.Module, rows: list[dict[str, Any]]) -> np.ndarray:
    model.zero_grad()
    model(**{name: torch.stack([row[name] for row in rows]) for name in rows[0]})["loss"].backward()
    return torch.cat([leaf.grad.flatten() for leaf in model.parameters()]).double().numpy()


def merged(trainer: Any) -> Moments:
    (found,) = trainer._ladle.recent.windows[:1]
    for one in trainer._ladle.recent.windows[1:]:
        found = found.merge(one)
    return found


def test_sums_are_those_of_the_stacked_gradients_before_clipping_and_of_a_short_last_window(trained):
    rows, model = rows_of_line(), Line()
    found = merged(trained(model, rows, gradient_accumulation_steps=3, max_grad_norm=1e-3))
    windows = [[gradient(model, rows[at : at + 8]) for at in starts] for starts in ((0, 8, 16), (24, 32))]
    wanted = Moments.from_gradients(windows[0], 8).merge(Moments.from_gradients(windows[1], 8))
    for name in ("count", "trace", "square", "cross", "examples"):
        assert getattr(found, name) == pytest.approx(getattr(wanted, name), rel=1e-5), name


def test_a_row_weighs_as_many_as_it_has_tokens(trained):
    rows, model = rows_of_tagger(), Tagger()
    found = merged(trained(model, rows, gradient_accumulation_steps=4, per_device_train_batch_size=4))
    tokens = np.array([int(row["labels"].ne(-100).sum()) for row in rows], float).reshape(4, 4)
    mean = [gradient(model, rows[at : at + 4]) for at in range(0, 16, 4)]
    m, q = tokens.sum(1), (tokens**2).sum(1)
    whole = sum(a * b for a, b in zip(m, mean, strict=True)) / m.sum()
    micro = sum(a * float(b @ b) for a, b in zip(m, mean, strict=True))
    trace, square = pair(micro, float(whole @ whole), m.sum(), float((q / m).sum()), q.sum() / m.sum())
    assert found.square == pytest.approx(square, rel=1e-5) and found.examples == 16
    assert found.trace == pytest.approx(trace * 16 * q.sum() / m.sum() ** 2, rel=1e-5)


def test_one_micro_batch_is_gone_through_in_parts_and_nothing_else_moves(trained):
    rows, plain, model = rows_of_line(16), Line(), Line()
    start = {name: value.clone() for name, value in model.state_dict().items()}
    options = {"learning_rate": 0.1, "per_device_train_batch_size": 16}
    quiet = {"gauge": Gauge(every=1, parts=1)}
    assert merged(trained(plain, rows, options=quiet, **options)).count == 0
    found = merged(trained(model, rows, options={"gauge": Gauge(every=1, parts=4)}, **options))
    assert torch.equal(plain.net.weight, model.net.weight)
    model.load_state_dict(start)
    wanted = Moments.from_gradients([gradient(model, rows[at : at + 4]) for at in range(0, 16, 4)], 4)
    assert found.trace == pytest.approx(wanted.trace, rel=1e-5)
    assert found.square == pytest.approx(wanted.square, rel=1e-5)


def test_a_loss_that_ignores_the_count_is_refused(trained):
    with pytest.raises(ArgumentError, match="the loss must divide by num_items_in_batch"):
        trained(Tagger(honest=False), rows_of_tagger(), gradient_accumulation_steps=2, per_device_train_batch_size=4)


def test_the_noise_scale_is_logged_with_the_trainers_own(trained):
    made = trained(
        Line(), rows_of_line(), gradient_accumulation_steps=2, logging_steps=1, per_device_train_batch_size=4
    )
    (*_, last) = [line for line in made.state.log_history if "loss" in line]
    assert last["ladle/batch_size"] == 8 and last["ladle/noise_scale_low"] > 0
    assert made.advice.noise.updates == 5


def test_a_policy_moves_accumulation_where_an_epoch_begins_and_the_schedule_goes_on_by_examples(trained):
    policy = Steps(((0, 8), (40, 24)), micro_size=8, coupling="linear")
    options = {"policy": policy, "gauge": Gauge(every=1)}
    made = trained(Line(), rows_of_line(), options=options, learning_rate=0.01, num_train_epochs=2)
    # Ten updates were counted on; five of eight rows, then one of 24 and a short one of 16.
    linear = [0.01 * (1 - at / 10) for at in (0, 1, 2, 3, 4)] + [3 * 0.01 * (1 - at / 10) for at in (5, 8)]
    assert [steps for steps, _ in made.rates] == [1] * 5 + [3] * 2
    assert [rate for _, rate in made.rates] == pytest.approx(linear)
    assert max(made.lr_scheduler.get_last_lr()) == pytest.approx(0.0, abs=1e-12)
    assert made._ladle.meter.examples == 80 and made.args.gradient_accumulation_steps == 1


def test_a_resumed_run_measures_on_and_one_whose_size_moved_is_refused(trained, tmp_path):
    arguments = {"gradient_accumulation_steps": 2, "num_train_epochs": 2, "learning_rate": 0.001}
    whole = trained(Line(), rows_of_line(32), save_strategy="epoch", **arguments)
    resumed = trained(Line(), rows_of_line(32), resume=str(tmp_path / "checkpoint-2"), **arguments)
    assert resumed._ladle.meter.updates == whole._ladle.meter.updates == 4
    assert merged(resumed).trace == pytest.approx(merged(whole).trace, rel=1e-6)
    policy = Steps(((0, 16), (32, 32)), micro_size=8)
    options = {"policy": policy, "gauge": Gauge(every=1)}
    trained(Line(), rows_of_line(32), options=options, save_strategy="epoch", **arguments)
    with pytest.raises(ArgumentError, match="checkpoint must be of one batch size"):
        trained(Line(), rows_of_line(32), options=options, resume=str(tmp_path / "checkpoint-3"), **arguments)


def test_what_cannot_be_followed_is_refused_in_a_sentence(trained):
    normed = Line()
    normed.net = nn.Sequential(nn.Linear(5, 1), nn.BatchNorm1d(1))
    with pytest.raises(ArgumentError, match="gauge must be None"):
        trained(normed, rows_of_line(16))
    alone = {"gauge": Gauge(per_example=True)}
    with pytest.raises(ArgumentError, match="per_example must have one micro-batch an update"):
        trained(Line(), rows_of_line(16), options=alone, gradient_accumulation_steps=2)
    small = {"policy": NoiseFollow(Range(4, 8, micro_size=8))}
    with pytest.raises(ArgumentError, match="policy must reach a size of the host"):
        trained(Line(), rows_of_line(16), options=small, gradient_accumulation_steps=2)
