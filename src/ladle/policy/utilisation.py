"""`Utilisation`: the batch grows while that makes the machine faster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ladle.core.decision import Decision, Progress
from ladle.core.spec import require_count
from ladle.core.speed import Speed
from ladle.policy.change import AnyCoupling, Memory, require_coupling
from ladle.policy.move import may_move, moved
from ladle.policy.range import Range, require_range
from ladle.policy.refuse import require_between
from ladle.policy.times import line_of, timed

if TYPE_CHECKING:
    from ladle.core.plan import Plan


@dataclass(frozen=True)
class Utilisation:
    """The batch doubles as long as that makes the machine faster by `gain`, and not because of reading.

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

    needs: ClassVar = ("seconds",)

    def __post_init__(self) -> None:
        require_range(self.sizes)
        require_between("gain", self.gain, 0, 1, why="doubling can at most double the throughput", above=True)
        require_between("wait", self.wait, 0, 1, why="it is a share of the time", above=True)
        require_between("busy", self.busy, 0, 1, why="it is a share of the time", above=True)
        if self.cores is not None:
            require_count("cores", self.cores)
        require_coupling(self.coupling)

    @staticmethod
    def pays(line: Speed, size: int, gain: float) -> bool:
        """Whether twice `size` is faster by `gain`."""
        return line.throughput(2 * size) >= (1 + gain) * line.throughput(size)

    def init(self, plan: Plan | None) -> Memory:
        return self.sizes.begin(plan)

    def decide(self, memory: Memory, progress: Progress) -> tuple[Memory, Decision]:
        kept = timed(self.sizes.recall(memory, progress), progress)
        present, line = self.sizes.present(kept), line_of(kept)
        inputs, size, why = self._shares(progress.reading), present, "seconds of a second size"
        if line is not None:
            inputs |= {"fixed_seconds": line.fixed_seconds, "per_example_seconds": line.per_example_seconds}
            why = f"twice the batch gives {line.throughput(2 * present) / line.throughput(present):.2f}x the throughput"
        held = inputs.get("data_wait_fraction", 0.0) >= self.wait or inputs.get("busy", 0.0) >= self.busy
        free = "times" in kept and may_move(self.sizes, kept, progress) and not held
        if free and (line is None or self.pays(line, present, self.gain)):
            size = self.sizes.toward(present, 2 * present, up=True)
        how: dict[str, Any] = {"kind": "utilisation", "why": why, "inputs": inputs, "coupling": self.coupling}
        return moved(self.sizes, kept, progress, size, **how)

    def _shares(self, reading: Mapping[str, float]) -> dict[str, float]:
        shares = {name: reading[name] for name in ("data_wait_fraction",) if name in reading}
        if self.cores is not None and reading.get("window_seconds", 0.0) > 0 and "cpu_seconds" in reading:
            shares["busy"] = reading["cpu_seconds"] / reading["window_seconds"] / self.cores
        return shares
