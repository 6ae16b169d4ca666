"""A dry run: any policy played on the exact noisy quadratic, window by window as the training loop plays it.

Nothing is sampled and nothing is trained, so a run of a million updates takes as long as its windows are many. Time
comes from the speed of some hardware, seconds as a line in the size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Literal

import numpy as np

from ladle.core.decision import Decision, Progress
from ladle.core.duration import Target, Until, window_stop
from ladle.core.errors import ArgumentError, must
from ladle.core.plan import Plan
from ladle.core.protocols import Policy
from ladle.core.spec import require_count
from ladle.core.speed import Speed
from ladle.quadratic.noisy_quadratic import NoisyQuadratic
from ladle.quadratic.readings import Instrument, readings
from ladle.quadratic.recursion import SecondMoments

EXPLODED = 1e3
"""A loss of so many times the first one has diverged."""

WINDOW = 8192
"""Examples between two decisions, where nothing else is said."""

METRICS = ("loss", "valid_loss")
"""Names of the expected loss, in a target and in a policy's readings."""


@dataclass(frozen=True)
class Window:
    """One window of a dry run. `start`: examples drawn before it. `loss`, `noise_scale`: expected, at its end."""

    start: int
    size: int
    lr_factor: float
    steps: int
    loss: float
    noise_scale: float
    reason: str = ""


@dataclass(frozen=True)
class Rehearsal:
    """How a dry run ended, and the way there.

    - `status`: "reached" (its target), "ended" (at a bound), "diverged". `why`: in words.
    - `loss`: expected, at the end; `first_loss`: before the first update. `switches`: changes of the batch size.
    - `lr`: the rate at factor 1. `seconds`: as the hardware line predicts.
    """

    lr: float
    first_loss: float
    loss: float
    steps: int
    examples: int
    seconds: float
    switches: int
    status: Literal["reached", "ended", "diverged"]
    why: str
    windows: tuple[Window, ...]


def rehearse(
    policy: Policy,
    quadratic: NoisyQuadratic,
    *,
    lr: float,
    until: Until,
    line: Speed,
    window: int = WINDOW,
    epoch_size: int | None = None,
    momentum: float = 0.0,
    instrument: Instrument = Instrument(),
    plan: Plan | None = None,
) -> Rehearsal:
    """Play `policy` from the start of `quadratic` until `until` ends it.

    - `lr`: learning rate at factor 1. `momentum`: until a decision's `hyper` says otherwise.
    - `line`: seconds of an update. `window`: examples between two decisions; windows also end where a decision, an
      epoch or the run does.
    - `epoch_size`: what an epoch is, for policies and bounds that count them. Examples are always fresh ones. Where it
      is given, policies and patience read `valid_loss` where a real run is evaluated: before the first update and in
      windows that end an epoch. Left out, in every window.
    - A target on `loss` (or `valid_loss`) ends the run at the very update that reaches it; one on `train_loss`, the
      mean over a window, and patience are looked at between windows.

    Raises `ArgumentError` for a rate or window that is not positive, a bound in epochs without `epoch_size`, a
    target of another metric. A loss that explodes is no error but the status "diverged".

    >>> class Doubling:
    ...     def init(self, plan): return None
    ...     def decide(self, memory, progress):
    ...         from ladle.core.spec import BatchSpec
    ...         return None, Decision(BatchSpec(8 if progress.examples < 2000 else 16, 16))
    >>> until = Until.parse("loss <= 0.1, 1e5 steps")
    >>> quadratic, line = NoisyQuadratic.power_law(100), Speed(0.02, 1e-4)
    >>> run = rehearse(Doubling(), quadratic, lr=0.1, until=until, line=line, window=1000)
    >>> run.status, run.steps, run.examples, run.switches
    ('reached', 557, 6912, 1)
    """
    require_count("window", window)
    _check(until, epoch_size)
    stage = _Stage(quadratic, line, epoch_size, instrument)
    spread, memory = quadratic.begin(), policy.init(plan)
    windows: list[Window] = []
    history: list[float] = []
    first = loss = quadratic.loss(spread)
    progress = Progress(reading=dict.fromkeys(METRICS, first))
    while (why := _ended(until, progress, history, loss)) is None:
        memory, decision = policy.decide(memory, progress)
        momentum = float(decision.hyper.get("momentum", momentum))
        steps = _steps(decision, progress, until, window, epoch_size)
        rate = lr * decision.lr_factor
        spread, steps, progress = stage.play(spread, progress, decision, rate, momentum, steps, _target(until))
        loss = quadratic.loss(spread)
        noise = quadratic.at(spread).simple_noise_scale if math.isfinite(loss) else math.nan
        start = progress.examples - steps * decision.spec.size
        windows.append(Window(start, decision.spec.size, decision.lr_factor, steps, loss, noise, decision.reason))
        if until.patience_metric in progress.reading:
            history.append(progress.reading[until.patience_metric])
        if not loss <= EXPLODED * first:
            why = _diverged(quadratic, windows[-1], rate, momentum, progress.updates)
            break
    status = "diverged" if why.startswith("diverged") else "reached" if why.startswith("target") else "ended"
    counts = (progress.updates, progress.examples, progress.seconds, switches(windows))
    return Rehearsal(lr, first, loss, *counts, status, why, tuple(windows))


