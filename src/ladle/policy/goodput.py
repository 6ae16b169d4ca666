"""`Goodput`: the size with the most progress a second."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ladle.core.decision import Decision, Progress
from ladle.core.errors import ArgumentError, must
from ladle.core.noise import NoiseScale
from ladle.core.speed import Speed
from ladle.policy.averages import absorb, noise_of
from ladle.policy.change import AnyCoupling, Memory, require_coupling
from ladle.policy.move import may_move, moved
from ladle.policy.range import Range, require_range
from ladle.policy.reason import numbers, said
from ladle.policy.refuse import require_between
from ladle.policy.times import line_of, timed

if TYPE_CHECKING:
    from ladle.core.plan import Plan


@dataclass(frozen=True)
class Goodput:
    """The size with the most progress a second.

        goodput(B) = throughput(B) * efficiency(B) = B / (fixed + per_example B) * (phi + M0) / (phi + B)

    phi is the noise scale; M0 only scales the unit. The best B of all is sqrt(phi * fixed / per_example). Moves only
    where the goodput is at least `gain` better, `most` at a time (Qiao et al. 2021, Pollux; arXiv 2008.12260).

    - `fixed_seconds`, `per_example_seconds`: of an update, as a plan measures them. Left out, they are learned from the
      windows: the run then begins with a window each at two sizes.

    >>> policy = Goodput(Range(32, 4096, micro_size=256), fixed_seconds=0.02, per_example_seconds=1e-4)
    >>> policy.best(64, Speed(0.02, 1e-4), 800.0), policy.best(512, Speed(0.02, 1e-4), 800.0)
    (128, 512)
    """

    sizes: Range
    fixed_seconds: float | None = None
    per_example_seconds: float | None = None
    gain: float = 0.05
    coupling: AnyCoupling = "none"

    needs: ClassVar = ("noise", "seconds")

    def __post_init__(self) -> None:
        require_range(self.sizes)
        require_between("gain", self.gain, 0, 10, why="it is a share of the goodput")
        given = [value for value in (self.fixed_seconds, self.per_example_seconds) if value is not None]
        if len(given) == 1:
            why, remedy = "a line has two numbers", "per_example_seconds=1e-4, or neither"
            raise ArgumentError(must("fixed_seconds", "come with per_example_seconds", given[0], why, remedy))
        for value in given:
            require_between("seconds", value, 0, 1e6, why="an update takes time", above=True)
        require_coupling(self.coupling)

    def init(self, plan: Plan | None) -> Memory:
        return self.sizes.begin(plan)

    def decide(self, memory: Memory, progress: Progress) -> tuple[Memory, Decision]:
        memory = timed(absorb(self.sizes, memory, progress), progress)
        present, noise = self.sizes.present(memory), noise_of(self.sizes, memory)
        line, inputs = self._line(memory), numbers(noise)
        size, why = present, "seconds of a second size"
        if may_move(self.sizes, memory, progress) and noise.low > 0:
            size = self._next(present, line, noise)
        if line is not None:
            inputs |= {"fixed_seconds": line.fixed_seconds, "per_example_seconds": line.per_example_seconds}
            inputs["goodput_ratio"] = goodput(size, line, noise.low) / goodput(present, line, noise.low)
            why = f"{said(noise)}, an update takes {line.fixed_seconds:.3g} + {line.per_example_seconds:.3g} B seconds"
        how: dict[str, Any] = {"kind": "goodput", "why": why, "inputs": inputs, "coupling": self.coupling}
        return moved(self.sizes, memory, progress, size, **how)

    def best(self, present: int, line: Speed, noise: float) -> int:
        """The size of the grid, within `most` of `present`, with the largest goodput if that is `gain` better."""
        most = self.sizes.most
        reach = [size for size in self.sizes.grid if present / most <= size <= present * most]
        best = max(reach, key=lambda size: goodput(size, line, noise), default=present)
        better = goodput(best, line, noise) >= (1 + self.gain) * goodput(present, line, noise)
        return best if better else present

    def _line(self, memory: Mapping[str, Any]) -> Speed | None:
        if self.fixed_seconds is None or self.per_example_seconds is None:
            return line_of(memory)
        return Speed(self.fixed_seconds, self.per_example_seconds)

    def _next(self, present: int, line: Speed | None, noise: NoiseScale) -> int:
        if line is None:  # No second size was timed yet.
            other = self.sizes.toward(present, 2 * present, up=True)
            return other if other != present else self.sizes.toward(present, present / 2)
        phi = noise.value if noise.verdict == "resolved" else noise.low
        better = self.best(present, line, phi)
        # A noise scale known from below says when to grow, not when to shrink.
        return better if noise.verdict == "resolved" else max(better, present)


def goodput(size: float, line: Speed, noise: float) -> float:
    """Examples a second times what each is worth, (1 + 1/noise) / (1 + size/noise) of the first; 0 noise counts as 1.

    >>> goodput(400, Speed(0.02, 1e-4), 800.0) > goodput(410, Speed(0.02, 1e-4), 800.0)
    True
    """
    noise = max(noise, 1.0)
    return line.throughput(size) / (1 + size / noise)
