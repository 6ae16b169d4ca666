"""The schedule of sizes that follows the noise scale of a run, priced on the evidence of the plan."""

from __future__ import annotations

from dataclasses import dataclass

from ladle.core.noise import NoiseScale
from ladle.core.spec import rung_for
from ladle.planner.course import moved, size_of_parts, time_of_parts
from ladle.planner.decide import decide
from ladle.planner.evidence import Findings
from ladle.planner.measure import Accumulation

WORTH = 0.03
"""Of the time of one size, what a schedule must save to be offered."""


@dataclass(frozen=True)
class Follow:
    """Sizes for the parts of a run, `(examples at which each begins, size)`, and their time over that of one size."""

    sizes: tuple[tuple[int, int], ...]
    share: float

    @property
    def text(self) -> str:
        """As a schedule is written.

        >>> Follow(((0, 32), (640, 64)), 0.9).text
        '0:32 640:64'
        """
        return " ".join(f"{begins}:{size}" for begins, size in self.sizes)

    def remark(self) -> str:
        return f"The schedule '{self.text}' follows it, in {1 - self.share:.0%} less time than one size (predicted)."


def follow(found: Findings, size: int) -> Follow | None:
    """The schedule for the course of the noise that was `found`, beside one size; None where it saves too little.

    Sizes within one micro-batch that fits: above it an update's time is another one.
    """
    speed = found.speed
    if speed is None or not speed.straight or size > found.top or not moved(found.course):
        return None
    if any(reading.noise.verdict != "resolved" for reading in found.course):
        return None

    def best(noise: float) -> int:
        known = NoiseScale(noise, noise, noise, "resolved")
        rows = min(found.rows, found.top)
        return decide(known, speed, rows=rows, top=found.top, minimize="time", accumulation=_none).spec.size

    def seconds(at: int) -> float:
        return speed.line.seconds(rung_for(at, found.top))

    sizes = tuple(size_of_parts(found.course, best))
    share = time_of_parts(found.course, sizes, seconds) / time_of_parts(found.course, ((0, size),), seconds)
    return Follow(sizes, share) if len(sizes) > 1 and share < 1 - WORTH else None


def _none() -> Accumulation:
    raise AssertionError("sizes within one micro-batch need no accumulation")