@dataclass(frozen=True)
class _Stage:
    """What stays the same from window to window."""

    quadratic: NoisyQuadratic
    line: Speed
    epoch_size: int | None
    instrument: Instrument

    def play(
        self,
        spread: SecondMoments,
        progress: Progress,
        decision: Decision,
        rate: float,
        momentum: float,
        steps: int,
        target: float | None,
    ) -> tuple[SecondMoments, int, Progress]:
        """One window: fewer updates than `steps` where the loss at its end is at most `target`."""
        size = decision.spec.size
        window = partial(self.quadratic.window, spread, size=size, rate=rate, momentum=momentum)
        after, mean = window(steps=steps)
        if target is not None and self.quadratic.loss(after) <= target:
            needed = self.quadratic.steps_to(target, spread=spread, most=steps, size=size, rate=rate, momentum=momentum)
            steps = min(steps, max(int(needed), 1)) if math.isfinite(needed) else steps
            after, mean = window(steps=steps)
        return after, steps, self._advance(progress, decision, steps, mean, self.quadratic.loss(after))

    def _advance(self, progress: Progress, decision: Decision, steps: int, mean: np.ndarray, loss: float) -> Progress:
        """What the policy reads next."""
        size = decision.spec.size
        each, examples = self.line.seconds(size), progress.examples + steps * size
        point = self.quadratic.at(mean)
        reading = {"loss": loss, "train_loss": point.loss}
        if self.epoch_size is None or examples // self.epoch_size > progress.examples // self.epoch_size:
            reading["valid_loss"] = loss
        if math.isfinite(point.loss):
            moments = self.instrument.moments(point, size=size, updates=steps, position=progress.examples)
            reading |= readings(point, moments, size=size)
        reading |= {"size": size, "micro_size": decision.spec.micro_size, "lr_factor": decision.lr_factor}
        reading |= {"window_seconds": steps * each, "cpu_seconds": steps * each, "examples_per_second": size / each}
        reading |= decision.clock.reading(examples, self.epoch_size or 1)
        epoch = examples / self.epoch_size if self.epoch_size else 0.0
        counts = examples, progress.updates + steps, epoch, progress.seconds + steps * each
        return Progress(*counts, reading, size=size)


def switches(windows: Sequence[Window]) -> int:
    """How often the batch size changed from one window to the next."""
    return sum(before.size != after.size for before, after in pairwise(windows))


def target_text(target: Target) -> str:
    """The target in words.

    >>> target_text(Target("loss", False, 0.05))
    'loss <= 0.05'
    """
    return f"{target.metric} {'>=' if target.at_least else '<='} {target.value:g}"


def _steps(decision: Decision, progress: Progress, until: Until, window: int, epoch_size: int | None) -> int:
    """Updates of the next window; the last one may pass its end."""
    stop = until.stop(epoch_size or 1)
    bound = None if stop is None else decision.clock.reaches(stop)
    ends = decision.stop, bound, window_stop(progress.examples, window, epoch_size)
    end = min(end for end in ends if end is not None)
    if end <= progress.examples:
        why = "a window needs an update"
        raise ArgumentError(
            must("policy", f"decide past position {progress.examples}", decision.stop, why, "stop=None")
        )
    steps = -(-(end - progress.examples) // decision.spec.size)
    return steps if until.updates is None else min(steps, until.updates - progress.updates)


def _target(until: Until) -> float | None:
    """The level that ends the run within a window."""
    return until.target.value if until.target and until.target.metric in METRICS else None


def _ended(until: Until, progress: Progress, history: Sequence[float], loss: float) -> str | None:
    """Why the run is over. The target is asked for first: it may be reached with the very last update."""
    newest = replace(progress, reading={**progress.reading, "loss": loss, "valid_loss": loss})
    target = Until(target=until.target).ended(newest) if until.target else None
    return target or until.ended(progress, history)


def _diverged(quadratic: NoisyQuadratic, window: Window, rate: float, momentum: float, steps: int) -> str:
    most = quadratic.largest_rate(window.size, momentum)
    loss = f"{window.loss:.3g}" if math.isfinite(window.loss) else "without bound"
    text = f"diverged: expected loss {loss} after {steps:,} updates at rate {rate:.4g}, size {window.size:,}"
    return f"{text}; rates of {most:.4g} and more have no bound there" if rate >= most else text


def _check(until: Until, epoch_size: int | None) -> None:
    if until.epochs is not None and epoch_size is None:
        why = "the quadratic has no epochs of its own"
        raise ArgumentError(must("until", "not count epochs", f"{until.epochs:g} epochs", why, "epoch_size=50_000"))
    if until.target is None:
        return
    if until.target.metric not in (*METRICS, "train_loss") or until.target.at_least:
        why = "a quadratic has no other"
        raise ArgumentError(must("until", "bound the loss from above", target_text(until.target), why, "'loss <= 0.1'"))
