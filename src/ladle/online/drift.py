"""`DriftPolicy`: what is done about a drift: smaller batches, a higher rate, averages begun anew; and why, in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ladle.core.decision import Decision, Progress
from ladle.core.errors import ArgumentError, must, nearest
from ladle.core.memory import plain
from ladle.core.protocols import Policy
from ladle.core.spec import require_count
from ladle.core.traits import Traits, traits_of
from ladle.online.detector import Detector, Told

if TYPE_CHECKING:
    from ladle.core.plan import Plan

ACTIONS = ("shrink", "raise", "reset")


@dataclass(frozen=True)
class Watched:
    """Remembers the series, and the last drift.

    - `inner`: what the policy within remembers. `looked`: up to where the metric was read.
    - `at`: where the last drift was, None before any. `drifts`: how many there were. `stage`: of the way back.
    """

    inner: Any = None
    told: Told = field(default_factory=Told)
    looked: int = 0
    at: int | None = None
    drifts: int = 0
    stage: int = 0

    @classmethod
    def recall(cls, memory: Any) -> Watched:
        """From what was returned last, or the JSON of it; another policy's memory is what the inner one begins with."""
        if isinstance(memory, cls):
            return memory
        if isinstance(memory, Mapping) and {"told", "drifts"} <= memory.keys():
            return cls(**{**memory, "told": Told.from_json(memory["told"])})
        return cls(memory)

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "inner": plain(self.inner), "told": self.told.to_json()}


