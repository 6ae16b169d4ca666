"""What the machine allows: `Utilisation` grows while that pays, `Retreating` cuts micro-batches before memory ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from ladle.core.decision import Decision, Progress
from ladle.core.spec import require_count
from ladle.policy.adaptive import Range, may_move, moved, require_between, require_range
from ladle.policy.ahead import require_policy
from ladle.policy.change import AnyCoupling, Memory, decided, require_coupling
from ladle.policy.timing import Line, line_of, timed

if TYPE_CHECKING:
    from ladle.core.plan import Plan
    from ladle.core.protocols import Policy


@dataclass(frozen=True)
class Utilisation:
    """The batch doubles as long as that makes the machine faster by `gain`, and not because of reading.

        throughput(2B) / throughput(B) >= 1 + gain        throughput(B) = B / (fixed + per_example B)

    The line is learned from the windows, so one doubling comes first. It looks at the machine alone: a size at which
    it is busy may be far past the size that learns well, so give `sizes.largest` with care.

    - `wait`: share of the time spent waiting for data (`data_wait_fraction`) from which a larger batch cannot help.
    - `busy`, `cores`: share of the cores' time in use (`cpu_seconds` / `window_seconds` / cores) from which there is
      nothing left to fill; not looked at without `cores`.

    >>> Utilisation.pays(Line(0.02, 1e-4), 100, gain=0.1), Utilisation.pays(Line(0.02, 1e-4), 2000, gain=0.1)
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
    def pays(line: Line, size: int, gain: float) -> bool:
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


@dataclass(frozen=True)
class Retreating:
    """Any policy, with micro-batches halved before memory runs out. The batch size stays, and with it the training.

    Halves when `memory_bytes` is above `share` of `memory_limit_bytes`; again only if the last time freed something, or
    memory has grown by a tenth since: what is not the micro-batch's memory is not fought. Never goes back up.

    - `inner`: the policy that sets sizes. `smallest`: micro-batches are not cut below.

    >>> from ladle.policy.constant import Constant
    >>> policy = Retreating(Constant(64, 64))
    >>> memory, _ = policy.decide(policy.init(None), Progress())
    >>> full = {"memory_bytes": 95e9, "memory_limit_bytes": 100e9}
    >>> policy.decide(memory, Progress(6400, reading=full))[1].reason
    'micro-batch 64 -> 32: 95 % of the memory in use at 6,400 examples (retreat)'
    """

    inner: Policy
    share: float = 0.9
    smallest: int = 1

    def __post_init__(self) -> None:
        require_policy(self.inner)
        require_between("share", self.share, 0, 1, why="it is a share of the memory", above=True)
        require_count("smallest", self.smallest)

    @property
    def needs(self) -> tuple[str, ...]:
        return (*getattr(self.inner, "needs", ()), "memory")

    def init(self, plan: Plan | None) -> Memory:
        return {"inner": self.inner.init(plan)}

    def decide(self, memory: Memory, progress: Progress) -> tuple[Memory, Decision]:
        kept = {"inner": None, **(memory or {})}  # The inner policy goes on from the last size by itself.
        kept["inner"], chosen = self.inner.decide(kept["inner"], progress)
        used = self._used(progress.reading)
        retreats = progress.examples > kept.get("looked", progress.examples) and self._retreats(kept, progress.reading)
        if retreats:
            half = 1 << ((kept["micro_size"] - 1).bit_length() - 1)
            kept |= {"most": max(half, self.smallest), "bytes": progress.reading["memory_bytes"]}
        kept["looked"] = progress.examples
        micro = min(chosen.spec.micro_size, kept.get("most", chosen.spec.micro_size))
        inputs = {**chosen.inputs, **({"memory_share": used} if used is not None else {})}
        why = f"{used:.0%} of the memory in use".replace("%", " %") if retreats and used is not None else ""
        how: dict[str, Any] = {"kind": "retreat", "why": why, "inputs": inputs, "stop": chosen.stop}
        spec = replace(chosen.spec, micro_size=micro)
        kept, decision = decided(kept, spec, (chosen.lr_factor, chosen.hyper), examples=progress.examples, **how)
        both = "; ".join(reason for reason in (chosen.reason, decision.reason if retreats else "") if reason)
        return kept, replace(decision, reason=both if decision.reason else "", clock=chosen.clock)

    def _used(self, reading: Mapping[str, float]) -> float | None:
        limit = reading.get("memory_limit_bytes", 0.0)
        return reading["memory_bytes"] / limit if limit > 0 and "memory_bytes" in reading else None

    def _retreats(self, memory: Mapping[str, Any], reading: Mapping[str, float]) -> bool:
        used = self._used(reading)
        if used is None or used <= self.share or memory["micro_size"] <= self.smallest:
            return False
        return not 0.98 <= reading["memory_bytes"] / memory.get("bytes", reading["memory_bytes"] * 2) <= 1.1
