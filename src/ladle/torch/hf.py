"""`LadleMixin`: a `transformers.Trainer` that measures its gradient noise scale, advises a size, and may steer it.

Where it listens (transformers 5): in `training_step`, around each backward pass and behind the last one of an update.
Callbacks come too late: `on_pre_optimizer_step` is called with gradients that are clipped already.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from ladle.core.errors import ArgumentError, must
from ladle.core.moments import Gauge
from ladle.core.plan import Plan
from ladle.core.protocols import Policy
from ladle.torch.factor import Factor
from ladle.torch.host_advice import Advice, Move, Recent, Steer, progress_of
from ladle.torch.host_moments import Meter, Share, stride_of
from ladle.torch.optimizer import trained
from ladle.torch.refuse import require_gaugeable, require_pieces_of, require_usable
from ladle.torch.tree import cut, rows_of
from ladle.torch.untouched import kept_generators

try:
    from transformers import TrainerCallback
except ImportError as error:
    _why, _remedy = "its mixin is for transformers.Trainer", "pip install 'ladle[transformers]'"
    raise ImportError(must("ladle.torch.hf", "have transformers beside it", "none", _why, _remedy)) from error

NAME = "LadleMixin"
"""Where the Trainer keeps it in a checkpoint's `trainer_state.json`."""

DIVIDES = 1e-3
"""Largest relative error of a loss that ought to halve where the items that it is divided by are twice as many."""


class LadleMixin:
    """Makes a `transformers.Trainer` measure: written before it among the bases.

        class Trainer(ladle.torch.hf.LadleMixin, transformers.Trainer): ...

        trainer = Trainer(model, arguments, train_dataset=rows, gauge=ladle.Gauge())

    - `gauge`: which updates are measured. Micro-batches, and processes under DDP, are the pieces whose gradients are
      compared; one that is alone is gone through once more in `gauge.parts` pieces, by `compute_loss`.
    - `policy`: any that goes by noise or by a table. It is asked where an epoch begins, and moves
      `gradient_accumulation_steps`, by whole multiples of what the run began with; the rate's factor is there only
      within the optimiser's step, and the schedule goes on by examples. None: nothing is steered.
    - `plan`: what the policy begins from; its speed makes the advice one for the least time.

    `advice` is the newest. With each log of the Trainer: `ladle/noise_scale`, `_low`, `_high`, `ladle/batch_size`. An
    example is a row, and weighs as many as it has tokens with a label where the loss is a mean over tokens.

    Raises `ArgumentError` where training begins: several devices in one process, DeepSpeed, FSDP, LBFGS, batch norm, a
    policy that a Trainer cannot follow; and where a loss ignores `num_items_in_batch`, which is wrong without a word
    under accumulation.
    """

    advice: Advice | None = None

    def __init__(
        self,
        *args: Any,
        gauge: Gauge | None = None,
        policy: Policy | None = None,
        plan: Plan | None = None,
        **kwargs: Any,
    ) -> None:
        """As the Trainer's, with `gauge`, `policy` and `plan` by name."""
        super().__init__(*args, **kwargs)
        host: Any = self
        self._ladle = Listener(host, gauge or Gauge(), policy, plan)
        host.add_callback(_Calls(self._ladle))

    def training_step(self, model: nn.Module, inputs: Mapping[str, Any], num_items_in_batch: Any = None) -> Any:
        """The Trainer's own, listened to."""
        host: Any = super()
        return self._ladle.step(
            lambda: host.training_step(model, inputs, num_items_in_batch), inputs, num_items_in_batch
        )

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """The Trainer's own, with what is known of the noise scale."""
        host: Any = super()
        told = self._ladle.advise().numbers() if "loss" in logs and self._ladle.meter is not None else {}
        host.log({**logs, **told}, *args, **kwargs)