@dataclass(frozen=True)
class DriftPolicy:
    """Answers a drift in the prequential error of a run; implements `ladle.core.protocols.Policy`.

    - `inner`: the policy that it begins from, and comes back to. `detector`: what says that there is a drift.
    - `actions`, any of
      - "shrink": batches become `factor` times smaller, down to `smallest`, at the same rate: more updates an event.
      - "raise": the rate is multiplied by `factor`.
      - "reset": the averages of the optimiser begin anew.
    - `hold`: events after which size and rate are back, in steps of at most two.
    - `metric`: what the detector is told after each window: which events were wrong (train_accuracy), or the mean loss
      (train_loss); None for the first that is there.

    Sizes and rates come back by themselves, as the drift is learnt; a drift on the way begins anew. A detector tells
    both ways: where the metric became better nothing is done, and the record says so.

    Raises `ArgumentError` for what cannot be.
    """

    inner: Policy
    detector: Detector = field(default_factory=Detector)
    actions: tuple[str, ...] = ("shrink",)
    factor: float = 4.0
    smallest: int = 8
    hold: int = 5000
    metric: str | None = None

    def __post_init__(self) -> None:
        for action in self.actions or ("",):
            if action not in ACTIONS:
                why = "a drift is answered in these ways"
                raise ArgumentError(must("on_drift", "be known actions", action, why, nearest(action, ACTIONS)))
        if not 1 < self.factor < math.inf:
            why, remedy = "batches are divided by it, rates multiplied", "factor=4"
            raise ArgumentError(must("factor", "be above 1", self.factor, why, remedy))
        for name in ("smallest", "hold"):
            require_count(name, getattr(self, name))
        if self.metric not in (None, "train_accuracy", "train_loss"):
            why, remedy = "every update measures these", "metric='train_loss'"
            raise ArgumentError(must("metric", "be train_accuracy or train_loss", self.metric, why, remedy))

    @property
    def traits(self) -> Traits:
        inner = traits_of(self.inner)
        smallest = inner.smallest if inner.smallest is None else min(inner.smallest, self.smallest)
        return replace(inner, smallest=smallest, limit="", direction="", inner="inner")

    def init(self, plan: Plan | None) -> Watched:
        return Watched(self.inner.init(plan))

    def decide(self, memory: Any, progress: Progress) -> tuple[Watched, Decision]:
        kept = Watched.recall(memory)
        inner, chosen = self.inner.decide(kept.inner, progress)
        kept, found = self._told(replace(kept, inner=inner), progress)
        worse = bool(found) and found["error_after"] > found["error_before"]
        if worse:
            kept = replace(kept, at=progress.examples, drifts=kept.drifts + 1, stage=0)
        before, stage = kept.stage, self._stage(kept, progress.examples)
        kept = replace(kept, stage=stage)
        decision = self._answered(chosen, stage if kept.at is not None else self.stages, reset=worse)
        moved = worse or (kept.at is not None and stage != before)
        said = self._said(chosen, decision, kept, found, progress.examples) if found or moved else ""
        reason = "; ".join(filter(None, (chosen.reason, said)))
        return kept, replace(decision, reason=reason, inputs={**chosen.inputs, **found})

    @property
    def stages(self) -> int:
        """Steps of the way back, each of a factor of two or less."""
        return math.ceil(math.log2(self.factor))

    def _told(self, kept: Watched, progress: Progress) -> tuple[Watched, dict[str, float]]:
        """With the metric of the last window; and, where that shows a drift, its error before and after."""
        if progress.examples <= kept.looked:
            return kept, {}
        names = ("train_accuracy", "train_loss") if self.metric is None else (self.metric,)
        name = next((one for one in names if one in progress.reading), None)
        events = progress.examples - kept.looked - int(progress.reading.get("bad", 0))
        kept = replace(kept, looked=progress.examples)
        if name is None or events < 1:
            return kept, {}
        value = progress.reading[name]
        error, count = (1 - value, events) if name == "train_accuracy" else (value, 1)
        series = (*kept.told.batches, (error, count))
        told, drifted = self.detector.tell(kept.told, error, count)
        kept = replace(kept, told=told)
        if not drifted:
            return kept, {}
        before, after = around(series)
        return kept, {"error_before": before, "error_after": after}

    def _stage(self, kept: Watched, examples: int) -> int:
        """How many steps of the way back are behind: all of them, once `hold` events have passed."""
        if kept.at is None:
            return 0
        return min(self.stages, (examples - kept.at) * self.stages // self.hold)

    def _answered(self, chosen: Decision, stage: int, *, reset: bool) -> Decision:
        """The inner decision, changed by what is left of the answer."""
        left = self.factor ** (1 - stage / self.stages)
        if "shrink" in self.actions and left > 1:
            size = max(min(self.smallest, chosen.spec.size), round(chosen.spec.size / left))
            chosen = replace(chosen, spec=replace(chosen.spec, size=size))
        if "raise" in self.actions:
            chosen = replace(chosen, lr_factor=chosen.lr_factor * left)
        return replace(chosen, reset=chosen.reset or (reset and "reset" in self.actions))

    def _said(
        self, chosen: Decision, decision: Decision, kept: Watched, found: Mapping[str, float], examples: int
    ) -> str:
        """What is in force now, and why."""
        at = f"at {examples:,} examples"
        seen = f"{found['error_before']:.3g} -> {found['error_after']:.3g}" if found else ""
        if found and kept.at != examples:
            return f"nothing is changed: the error fell, {seen}, {at} ({self.detector.kind})"
        parts = []
        if "shrink" in self.actions:
            parts.append(f"batch size {decision.spec.size} of {chosen.spec.size}")
        if "raise" in self.actions:
            parts.append(f"learning rate x{decision.lr_factor / chosen.lr_factor:.3g}")
        if decision.reset:
            parts.append("averages of the optimiser begun anew")
        if not parts:
            return ""
        cause = f"drift {kept.drifts}, error {seen}" if found else f"back from drift {kept.drifts} at {kept.at:,}"
        return f"{', '.join(parts)}: {cause}, {at} ({self.detector.kind})"


def around(series: tuple[tuple[float, int], ...]) -> tuple[float, float]:
    """The means before and after the place where `(mean, count)` of batches change most clearly.

    The place is where |m2 - m1| sqrt(n1 n2 / (n1 + n2)) is largest, m and n being mean and number of events of the two
    sides: the split of least squares.

    >>> around(((0.125, 64), (0.125, 64), (0.5, 64)))
    (0.125, 0.5)
    """
    total, events = sum(mean * count for mean, count in series), sum(count for _, count in series)
    best, found = -1.0, (series[-1][0], series[-1][0])
    left, n = 0.0, 0
    for mean, count in series[:-1]:
        left, n = left + mean * count, n + count
        means = left / n, (total - left) / (events - n)
        clear = abs(means[1] - means[0]) * math.sqrt(n * (events - n))
        if clear > best:
            best, found = clear, means
    return found
