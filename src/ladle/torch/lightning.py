"""`Ladle`: a callback that measures the gradient noise scale of a Lightning run, advises a size, and may steer it.

Where it listens (Lightning 2.4 to 2.6): around each backward pass, of a loss that is divided by
`accumulate_grad_batches`; and at `on_before_optimizer_step`, where gradients are unscaled and not yet clipped.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import torch

from ladle.core.errors import ArgumentError, must
from ladle.core.moments import Gauge
from ladle.core.plan import Plan
from ladle.core.protocols import Policy
from ladle.core.spec import require_count
from ladle.torch.factor import Factor
from ladle.torch.host_advice import Advice, Move, Recent, Steer, progress_of
from ladle.torch.host_moments import Meter, Share, parts_of, stride_of
from ladle.torch.optimizer import trained
from ladle.torch.refuse import require_gaugeable, require_pieces_of, require_usable
from ladle.torch.tree import rows_of
from ladle.torch.untouched import kept_generators

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
    from lightning.pytorch.callbacks import GradientAccumulationScheduler
    from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
    from lightning.pytorch.utilities import rank_zero_info
except ImportError as error:
    _why, _remedy = "its callback is one of Lightning's", "pip install 'ladle[lightning]'"
    raise ImportError(must("ladle.torch.lightning", "have Lightning beside it", "none", _why, _remedy)) from error

ONE_PIECE = "accumulate_grad_batches is 1 on one device; accumulate over two, or give Ladle(loss=)"
COUNTED = (
    "accumulate_grad_batches went from {} to {}: a scheduler with interval='step' now goes {:.3g} times as fast by "
    "examples, and max_steps counts other steps. interval='epoch' and max_epochs do not change"
)


class Ladle(Callback):
    """Measures the gradient noise scale of a run, logs it with its interval at the end of each epoch, advises a size.

        trainer = lightning.Trainer(accumulate_grad_batches=4, callbacks=[ladle.torch.lightning.Ladle()])

    - `gauge`: which updates are measured. Their micro-batches, and processes under DDP, are the pieces whose gradients
      are compared. A single micro-batch on one device has none: accumulate, or give `loss`.
    - `loss(module, batch)`: a loss of each row, `f32[rows]`, by which a measured update of one micro-batch is gone
      through once more in `gauge.parts` pieces. Nothing is logged by it, no gradient and no random number moved.
    - `policy`: any that goes by noise or by a table. It is asked at the end of each epoch, and moves
      `accumulate_grad_batches`; the rate's factor is there only within the optimiser's step. None: nothing is steered.
    - `plan`: what the policy begins from; its speed makes the advice one for the least time.
    - `window`: updates from one log to the next within an epoch; None for the ends of epochs alone.
    - `rows(batch)`: of a batch, where it is no tree of tensors with rows first.

    `advice` is the newest. Logged: `ladle/noise_scale`, `_low`, `_high`, `ladle/batch_size`, as far as they are known.
    The loader's own size stays: Lightning makes its loader once. The short window that ends an epoch is divided by the
    full count, as Lightning does it: its step is too short, which is not mended here; its moments are exact.

    Raises `ArgumentError` where the fit begins: manual optimisation, several optimisers, LBFGS, strategies that shard,
    batch norm, a policy that Lightning cannot follow.
    """

    def __init__(
        self,
        *,
        gauge: Gauge | None = None,
        policy: Policy | None = None,
        plan: Plan | None = None,
        loss: Callable[[Any, Any], Any] | None = None,
        window: int | None = None,
        rows: Callable[[Any], int] = rows_of,
    ) -> None:
        super().__init__()
        self.gauge, self.policy, self.plan, self.loss = gauge or Gauge(), policy, plan, loss
        self.window = None if window is None else require_count("window", window)
        self.rows, self.advice = rows, None
        self._recent, self._seconds = Recent(), 0.0
        self._loaded: Mapping[str, Any] = {}
        self._steer: Steer | None = None
        self._factor: Factor | None = None
        self._watching, self._here, self._unit = ExitStack(), 0, 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        require_followed(trainer, pl_module, self.gauge)
        require_pieces_of(self.gauge, trainer.accumulate_grad_batches, trainer.world_size, self.policy is not None)
        optimizer: Any = trainer.optimizers[0]
        self._meter = Meter(trained(optimizer), trainer.world_size)
        self._meter.updates, self._meter.examples = self._loaded.get("updates", 0), self._loaded.get("examples", 0)
        self._seconds = self._loaded.get("seconds", 0.0)
        self._began = time.perf_counter()
        self._unit = batch_of(trainer) * trainer.world_size
        if self.policy is not None:
            self._begin_steering(trainer, optimizer)
        self._set_stride(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._here = self.rows(batch)
        self._unit = max(self._unit, self._here * trainer.world_size)
        if batch_idx % trainer.accumulate_grad_batches == 0 or not self._meter.open:
            self._meter.begin()
        if self.loss is not None and not self._pieces(trainer) and self._meter.due:
            with kept_generators(), trainer.precision_plugin.forward_context():
                self._meter.cut(parts_of(pl_module, batch, self._here, self.gauge, self.loss))

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: torch.Tensor) -> None:
        if self._pieces(trainer):
            share = Share.mean(self._here, trainer.accumulate_grad_batches)
            self._watching.enter_context(self._meter.piece(share))

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._watching.close()

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        if not self._pieces(trainer):
            self._meter.pass_over(self._here)
            return
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        self._meter.end(1.0 if scaler is None else scaler.get_scale())

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        ended = not self._meter.open and self.window is not None and self._meter.updates % self.window == 0
        if ended:
            self._tell(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._tell(trainer, pl_module)
        rank_zero_info(f"ladle: {self.advice}")
        if self._steer is None:
            return
        after = progress_of(
            self._steer.progress,
            self._recent.untold(),
            examples=self._meter.examples,
            updates=self._meter.updates,
            epoch=float(trainer.current_epoch + 1),
            seconds=self._seconds + time.perf_counter() - self._began,
            size=self._unit * trainer.accumulate_grad_batches,
        )
        self._put(trainer, self._steer(after))
        self._set_stride(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._close()

    def state_dict(self) -> dict[str, Any]:
        """For Lightning's checkpoints: counts, what was measured of late, the policy's memory. Plain numbers."""
        if not hasattr(self, "_meter"):
            return dict(self._loaded)
        self._recent.add(self._meter.take())
        steer = self._steer
        now = {"steps": self._move.steps, "factor": self._move.factor, **steer.state()} if steer is not None else None
        seconds = self._seconds + time.perf_counter() - self._began
        counts = {"updates": self._meter.updates, "examples": self._meter.examples, "seconds": seconds}
        return {**counts, "recent": self._recent.state(), "steer": now}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._loaded = dict(state_dict)
        if "recent" in self._loaded:
            self._recent.load(self._loaded["recent"])

    def _pieces(self, trainer: Trainer) -> bool:
        return trainer.accumulate_grad_batches * trainer.world_size > 1

    def _set_stride(self, trainer: Trainer) -> None:
        per_epoch = trainer.num_training_batches / trainer.accumulate_grad_batches
        self._meter.stride = stride_of(self.gauge, per_epoch if self._pieces(trainer) else None)

    def _tell(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Advise and log."""
        size = self._unit * trainer.accumulate_grad_batches
        missing = "" if self._pieces(trainer) or self.loss is not None else ONE_PIECE
        self.advice = Advice.of(self._recent.add(self._meter.take()), size, self.plan, missing)
        pl_module.log_dict(self.advice.numbers(), sync_dist=trainer.world_size > 1)

    def _begin_steering(self, trainer: Trainer, optimizer: torch.optim.Optimizer) -> None:
        if any(isinstance(one, GradientAccumulationScheduler) for one in trainer.callbacks):  # type: ignore[attr-defined]
            got, why = "one beside a GradientAccumulationScheduler", "both would set accumulate_grad_batches"
            raise ArgumentError(must("policy", "be alone", got, why, "one of the two"))
        if not self._unit:
            why, remedy = "sizes are its batches times a count", "a DataLoader with batch_size, or policy=None"
            raise ArgumentError(must("train_dataloader", "tell its batch_size", "none", why, remedy))
        assert self.policy is not None
        self._steer, self._factor = Steer(self.policy, self.plan, self._unit), Factor(optimizer)
        if (was := self._loaded.get("steer")) is None:
            self._move = self._steer()
        else:
            self._steer.load(was)
            self._move = Move(was["steps"], was["steps"] * self._unit, was["factor"], "")
        trainer.accumulate_grad_batches, self._factor.value = self._move.steps, self._move.factor

    def _put(self, trainer: Trainer, move: Move) -> None:
        """What the policy decided, from the next epoch on."""
        before, self._move = self._move.steps, move
        if self._factor is not None:
            self._factor.value = move.factor
        trainer.accumulate_grad_batches = move.steps
        if move.steps == before:
            return
        rank_zero_info(f"ladle: {move.reason or f'batches of {move.size:,} examples'}")
        if any(config.interval == "step" for config in trainer.lr_scheduler_configs):
            warnings.warn(COUNTED.format(before, move.steps, move.steps / before), UserWarning, stacklevel=2)

    def _close(self) -> None:
        self._watching.close()
        if self._factor is not None:
            self._factor.close()


