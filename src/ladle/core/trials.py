"""`Trials`: what a search wants of whoever computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from ladle.core.protocols import DeviceOrder, State
from ladle.core.spec import BatchSpec


class Trials(Protocol):
    """Trains and judges trials of a search, each a pure function of its arguments: size, rate, seed, fold."""

    def rung(self, size: int) -> BatchSpec:
        """What the program that runs batches of `size` is compiled for."""
        ...

    def prepare(self, order: DeviceOrder, sizes: Sequence[int]) -> None:
        """Compile all that trials at `sizes` need; nothing is trained."""
        ...

    def start(self, seed: int, hyper: Mapping[str, float]) -> State: ...

    def advance(self, state: State, order: DeviceOrder, size: int, begun: int, updates: int) -> tuple[State, bool]:
        """Updates `begun` to `updates` at `size`, and whether one was refused. Consumes the state."""
        ...

    def score(self, state: State, fold: int) -> dict[str, float]:
        """Losses and metrics on the rows that `fold` leaves out: `{"valid_loss": ...}`."""
        ...

    def advance_all(
        self, states: list[State], orders: Sequence[DeviceOrder], size: int, begun: int, updates: int
    ) -> tuple[list[State], list[bool]]:
        """`advance` for many trials of one size as one program."""
        ...

    def score_all(self, states: Sequence[State], folds: Sequence[int]) -> list[dict[str, float]]: ...
