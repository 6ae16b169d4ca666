"""`Decision`: what a policy answers, with its reason. `Progress`: what it is told."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ladle.core.moments import Moments
from ladle.core.spec import BatchSpec


@dataclass(frozen=True)
class Clock:
    """What time it is for learning-rate schedules and for bounds in examples or epochs: `offset + pace * examples`.

    Examples themselves, unless a policy says that an update of a large batch stands for fewer than it holds.

    >>> Clock(1000.0, 0.5).at(400), Clock(1000.0, 0.5).reaches(1201)
    (1200.0, 402)
    """

    offset: float = 0.0
    pace: float = 1.0

    def at(self, examples: float) -> float:
        """The time at position `examples`."""
        return self.offset + self.pace * examples

    def reaches(self, time: float) -> int:
        """The first position at which it is `time`."""
        position = math.ceil((time - self.offset) / self.pace)
        while self.at(position) < time:  # by a rounding
            position += 1
        return position

    def reading(self, examples: int, epoch_size: int) -> dict[str, float]:
        """What `Progress.time` reads at a position; nothing where time is examples."""
        time = self.at(examples)
        return {} if self == Clock() else {"clock": time, "clock_epoch": time / epoch_size}


@dataclass(frozen=True)
class Decision:
    """The next window: which spec, how long, at which learning-rate factor, and why.

    - `spec`: the batch size and its cut.
    - `stop`: position (examples since the start) at which this decision ends; `None` means "ask me at the next
      window". The update that reaches `stop` may pass it by less than one batch.
    - `lr_factor`: multiplies the task's learning rate.
    - `reason`: one plain sentence for the record; empty when nothing changed.
    - `hyper`: optimiser constants and regularisation levels in force (`b2`, `weight_decay`, `dropout`, ...), absolute
      values; those not named stay as they are. Empty for none.
    - `inputs`: the numbers that the decision rests on, by name, for the record.
    - `clock`: the time by which learning-rate schedules go, and bounds of the run in examples and epochs.
    - `reset`: whether the optimiser's averages begin anew before this window. Weights and constants stay.
    """

    spec: BatchSpec
    stop: int | None = None
    lr_factor: float = 1.0
    reason: str = ""
    hyper: Mapping[str, float] = field(default_factory=dict)
    inputs: Mapping[str, float] = field(default_factory=dict)
    clock: Clock = Clock()
    reset: bool = False


@dataclass(frozen=True)
class Progress:
    """What policies, stopping rules and monitors may know between two windows. Plain numbers only.

    - `examples`, `updates`, `epoch` (examples / epoch size), `seconds` of training since the start of the run,
      earlier sittings included.
    - `clock`, `clock_epoch` in `reading`: the time by which the run goes, where its policy has a clock of its own.
    - `reading`: the last window's means (`train_loss`, `grad_norm`, `noise_scale`, ...), and the newest `valid_*`.
    - `size`: the batch size of the last window. `evaluated`: the position of the newest evaluation. None before any.
    """

    examples: int = 0
    updates: int = 0
    epoch: float = 0.0
    seconds: float = 0.0
    reading: Mapping[str, float] = field(default_factory=dict)
    size: int | None = None
    evaluated: int | None = None

    @property
    def time(self) -> tuple[float, float]:
        """`(examples, epochs)` that bounds of the run are held against."""
        return self.reading.get("clock", self.examples), self.reading.get("clock_epoch", self.epoch)

    def moments(self) -> Moments:
        """The gradient moments of the last window; none where it measured none."""
        return Moments.from_sums(self.reading)

    @classmethod
    def from_line(cls, line: Mapping[str, Any], before: Progress | None = None) -> Progress:
        """What a policy was told after the window of record `line`: a record replays every decision made on it.

        The newest `valid_*` readings of `before` are kept until there are newer ones.

        >>> Progress.from_line({"examples": 64, "updates": 1, "epoch": 0.5, "seconds": 0.1, "valid_loss": 2.0}).reading
        {'valid_loss': 2.0}
        """
        counts = {name: line[name] for name in ("examples", "updates", "epoch", "seconds")}
        kept = {} if before is None else {n: v for n, v in before.reading.items() if n.startswith("valid_")}
        numbers = {
            name: float(value)
            for name, value in line.items()
            if name not in counts and isinstance(value, int | float) and not isinstance(value, bool)
        }
        size = line.get("size", None if before is None else before.size)
        evaluated = line.get("evaluated", None if before is None else before.evaluated)
        return cls(**counts, reading={**kept, **numbers}, size=size, evaluated=evaluated)