class Listener:
    """What a Trainer's training step and callbacks are told to."""

    def __init__(self, host: Any, gauge: Gauge, policy: Policy | None, plan: Plan | None) -> None:
        """Nothing is known before training begins."""
        self.host, self.gauge, self.policy, self.plan = host, gauge, policy, plan
        self.meter: Meter | None = None
        self.recent, self.steer, self.factor = Recent(), None, None
        self.steps, self.grown, self._seconds = 1, False, 0.0

    def begin(self) -> None:
        """Where training begins: what the run is, and what it was where it is resumed."""
        host = self.host
        args, model = host.args, host.model
        require_listened(host)
        self.optimizer: torch.optim.Optimizer = getattr(host.optimizer, "optimizer", host.optimizer)
        require_usable(model, self.optimizer)
        model.train()
        require_gaugeable(model, self.gauge)
        require_pieces_of(self.gauge, args.gradient_accumulation_steps, args.world_size, self.policy is not None)
        self.meter = Meter(trained(self.optimizer), args.world_size)
        self._began, self._checked = time.perf_counter(), False
        self.steps = args.gradient_accumulation_steps  # What the Trainer counted an epoch and its schedule by.
        self.unit = host._train_batch_size * args.world_size
        if self.policy is not None:
            self.steer, self.factor = Steer(self.policy, self.plan, self.unit, self.steps), Factor(self.optimizer)
            self._put(self.steer())
        self._set_stride()

    def load(self, was: Mapping[str, Any]) -> None:
        """What a checkpoint kept of it."""
        meter = self.meter
        assert meter is not None
        meter.updates, meter.examples, self._seconds = was["updates"], was["examples"], was["seconds"]
        self.recent.load(was["recent"])
        if was["grown"]:
            why = "a Trainer finds its epoch by counting updates, and those were of several sizes"
            raise ArgumentError(
                must(
                    "checkpoint", "be of one batch size", "one whose size was steered", why, "a new run from its model"
                )
            )
        if self.steer is not None and was["steer"] is not None:
            self.steer.load(was["steer"])

    def state(self) -> dict[str, Any]:
        """For a checkpoint of the Trainer: counts, what was measured of late, the policy's memory. Plain numbers."""
        assert self.meter is not None
        self.recent.add(self.meter.take())
        counts = {"updates": self.meter.updates, "examples": self.meter.examples, "seconds": self.seconds}
        steer = None if self.steer is None else self.steer.state()
        return {**counts, "recent": self.recent.state(), "grown": self.grown, "steer": steer}

    def end(self) -> None:
        """The optimiser is its own again, and the arguments what they were."""
        if self.factor is not None:
            self.factor.close()
        self.host.args.gradient_accumulation_steps = self.steps

    @property
    def seconds(self) -> float:
        return self._seconds + time.perf_counter() - self._began

    @property
    def pieces(self) -> bool:
        return self.host.args.gradient_accumulation_steps * self.host.args.world_size > 1

    def step(self, step: Callable[[], Any], inputs: Mapping[str, Any], items: Any) -> Any:
        """One micro-batch: `step` makes its backward pass."""
        meter, host = self.meter, self.host
        if meter is None:
            return step()
        if not meter.open:
            meter.begin()
        if meter.due and not self.pieces:
            with kept_generators():
                meter.cut(self._parts(inputs))
        if not meter.due or not self.pieces:
            return self._ended(rows_of(dict(inputs)), step())
        if not self._checked and self._divided(items):
            self._require_divided(inputs, items)
        with meter.piece(self._share(inputs, items)):
            found = step()
        if host.accelerator.sync_gradients:
            scaler = host.accelerator.scaler
            scale = 1.0 if scaler is None else scaler.get_scale()
            meter.end(scale, scaled=True)
        return found

    def _ended(self, rows: int, found: Any) -> Any:
        """After a micro-batch of an update that is not measured by its pieces."""
        assert self.meter is not None
        self.meter.pass_over(rows, last=self.host.accelerator.sync_gradients)
        return found

    def turn(self, epoch: float) -> None:
        """Where an epoch begins: ask the policy, put in force what it says."""
        if self.steer is None or self.meter is None or self.meter.examples == self.steer.progress.examples:
            return
        self.advise()
        after = progress_of(
            self.steer.progress,
            self.recent.untold(),
            examples=self.meter.examples,
            updates=self.meter.updates,
            epoch=epoch,
            seconds=self.seconds,
            size=self.size,
        )
        self._put(self.steer(after))
        self._set_stride()

    def keep_schedule(self) -> None:
        """After an update: as many more steps of the schedule as it holds of those that the schedule was made for."""
        host = self.host
        made = -(-host.current_gradient_accumulation_steps // self.steps)
        if host.accelerator.optimizer_step_was_skipped or not hasattr(host.lr_scheduler, "get_last_lr"):
            return
        if isinstance(host.lr_scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            return
        for _ in range(made - 1):
            host.lr_scheduler.step()

    @property
    def size(self) -> int:
        return self.unit * self.host.args.gradient_accumulation_steps

    def advise(self) -> Advice:
        assert self.meter is not None
        made = Advice.of(self.recent.add(self.meter.take()), self.size, self.plan, "each had one piece")
        self.host.advice = made
        return made

    def _set_stride(self) -> None:
        assert self.meter is not None
        loader = self.host.callback_handler.train_dataloader
        updates = len(loader) / self.host.args.gradient_accumulation_steps if hasattr(loader, "__len__") else 0.0
        self.meter.stride = stride_of(self.gauge, updates if self.pieces else None)

    def _put(self, move: Move) -> None:
        self.grown = self.grown or move.steps != self.steps
        self.host.args.gradient_accumulation_steps = move.steps
        if self.factor is not None:
            self.factor.value = move.factor

    def _divided(self, items: Any) -> bool:
        """Whether the loss is one over all items of the update, by the Trainer's own rule."""
        host = self.host
        told = getattr(host, "loss_is_scaled_for_ga", None)
        by_model = host.model_accepts_loss_kwargs and items is not None
        return items is not None and (by_model or host.compute_loss_func is not None if told is None else told)

    def _share(self, inputs: Mapping[str, Any], items: Any) -> Share:
        """What the micro-batch weighs in the update."""
        rows, tokens = rows_of(dict(inputs)), self._tokens(inputs)
        if self._divided(items):
            ranks = self.host.args.world_size if self.host.args.average_tokens_across_devices else 1
            of = float(items) / ranks
        else:
            of = float(tokens.sum()) * self.host.current_gradient_accumulation_steps
        tokens = tokens.double() / max(of, 1e-30)
        return Share(tokens.sum(), (tokens * tokens).sum(), rows)  # Read with the squares, at the update's end.

    def _tokens(self, inputs: Mapping[str, Any]) -> torch.Tensor:
        """`f32[rows]`: how many labels each row has."""
        labels = inputs.get("shift_labels", inputs.get("labels"))
        if not isinstance(labels, torch.Tensor) or labels.is_floating_point() or labels.ndim < 1:
            return torch.ones(rows_of(dict(inputs)))
        if labels.ndim > 1 and "shift_labels" not in inputs and self.host._loss_shifts_labels:
            labels = labels[..., 1:]
        return labels.ne(-100).reshape(len(labels), -1).sum(1)

    def _parts(self, inputs: Mapping[str, Any]) -> Iterator[tuple[torch.Tensor, Share]]:
        """The micro-batch in pieces, each with the loss that the mean over all its tokens has of it."""
        host, whole, rows = self.host, dict(host_inputs(self.host, inputs)), rows_of(dict(inputs))
        size, all_tokens = self.gauge.piece(rows), float(self._tokens(whole).sum())
        for start in range(0, rows, size):
            part = cut(whole, start, min(start + size, rows), min(size, rows - start))
            tokens = self._tokens(part).double() / max(all_tokens, 1e-30)
            with host.compute_loss_context_manager():
                loss = host.compute_loss(host.model, dict(part), num_items_in_batch=self._tokens(part).sum())
            weight = float(tokens.sum())
            yield loss * weight, Share(weight, float((tokens * tokens).sum()), len(tokens))

    def _require_divided(self, inputs: Mapping[str, Any], items: Any) -> None:
        """Refuse a loss that does not divide by what it is told, which the Trainer then does not divide either."""
        host, self._checked = self.host, True
        found = []
        for told in (items, 2 * items):
            with kept_generators(), torch.no_grad(), host.compute_loss_context_manager():
                found.append(
                    float(host.compute_loss(host.model, dict(host_inputs(host, inputs)), num_items_in_batch=told))
                )
        if abs(2 * found[1] - found[0]) > DIVIDES * max(abs(found[0]), 1e-12):
            why = "the Trainer leaves the division to it, so an accumulated gradient is too large, by the steps"
            remedy = "class attribute loss_is_scaled_for_ga = False in your Trainer, or a loss that divides"
            raise ArgumentError(must("the loss", "divide by num_items_in_batch", "one that ignores it", why, remedy))


class _Calls(TrainerCallback):
    """The Trainer's events, passed on."""

    def __init__(self, listener: Listener) -> None:
        """`listener`: who is told."""
        self.listener = listener

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.listener.begin()
        if (was := state.stateful_callbacks.get(NAME)) is not None:
            self.listener.load(was)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.listener.turn(float(state.epoch or 0.0))

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.listener.steer is not None:
            self.listener.keep_schedule()
        if control.should_save:
            state.stateful_callbacks[NAME] = self.listener.state()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if control.should_save:
            state.stateful_callbacks[NAME] = self.listener.state()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.listener.end()


def host_inputs(host: Any, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """The rows where the model is."""
    return host._prepare_inputs(dict(inputs))


def require_listened(host: Any) -> None:
    """Refuse a Trainer whose gradients are not those of the optimiser's step on this process."""
    args = host.args
    if args.n_gpu > 1:
        why = "DataParallel splits rows by itself"
        raise ArgumentError(must("n_gpu", "be one per process", args.n_gpu, why, "torchrun, with a process for each"))
    if host.is_deepspeed_enabled or host.is_fsdp_enabled:
        got, why = "DeepSpeed" if host.is_deepspeed_enabled else "FSDP", "its shards are not added up here"
        raise ArgumentError(must("parallelism", "be that of one device, or DDP", got, why, "DDP by torchrun"))
