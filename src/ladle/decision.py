"""`Decision`: what a policy answers, with its reason. `Progress`: what it is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ladle.moments import Moments
from ladle.spec import BatchSpec


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
    """

    spec: BatchSpec
    stop: int | None = None
    lr_factor: float = 1.0
    reason: str = ""
    hyper: Mapping[str, float] = field(default_factory=dict)
    inputs: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Progress:
    """What policies, stopping rules and monitors may know between two windows. Plain numbers only.

    - `examples`, `updates`, `epoch` (examples / epoch size), `seconds` of training since the start of the run,
      earlier sittings included.
    - `reading`: the last window's means (`train_loss`, `grad_norm`, `noise_scale`, ...), and the newest `valid_*`.
    """

    examples: int = 0
    updates: int = 0
    epoch: float = 0.0
    seconds: float = 0.0
    reading: Mapping[str, float] = field(default_factory=dict)

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
        return cls(**counts, reading={**kept, **numbers})
