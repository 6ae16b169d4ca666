"""`Constant`: one batch size from the first example to the last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ladle.core.decision import Decision, Progress
from ladle.core.spec import BatchSpec
from ladle.core.traits import Traits

if TYPE_CHECKING:
    from ladle.core.plan import Plan


@dataclass(frozen=True)
class Constant:
    """Decides always for `size` examples per update, cut into micro-batches of `micro_size`. Remembers nothing.

    Raises `ArgumentError` for a number below 1.

    >>> Constant(64, 16).decide(None, Progress(examples=1000))[1].spec
    BatchSpec(size=64, micro_size=16, length=None, updates=1)
    """

    size: int
    micro_size: int

    def __post_init__(self) -> None:
        BatchSpec(self.size, self.micro_size)

    @property
    def traits(self) -> Traits:
        return Traits(smallest=self.size, largest=self.size)

    def init(self, plan: Plan | None) -> None:
        return None

    def decide(self, memory: Any, progress: Progress) -> tuple[None, Decision]:
        return None, Decision(BatchSpec(self.size, self.micro_size))
