"""`Best`: the evaluation that a run is judged by, and the state it was made with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ladle.core.duration import Until


@dataclass(frozen=True)
class Best:
    """The best evaluation of a run so far.

    - `metric`, `value`: what was compared. `examples`: where it was made. `checkpoint`: of that place, None in memory.
    """

    metric: str
    value: float
    examples: int
    checkpoint: str | None = None


@dataclass(frozen=True)
class Judge:
    """Which evaluation of a run is the best: by the metric that ends it, else by the validation loss.

    - `higher`: whether more of `metric` is better.
    """

    metric: str = "valid_loss"
    higher: bool = False

    @classmethod
    def of(cls, until: Until, directions: dict[str, str | None]) -> Judge:
        """By the metric of patience, or of a target; the validation loss for a run that has neither.

        >>> Judge.of(Until.parse("30 epochs, valid_accuracy >= 0.9"), {})
        Judge(metric='valid_accuracy', higher=True)
        """
        if until.patience is not None:
            name = until.patience_metric
            return cls(name, directions.get(name.partition("_")[2]) == "higher")
        if until.target is not None and until.target.metric.startswith("valid_"):
            return cls(until.target.metric, until.target.at_least)
        return cls()

    def better(self, line: dict[str, Any], than: Best | None) -> Best | None:
        """The evaluation in `line` where it is better than the best so far; None where it is not, or there is none."""
        value = line.get(self.metric)
        if value is None or not math.isfinite(value):
            return None
        if than is not None and (value <= than.value if self.higher else value >= than.value):
            return None
        return Best(self.metric, float(value), int(line["examples"]))
