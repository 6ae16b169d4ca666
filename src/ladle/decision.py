"""`Decision`: what a policy answers, with its reason. `Progress`: what it is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ladle.spec import BatchSpec


@dataclass(frozen=True)
class Decision:
    """The next window: which spec, how long, at which learning-rate factor, and why.

    - `spec`: the batch size and its cut.
    - `stop`: position (examples since the start) at which this decision ends; `None` means "ask me at the next
      window". The update that reaches `stop` may pass it by less than one batch.
    - `lr_factor`: multiplies the task's learning rate.
    - `reason`: one plain sentence for the record; empty when nothing changed.
    """

    spec: BatchSpec
    stop: int | None = None
    lr_factor: float = 1.0
    reason: str = ""


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
