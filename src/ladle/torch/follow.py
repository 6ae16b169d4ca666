"""`Follow`: a ladle policy moves the batch size, the rate and the constants of a loop of your own."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ladle.core.carry import Carry
from ladle.core.cursor import Cursor
from ladle.core.decision import Clock, Decision, Progress
from ladle.core.duration import window_stop
from ladle.core.errors import RunError, must
from ladle.core.plan import Plan
from ladle.core.protocols import Policy
from ladle.core.spec import BatchSpec
from ladle.torch.averages import keep
from ladle.torch.factor import Factor
from ladle.torch.follow_refuse import require_constants, require_followable, rows_of_pass
from ladle.torch.optimizer import constants_of, set_constants

COUNTED = (
    "batches of {} after {}: a learning-rate scheduler that is stepped with every update now goes {:.3g} times as fast "
    "by examples. Step it by examples, or with every epoch"
)


class Follow:
    """Asks `policy` at the end of every window, and puts in force what it decides; says what happened in a line.

        follow = ladle.torch.Follow(policy, plan, loader, update)
        for batch in loader:
            update(batch, loss)
            for line in follow():
                record.write(line)

    - `policy`: any of `ladle.policy`. `plan`: what it begins from, or None.
    - `loader`: a `ladle.feed.Loader`, or anything whose `batch_size` may be set between two batches. A torch
      `DataLoader` may not: `ladle.feed.Loader(dataset, batch_size, to="torch")` takes its place.
    - `update`: the loop's `ladle.torch.Update`, with a gauge where the policy decides by noise.
    - `window`: examples from one question to the next, counted in every epoch from its start; an epoch where left out.
    - `rows`: of a pass, where the loader cannot tell.

    The optimiser's rate, with whatever schedule moves it, is the one for the policy's first size. The factor that comes
    with another size is there only within the step (`Factor`). Where the betas of Adam move, its averages keep their
    bias-corrected values. Lines have the columns of `metrics.jsonl`, so a report can be made of them.

    Raises `ArgumentError` for a loader whose size cannot be set, a policy whose needs are not measured, and constants
    that the optimiser has not.
    """

    def __init__(
        self,
        policy: Policy,
        plan: Plan | None,
        loader: Any,
        update: Any,
        *,
        window: int | None = None,
        rows: int | None = None,
    ) -> None:
        require_followable(policy, loader, update)
        self.policy, self.loader, self.update = policy, loader, update
        self.epoch_size = rows_of_pass(loader, rows)
        self.window = window or self.epoch_size
        self.factor = Factor(update.optimizer)
        self.memory: Any = policy.init(plan)
        self.progress = Progress(update.position, update.updates, update.position / self.epoch_size)
        self._constants, self._warned = constants_of(update.optimizer), False
        self._decide()

    @property
    def lr_factor(self) -> float:
        """What every rate is multiplied by in a step."""
        return self.factor.value

    @property
    def due(self) -> bool:
        """Whether the last update ended a window: the policy is asked when this is called next."""
        return self.update.position >= self._end

    def __call__(self) -> list[dict[str, Any]]:
        """The record line of the window that ended with the last update; nothing where none did."""
        if not self.due:
            return []
        seconds, busy = time.perf_counter() - self._began[0], time.process_time() - self._began[1]
        line = self._line(seconds, busy)
        self.progress = Progress.from_line(line, self.progress)
        line |= {name: value for name, value in self._explained.items() if value}
        self._decide()
        return [line]

    def read(self, **reading: float) -> None:
        """Tell the policy of an evaluation: `if follow.due: follow.read(valid_loss=evaluate())`, before `follow()`."""
        progress = replace(self.progress, evaluated=self.update.position)
        self.progress = replace(progress, reading={**progress.reading, **reading})

    def state_dict(self) -> dict[str, Any]:
        """All that this is between two updates, as JSON; the optimiser, the update and the loader have their own."""
        facts = Carry(None, Cursor(self.update.position), self.memory, self.progress).facts()
        spec, seconds = self._spec, time.perf_counter() - self._began[0]
        now = {"size": spec.size, "micro_size": spec.micro_size, "lr_factor": self.lr_factor, "end": self._end}
        clock = [self._clock.offset, self._clock.pace]
        now |= {"constants": self._constants, "clock": clock, "explained": self._explained, "window_seconds": seconds}
        return {**facts, "now": now}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another left off: the same size, factor and window. Load the optimiser's own state as well."""
        carry, now = Carry.from_facts(None, dict(state)), state["now"]
        self.memory, self.progress, self._end = carry.memory, carry.progress, now["end"]
        self._constants, self._explained = dict(now["constants"]), dict(now["explained"])
        self._clock = Clock(*now["clock"])
        self._put(BatchSpec(now["size"], now["micro_size"]), now["lr_factor"])
        self._began = (time.perf_counter() - now["window_seconds"], time.process_time())

    def close(self) -> None:
        """Take the hooks off the optimiser: what it does is its own again. Size and constants stay as they are."""
        self.factor.close()

    def _decide(self) -> None:
        """Ask the policy, and put in force what it says."""
        self.memory, decision = self.policy.decide(self.memory, self.progress)
        if decision.spec.size > self.epoch_size:
            be, why = f"decide at most the {self.epoch_size:,} examples of a pass", "a batch never crosses its end"
            raise RunError(must("policy", be, decision.spec.size, why, "a smaller largest size"))
        own = window_stop(self.update.position, self.window, self.epoch_size)
        self._end = own if decision.stop is None else min(own, decision.stop)
        if self._end <= self.update.position:
            why = "a window needs an update"
            raise RunError(must("policy", f"decide past position {self.update.position}", decision, why, "stop=None"))
        self._say(decision)
        self._move(decision.hyper)
        self._put(decision.spec, decision.lr_factor)
        self._clock = decision.clock
        self._explained = {
            "reason": decision.reason,
            "hyper": dict(decision.hyper),
            "inputs": dict(decision.inputs),
        }
        self._began = (time.perf_counter(), time.process_time())

    def _put(self, spec: BatchSpec, lr_factor: float) -> None:
        self._spec, self.factor.value = spec, lr_factor
        self.loader.batch_size = spec.size
        self.update.micro_size = min(
            spec.micro_size, spec.size
        )  # It fills up to that, which would be work for nothing.

    def _move(self, hyper: Mapping[str, float]) -> None:
        """Constants by their absolute values; those not named stay."""
        optimizer, old = self.update.optimizer, self._constants
        require_constants(optimizer, old, hyper)
        new = {**old, **{name: float(value) for name, value in hyper.items()}}
        keep(optimizer, old, new)
        set_constants(optimizer, old, new)
        self._constants = new

    def _say(self, decision: Decision) -> None:
        """Warn once where sizes move and a scheduler is stepped with the optimiser."""
        before = self.progress.size
        counts = getattr(self.update.optimizer.step, "_wrapped_by_lr_sched", False)
        if counts and not self._warned and before not in (None, decision.spec.size):
            self._warned = True
            told = COUNTED.format(decision.spec.size, before, decision.spec.size / before)
            warnings.warn(told, UserWarning, stacklevel=4)

    def _line(self, seconds: float, busy: float) -> dict[str, Any]:
        """The record of the window that has ended."""
        before, at = self.progress, self.update.position
        reading: dict[str, Any] = self.update.observation().read(population=self.epoch_size)
        reading |= {"cpu_seconds": busy, "window_seconds": seconds}
        reading |= self._clock.reading(at, self.epoch_size)
        if before.evaluated is not None:
            reading["evaluated"] = before.evaluated
        return {
            "examples": at,
            "updates": self.update.updates + self.update.refused,
            "epoch": at / self.epoch_size,
            "seconds": before.seconds + seconds,
            "size": self._spec.size,
            "micro_size": self.update.micro_size,
            "lr_factor": self.lr_factor,
            "examples_per_second": (at - before.examples) / max(seconds, 1e-9),
            **reading,
        }
