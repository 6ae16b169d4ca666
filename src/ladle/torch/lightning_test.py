"""The callback in Lightning's own loop, against gradients that were stacked by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ladle.core.errors import ArgumentError
from ladle.core.moments import Gauge, Moments
from ladle.core.noise import NoiseScale
from ladle.policy import NoiseFollow, Range, Steps
from ladle.torch.host_moments import Share, stride_of

lightning = pytest.importorskip("lightning")

from ladle.torch.lightning import ONE_PIECE, Ladle  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::UserWarning"),  # Lightning's advice on workers and short epochs.
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

X = torch.randn(40, 5, generator=torch.Generator().manual_seed(1))
Y = torch.randn(40, generator=torch.Generator().manual_seed(2))


def losses(module: Any, batch: Any) -> torch.Tensor:
    return (module.net(batch[0])[:, 0] - batch[1]) ** 2


class Module(lightning.LightningModule):
    """A line; keeps the step that it was at, and what its steps moved."""

    def __init__(self, lr: float = 0.0, schedule: bool = False, optimizer: Any = torch.optim.SGD) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net, self.lr, self.schedule, self.kind = nn.Linear(5, 1), lr, schedule, optimizer
        self.steps: list[tuple[int, torch.Tensor]] = []

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return losses(self, batch).mean()

    def configure_optimizers(self) -> Any:
        made = self.kind(self.parameters(), lr=self.lr)
        if not self.schedule:
            return made
        rate = torch.optim.lr_scheduler.LambdaLR(made, lambda step: 1.0)
        return {"optimizer": made, "lr_scheduler": {"scheduler": rate, "interval": "step"}}


def fitted(module: Any, callback: Ladle, *, size: int = 8, rows: int = 40, epochs: int = 1, **options: Any) -> Any:
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X[:rows], Y[:rows]), batch_size=size)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "barebones": False}
    quiet |= {"enable_model_summary": False, "accelerator": "cpu", "max_epochs": epochs}
    callbacks = [callback, *options.pop("callbacks", [])]
    trainer = lightning.Trainer(**{**quiet, **options}, callbacks=callbacks)
    trainer.fit(module, loader)
    return trainer


def gradient(module: Any, rows: slice) -> np.ndarray:
    module.zero_grad()
    losses(module, (X[rows], Y[rows])).mean().backward()
    return torch.cat([leaf.grad.flatten() for leaf in module.parameters()]).double().numpy()


def by_hand(module: Any, windows: list[list[slice]]) -> Moments:
    stacked = [Moments.from_gradients([gradient(module, rows) for rows in window], 8) for window in windows]
    return stacked[0] if len(stacked) == 1 else stacked[0].merge(stacked[1])


def close(found: Moments, wanted: Moments) -> None:
    for name in ("count", "trace", "square", "trace_sq", "square_sq", "cross", "examples"):
        assert getattr(found, name) == pytest.approx(getattr(wanted, name), rel=1e-5), name


def cuts(*starts: int) -> list[slice]:
    return [slice(at, at + 8) for at in starts]


@pytest.mark.parametrize("options", [{}, {"gradient_clip_val": 1e-3}, {"precision": "64-true"}])
def test_sums_are_those_of_the_stacked_gradients_also_of_a_short_last_window(options: dict[str, Any]):
    module, callback = Module(), Ladle(gauge=Gauge(every=1))
    if "precision" in options:
        module.training_step = lambda batch, batch_idx: losses(module, [x.double() for x in batch]).mean()
    fitted(module, callback, accumulate_grad_batches=3, **options)
    # Three of eight, then two, which Lightning divides by three.
    close(callback._recent.windows[0], by_hand(module.float(), [cuts(0, 8, 16), cuts(24, 32)]))
    assert callback.advice.noise.updates == 2 and callback.advice.size == 24


def test_a_ragged_batch_weighs_as_much_as_the_others_as_lightning_has_it():
    module, callback = Module(), Ladle(gauge=Gauge(every=1))
    fitted(module, callback, rows=20, accumulate_grad_batches=3)
    a, b, c = gradient(module, slice(0, 8)), gradient(module, slice(8, 16)), gradient(module, slice(16, 20))
    # Each mean of m rows has covariance Sigma/m; all three weigh a third.
    q = np.array([1 / 8, 1 / 8, 1 / 4])
    mean = (a + b + c) / 3
    spread = sum(float((g - mean) @ (g - mean)) for g in (a, b, c))
    trace = spread / (q.sum() - q.sum() / 3)
    square = float(mean @ mean) - trace * q.sum() / 9
    found = callback._recent.windows[0]
    assert found.square == pytest.approx(square, rel=1e-5)
    assert found.trace == pytest.approx(trace * 20 * q.sum() / 9, rel=1e-5)  # per example drawn


def test_scaled_losses_are_read_unscaled():
    from lightning.pytorch.plugins.precision import MixedPrecision

    module, callback = Module(), Ladle(gauge=Gauge(every=1))
    half = MixedPrecision("bf16-mixed", "cpu")
    half.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    fitted(module, callback, rows=16, accumulate_grad_batches=2, plugins=[half])
    found, wanted = callback._recent.windows[0], by_hand(module, [cuts(0, 8)])
    assert found.trace == pytest.approx(wanted.trace, rel=0.05) and found.count == 1


def test_one_micro_batch_is_gone_through_in_parts_and_nothing_else_moves():
    plain, module = Module(0.1), Module(0.1)
    quiet = Ladle()
    fitted(plain, quiet, rows=16, size=16)
    assert quiet.advice.noise.updates == 0 and ONE_PIECE in str(quiet.advice)
    callback = Ladle(gauge=Gauge(every=1, parts=4), loss=losses)
    fitted(module, callback, rows=16, size=16)
    assert torch.equal(plain.net.weight, module.net.weight)
    start = Module()
    stacked = Moments.from_gradients([gradient(start, slice(at, at + 4)) for at in range(0, 16, 4)], 4)
    close(callback._recent.windows[0], stacked)


def test_the_noise_scale_is_logged_with_its_interval():
    callback = Ladle(gauge=Gauge(every=1), window=2)
    trainer = fitted(Module(0.01), callback, accumulate_grad_batches=2, size=4, epochs=4)
    assert trainer.logged_metrics["ladle/batch_size"] == 8
    assert trainer.logged_metrics["ladle/noise_scale_low"] > 0
    assert callback.advice.noise.updates == 20 and "Noise scale" in str(callback.advice)


def test_a_policy_moves_the_accumulation_at_ends_of_epochs_and_the_rate_within_the_step():
    rates: list[tuple[int, float]] = []

    class Own(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            rates.append((trainer_of.trainer.accumulate_grad_batches, self.param_groups[0]["lr"]))
            return super().step(closure)

    trainer_of = Module(0.1, schedule=True, optimizer=Own)
    policy = Steps(((0, 8), (40, 32)), micro_size=8, coupling="square root")
    with pytest.warns(UserWarning, match="accumulate_grad_batches went from 1 to 4: a scheduler with interval='step'"):
        trainer = fitted(trainer_of, Ladle(policy=policy), epochs=2)
    assert rates == [(1, 0.1)] * 5 + [(4, 0.2)] * 2
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0.1 and trainer.accumulate_grad_batches == 4


def test_a_size_between_two_steps_becomes_the_one_below_with_its_own_rate():
    callback = Ladle(policy=Steps(((0, 8), (40, 30)), micro_size=8, coupling="linear"))
    trainer = fitted(Module(0.1), callback, epochs=2)
    assert trainer.accumulate_grad_batches == 3 and callback._move.factor == pytest.approx(3.0)


def test_a_resumed_callback_goes_on_with_size_rate_and_memory(tmp_path):
    policy = NoiseFollow(Range(8, 32, micro_size=8, first=16), coupling="linear")
    first = Ladle(gauge=Gauge(every=1), policy=policy)
    trainer = fitted(Module(0.001), first, epochs=2)
    trainer.save_checkpoint(tmp_path / "kept.ckpt")
    again = Ladle(gauge=Gauge(every=1), policy=policy)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, Y), batch_size=8)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    resumed = lightning.Trainer(max_epochs=3, accelerator="cpu", callbacks=[again], **quiet)
    resumed.fit(Module(0.001), loader, ckpt_path=tmp_path / "kept.ckpt", weights_only=False)
    whole = Ladle(gauge=Gauge(every=1), policy=policy)
    fitted(Module(0.001), whole, epochs=3)
    assert (again._meter.updates, again._meter.examples) == (whole._meter.updates, whole._meter.examples)
    assert again._move == whole._move and again.advice.noise == whole.advice.noise


def refused(match: str, module: Any, callback: Ladle, **options: Any) -> None:
    with pytest.raises(ArgumentError, match=match):
        fitted(module, callback, **options)


def test_what_cannot_be_followed_is_refused_in_a_sentence():
    manual = Module()
    manual.automatic_optimization = False
    refused("optimization must be automatic", manual, Ladle())
    refused("closure", Module(0.1, optimizer=torch.optim.LBFGS), Ladle())
    normed = Module()
    normed.net = nn.Sequential(nn.Linear(5, 1), nn.BatchNorm1d(1))
    refused("gauge must be None", normed, Ladle())
    small = Ladle(policy=Steps(((0, 4),), micro_size=4))
    refused("policy must reach a size of the host", Module(), small)
    beside = lightning.pytorch.callbacks.GradientAccumulationScheduler({0: 2})
    steering = Ladle(policy=Steps(((0, 8),), micro_size=8))
    refused("policy must be alone", Module(), steering, callbacks=[beside])
    moving = Ladle(policy=Steps(((0, 8), (40, 32)), micro_size=8, coupling="sde"))
    refused("policy must couple the rate alone", Module(), moving)


def test_one_gradient_an_example_needs_one_micro_batch():
    """Accumulated, the pieces are the host's micro-batches: one gradient an example is refused, not left out."""
    callback = Ladle(gauge=Gauge(per_example=True))
    refused("per_example must have one micro-batch an update", Module(), callback, accumulate_grad_batches=2)
    moved = Ladle(gauge=Gauge(per_example=True), policy=Steps(((0, 8),), micro_size=8))
    refused("got 'a policy that moves accumulation'", Module(), moved)


def test_shares_and_strides():
    assert Share.mean(8, 2).weight_sq == pytest.approx(8 * (1 / 16) ** 2)
    assert stride_of(Gauge(every=16), 32) == 2
    assert NoiseScale.unknown().updates == 0
