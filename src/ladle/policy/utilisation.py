"""`Utilisation`: the batch grows while that makes the machine faster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ladle.core.decision import Decision, Progress
from ladle.core.spec import require_count
from ladle.core.speed import Speed
from ladle.core.traits import AnyCoupling, Traits
from ladle.policy.change import Reason
from ladle.policy.coupling import require_coupling
from ladle.policy.course import Course
from ladle.policy.range import Range, require_range
from ladle.policy.refuse import require_between
from ladle.policy.times import Times

if TYPE_CHECKING:
    from ladle.core.plan import Plan


@dataclass(frozen=True)
class Timed:
    """Remembers where the size stands, and how long updates took."""

    course: Course
    times: Times = field(default_factory=Times)

    @classmethod
    def recall(cls, memory: Any, sizes: Range, progress: Progress) -> Timed:
        """From any policy's memory, or the JSON of one."""
        if isinstance(memory, cls):
            return memory
        return cls(Course.recall(memory, sizes, progress), Times.recall(memory))

    def to_json(self) -> dict[str, Any]:
        return {**self.course.to_json(), **self.times.to_json()}


@dataclass(frozen=True)
class Utilisation:
    """Doubles the batch as long as that makes the machine faster by `gain`, and not because of reading.

        throughput(2B) / throughput(B) >= 1 + gain        throughput(B) = B / (fixed + per_example B)

    The line is learned from the windows, so one doubling comes first. It looks at the machine alone: a size at which
    it is busy may be far past the size that learns well, so give `sizes.largest` with care.

    - `wait`: share of the time spent waiting for data (`data_wait_fraction`) from which a larger batch cannot help.
    - `busy`, `cores`: share of the cores' time in use (`cpu_seconds` / `window_seconds` / cores) from which there is
      nothing left to fill; not looked at without `cores`.

    >>> Utilisation.pays(Speed(0.02, 1e-4), 100, gain=0.1), Utilisation.pays(Speed(0.02, 1e-4), 2000, gain=0.1)
    (True, False)
    """

    sizes: Range
    gain: float = 0.1
    wait: float = 0.25
    busy: float = 0.95
    cores: int | None = None
    coupling: AnyCoupling = "none"

    @property
    def traits(self) -> Traits:
        return Traits(("seconds",), self.sizes.smallest, self.sizes.largest, self.coupling, limit="sizes")

    def __post_init__(self) -> None:
        require_range(self.sizes)
        require_between("gain", self.gain, 0, 1, why="doubling can at most double the throughput", above=True)
        require_between("wait", self.wait, 0, 1, why="it is a share of the time", above=True)
        require_between("busy", self.busy, 0, 1, why="it is a share of the time", above=True)
        if self.cores is not None:
            require_count("cores", self.cores)
        require_coupling(self.coupling)

    @staticmethod
    def pays(speed: Speed, size: int, gain: float) -> bool:
        """Whether twice `size` is faster by `gain`."""
        return speed.throughput(2 * size) >= (1 + gain) * speed.throughput(size)

    def init(self, plan: Plan | None) -> Timed:
        return Timed(Course(self.sizes.begin(plan)))

    def decide(self, memory: Any, progress: Progress) -> tuple[Timed, Decision]:
        kept = Timed.recall(memory, self.sizes, progress)
        course, times = kept.course, kept.times.absorb(kept.course.last, progress)
        present, speed, shares = course.present(self.sizes), times.speed(), self._shares(progress.reading)
        free = bool(times.sizes) and course.may_move(self.sizes, progress) and not self._held(shares)
        size = present
        if free and (speed is None or self.pays(speed, present, self.gain)):
            size = self.sizes.toward(present, 2 * present, up=True)
        course, decision = course.move(self.sizes, size, progress, self._reason(present, speed, shares), self.coupling)
        return Timed(course, times), decision

    def _reason(self, present: int, speed: Speed | None, shares: Mapping[str, float]) -> Reason:
        if speed is None:
            return Reason("utilisation", "seconds of a second size", shares)
        why = f"twice the batch gives {speed.throughput(2 * present) / speed.throughput(present):.2f}x the throughput"
        return Reason("utilisation", why, {**shares, **vars(speed)})

    def _held(self, shares: Mapping[str, float]) -> bool:
        """Whether a larger batch cannot help: data are waited for, or there is nothing left to fill."""
        return shares.get("data_wait_fraction", 0.0) >= self.wait or shares.get("busy", 0.0) >= self.busy

    def _shares(self, reading: Mapping[str, float]) -> dict[str, float]:
        shares = {name: reading[name] for name in ("data_wait_fraction",) if name in reading}
        if self.cores is not None and reading.get("window_seconds", 0.0) > 0 and "cpu_seconds" in reading:
            shares["busy"] = reading["cpu_seconds"] / reading["window_seconds"] / self.cores
        return shares