def require_followed(trainer: Trainer, pl_module: LightningModule, gauge: Gauge) -> None:
    """Refuse what Lightning's hooks do not tell enough of."""
    if not pl_module.automatic_optimization:
        why, remedy = "in a loop of your own the division is yours, too", "ladle.torch.Update in training_step"
        raise ArgumentError(must("optimization", "be automatic", "manual", why, remedy))
    if len(trainer.optimizers) != 1:
        why, remedy = "an update is one step of all that is trained", "one optimiser with several groups"
        raise ArgumentError(must("optimizers", "be one", len(trainer.optimizers), why, remedy))
    strategy: Any = trainer.strategy
    whole = isinstance(strategy, SingleDeviceStrategy | DDPStrategy) and not strategy.handles_gradient_accumulation
    if not whole:
        got, why = type(strategy).__name__, "norms and squares of shards are not added up here"
        raise ArgumentError(must("strategy", "be that of one device, or DDP", got, why, "Trainer(strategy='ddp')"))
    require_usable(pl_module, trainer.optimizers[0])
    require_gaugeable(pl_module, gauge)


def batch_of(trainer: Trainer) -> int:
    """Rows of the loader's batch on a process; 0 where it does not say."""
    loader = trainer.train_dataloader
    size = getattr(loader, "batch_size", None) or getattr(getattr(loader, "batch_sampler", None), "batch_size", None)
    return size if isinstance(size, int) else 0
