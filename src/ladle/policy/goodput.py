"""`Goodput`: the size with the most progress a second."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ladle.core.decision import Decision, Progress
from ladle.core.errors import ArgumentError, must
from ladle.core.noise import NoiseScale
from ladle.core.speed import Speed
from ladle.core.traits import AnyCoupling, Traits
from ladle.policy.change import Reason
from ladle.policy.coupling import require_coupling
from ladle.policy.follow import Following, watch
from ladle.policy.range import Range, require_range
from ladle.policy.reason import noise_inputs, noise_text
from ladle.policy.refuse import require_between
from ladle.policy.times import Times

if TYPE_CHECKING:
    from ladle.core.plan import Plan


@dataclass(frozen=True)
class Weighed:
    """Remembers where the size stands, what was measured, and how long updates took."""

    following: Following
    times: Times = field(default_factory=Times)

    @classmethod
    def recall(cls, memory: Any, sizes: Range, progress: Progress) -> Weighed:
        """From any policy's memory, or the JSON of one."""
        if isinstance(memory, cls):
            return memory
        return cls(Following.recall(memory, sizes, progress), Times.recall(memory))

    def to_json(self) -> dict[str, Any]:
        return {**self.following.to_json(), **self.times.to_json()}


@dataclass(frozen=True)
class Goodput:
    """Finds the size with the most progress a second.

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

    @property
    def traits(self) -> Traits:
        return Traits(("noise", "seconds"), self.sizes.smallest, self.sizes.largest, self.coupling, limit="sizes")

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

    def init(self, plan: Plan | None) -> Weighed:
        return Weighed(Following.begin(self.sizes, plan))

    def decide(self, memory: Any, progress: Progress) -> tuple[Weighed, Decision]:
        kept = Weighed.recall(memory, self.sizes, progress)
        following = watch(kept.following, self.sizes, progress)
        course, times = following.course, kept.times.absorb(following.course.last, progress)
        present, noise, speed = course.present(self.sizes), following.noise(self.sizes), self._speed(times)
        size = present
        if course.may_move(self.sizes, progress) and noise.low > 0:
            size = self._next(present, speed, noise)
        reason = self._reason(present, size, speed, noise)
        course, decision = course.move(self.sizes, size, progress, reason, self.coupling)
        return Weighed(replace(following, course=course), times), decision

    def best(self, present: int, speed: Speed, noise: float) -> int:
        """The size of the grid, within `most` of `present`, with the largest goodput if that is `gain` better."""
        most = self.sizes.most
        reach = [size for size in self.sizes.grid if present / most <= size <= present * most]
        best = max(reach, key=lambda size: goodput(size, speed, noise), default=present)
        better = goodput(best, speed, noise) >= (1 + self.gain) * goodput(present, speed, noise)
        return best if better else present

    def _speed(self, times: Times) -> Speed | None:
        if self.fixed_seconds is None or self.per_example_seconds is None:
            return times.speed()
        return Speed(self.fixed_seconds, self.per_example_seconds)

    def _reason(self, present: int, size: int, speed: Speed | None, noise: NoiseScale) -> Reason:
        if speed is None:
            return Reason("goodput", "seconds of a second size", noise_inputs(noise))
        seconds = f"{speed.fixed_seconds:.3g} + {speed.per_example_seconds:.3g} B seconds"
        ratio = goodput(size, speed, noise.low) / goodput(present, speed, noise.low)
        inputs = {**noise_inputs(noise), **vars(speed), "goodput_ratio": ratio}
        return Reason("goodput", f"{noise_text(noise)}, an update takes {seconds}", inputs)

    def _next(self, present: int, speed: Speed | None, noise: NoiseScale) -> int:
        if speed is None:  # No second size was timed yet.
            other = self.sizes.toward(present, 2 * present, up=True)
            return other if other != present else self.sizes.toward(present, present / 2)
        phi = noise.value if noise.verdict == "resolved" else noise.low
        better = self.best(present, speed, phi)
        # A noise scale known from below says when to grow, not when to shrink.
        return better if noise.verdict == "resolved" else max(better, present)


def goodput(size: float, speed: Speed, noise: float) -> float:
    """Examples a second times what each is worth, (1 + 1/noise) / (1 + size/noise) of the first; 0 noise counts as 1.

    >>> goodput(400, Speed(0.02, 1e-4), 800.0) > goodput(410, Speed(0.02, 1e-4), 800.0)
    True
    """
    noise = max(noise, 1.0)
    return speed.throughput(size) / (1 + size / noise)
