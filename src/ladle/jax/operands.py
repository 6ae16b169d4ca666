"""What a compiled window is called with: what it is compiled for, and the numbers that are data of the program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import jax
import numpy as np

from ladle.core.batch import Draw
from ladle.core.decision import Clock
from ladle.core.protocols import OrderProgram, ResidentDraw
from ladle.core.spec import BatchSpec
from ladle.jax.rows import Place, Resident


@dataclass(frozen=True)
class Rung:
    """What a window is compiled for, besides shapes and its meaning.

    - `micro_size`: rows of a forward pass, before they are rounded up for the devices.
    - `accumulate`: whether an update adds up several of them. `program`: that of the order.
    """

    micro_size: int
    accumulate: bool
    program: OrderProgram

    @classmethod
    def of(cls, spec: BatchSpec, program: OrderProgram) -> Rung:
        return cls(spec.micro_size, spec.micro_steps > 1, program)

    @property
    def epoch_size(self) -> int:
        return self.program.epoch_size


class Window(NamedTuple):
    """Which updates: `updates` batches of `size` from place `offset` of pass `epoch` on, one in `every` measured.

    They cross to the device as one array, `u32[5]`: each operand of its own would cost a call 1.5 us.
    """

    numbers: Any

    @classmethod
    def of(cls, *, epoch: int, offset: int, size: int, updates: int, every: int) -> Window:
        return cls(np.array([epoch, offset, size, updates, every], np.uint32))

    def apart(self) -> Window:
        """The same as five numbers: inside a program, so that a loop need not take them out of the array each time."""
        return Window(tuple(self.numbers[i] for i in range(5)))

    @property
    def place(self) -> Place:
        """Of the first example."""
        return Place(self.numbers[0], self.numbers[1])

    @property
    def size(self) -> Any:
        return self.numbers[2]

    @property
    def updates(self) -> Any:
        return self.numbers[3]

    @property
    def every(self) -> Any:
        return self.numbers[4]


class Pace(NamedTuple):
    """How the rate goes along its schedule: `lr_factor * rate(offset + pace * examples)`. Also one array, `f32[3]`."""

    constants: Any

    @classmethod
    def of(cls, lr_factor: float, clock: Clock) -> Pace:
        return cls(np.array([lr_factor, clock.offset, clock.pace], np.float32))

    @property
    def lr_factor(self) -> Any:
        return self.constants[0]

    def time(self, examples: jax.Array) -> jax.Array:
        """What time it is for the schedule after `examples` examples; see `ladle.core.decision.Clock`."""
        return self.constants[1] + self.constants[2] * examples


class Operands(NamedTuple):
    """What a compiled window takes after the state."""

    resident: Resident
    window: Window
    pace: Pace


def on_device(draw: Draw) -> ResidentDraw | None:
    """`draw` as one of resident data, or None where its rows travel from the host."""
    return cast(ResidentDraw, draw) if hasattr(draw, "order") else None
