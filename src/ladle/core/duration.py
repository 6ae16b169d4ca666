"""How long to train: epochs, examples, steps, seconds, a target metric, patience. One parser, one owner."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ladle.core.decision import Progress
from ladle.core.errors import ArgumentError, must

_AMOUNT = re.compile(r"^\s*(?P<number>[0-9.]+(?:e[+-]?[0-9]+)?)\s*(?P<unit>[a-z]+)\s*$", re.IGNORECASE)
_TARGET = re.compile(
    r"^\s*(?P<metric>[a-z_][a-z0-9_]*)\s*(?P<sign><=|>=|<|>)\s*(?P<value>[-+0-9.e]+)\s*$", re.IGNORECASE
)
_PATIENCE = re.compile(
    r"^\s*patience\s+(?P<number>[0-9]+)(?:\s+(?:on\s+)?(?P<metric>[a-z_][a-z0-9_]*))?\s*$", re.IGNORECASE
)

_SECONDS = {"s": 1, "sec": 1, "second": 1, "seconds": 1, "m": 60, "min": 60, "minute": 60, "minutes": 60}
_SECONDS |= {"h": 3600, "hour": 3600, "hours": 3600}
_EPOCHS = {"epoch", "epochs", "ep", "pass", "passes"}
_EXAMPLES = {"example", "examples", "ex", "samples", "sample"}
_UPDATES = {"step", "steps", "update", "updates"}

_HIGHER = re.compile(r"(accuracy|auc|precision|recall|(?<![a-z0-9])(r2|f1|top[0-9]+))$")
_LOWER = re.compile(r"(loss|error|perplexity|mse|mae|nll)$")
"""Endings of the names that say which way they are better. Every other name says nothing."""


@dataclass(frozen=True)
class Target:
    """Stop once `metric` is at most (or at least) `value`."""

    metric: str
    at_least: bool
    value: float

    def met(self, reading: float) -> bool:
        return reading >= self.value if self.at_least else reading <= self.value


@dataclass(frozen=True)
class Until:
    """When to stop. Whatever comes first ends the run.

    - `epochs`, `examples`, `updates`, `seconds`: bounds; `None` for no bound.
    - `target`: a metric to reach. `patience`: evaluations without a better `patience_metric` before giving up.
    - `higher`: whether more of that metric is better; None where its name says so.

    >>> Until.parse("30 epochs, valid_accuracy >= 0.97, patience 5")
    ... # doctest: +NORMALIZE_WHITESPACE
    Until(epochs=30.0, examples=None, updates=None, seconds=None,
          target=Target(metric='valid_accuracy', at_least=True, value=0.97), patience=5,
          patience_metric='valid_loss', higher=None)
    >>> Until.parse("10 min").seconds
    600.0
    """

    epochs: float | None = None
    examples: int | None = None
    updates: int | None = None
    seconds: float | None = None
    target: Target | None = None
    patience: int | None = None
    patience_metric: str = "valid_loss"
    higher: bool | None = None

    @classmethod
    def parse(cls, text: str | Until) -> Until:
        """`text` such as "30 epochs", "2e6 examples", "5000 steps", "10 min", "valid_loss < 0.1", "patience 5",
        joined by commas. Raises `ArgumentError`; a run without any bound is refused."""
        if isinstance(text, Until):
            return text
        until = cls()
        for part in str(text).split(","):
            until = _with_part(until, part)
        if until.epochs is until.examples is until.updates is until.seconds is None:
            raise ArgumentError(
                must(
                    "until",
                    "hold a bound",
                    text,
                    "a target or patience alone may never be reached",
                    "'30 epochs, " + str(text) + "'",
                )
            )
        return until

    def stop(self, epoch_size: int) -> int | None:
        """The position in examples, by the run's clock, at which it ends; None where only steps or seconds bound it."""
        bounds = [self.examples] if self.examples is not None else []
        if self.epochs is not None:
            bounds.append(_first_position(self.epochs, epoch_size))
        return min(bounds) if bounds else None

    def ended(self, progress: Progress, history: Sequence[float] = ()) -> str | None:
        """Why the run is over now, or None. `history`: all readings of `patience_metric` so far, oldest first."""
        examples, epoch = progress.time
        if self.examples is not None and examples >= self.examples:
            return f"{self.examples:,} examples"
        if self.epochs is not None and epoch >= self.epochs:
            return f"{self.epochs:g} epochs"
        if self.updates is not None and progress.updates >= self.updates:
            return f"{self.updates:,} steps"
        if self.seconds is not None and progress.seconds >= self.seconds:
            return f"{self.seconds:g} s"
        if self.target is not None and self.target.metric in progress.reading:
            reading = progress.reading[self.target.metric]
            if self.target.met(reading):
                sign = ">=" if self.target.at_least else "<="
                return f"target reached: {self.target.metric} {reading:.6g} {sign} {self.target.value:g}"
        if self.patience is not None and len(history) > self.patience:
            higher = better_is_higher(self.patience_metric) if self.higher is None else self.higher
            sign = -1.0 if higher else 1.0
            # A reading that is no number is worse than any.
            best = min(range(len(history)), key=lambda i: math.inf if math.isnan(history[i]) else sign * history[i])
            if len(history) - 1 - best >= self.patience:
                return f"patience: {self.patience_metric} no better for {self.patience} evaluations"
        return None


def window_stop(position: int, window: int, epoch_size: int | None) -> int:
    """Where the window that `position` lies in ends: at the next multiple of `window` of its epoch, or with the epoch.

    Counted from the epoch's start, so that no sliver of a window is left at its end. None: one epoch without an end.

    >>> window_stop(480, 480, 1438), window_stop(1437, 480, 1438), window_stop(1440, 480, 1438)
    (960, 1438, 1918)
    """
    begun = position // epoch_size * epoch_size if epoch_size else 0
    end = begun + ((position - begun) // window + 1) * window
    return min(end, begun + epoch_size) if epoch_size else end


def direction_of(metric: str) -> Literal["higher", "lower"] | None:
    """Tell which way `metric` is better by its name; None for a name that does not say it. Nobody should guess then.

    The part of a source (`valid_loss/web`) is left out.

    >>> direction_of("valid_accuracy"), direction_of("top5"), direction_of("valid_loss/web"), direction_of("hits")
    ('higher', 'higher', 'lower', None)
    """
    name = metric.partition("/")[0].lower()
    if _HIGHER.search(name):
        return "higher"
    return "lower" if _LOWER.search(name) else None


def better_is_higher(metric: str) -> bool:
    """Whether more of `metric` is better, as far as its name tells: a name that says nothing counts as lower.

    >>> better_is_higher("valid_accuracy"), better_is_higher("valid_loss"), better_is_higher("hits")
    (True, False, False)
    """
    return direction_of(metric) == "higher"


def _first_position(epochs: float, epoch_size: int) -> int:
    """The smallest position `k` with `k / epoch_size >= epochs`, in the very arithmetic of `Progress.epoch`."""
    position = round(epochs * epoch_size)
    while position / epoch_size < epochs:
        position += 1
    while (position - 1) / epoch_size >= epochs:
        position -= 1
    return position


def _with_part(until: Until, part: str) -> Until:
    if match := _PATIENCE.match(part):
        metric = match["metric"] or until.patience_metric
        if int(match["number"]) < 1:
            raise ArgumentError(
                must(
                    "until", "have a patience of at least 1", part.strip(), "no first reading is better", "'patience 5'"
                )
            )
        return replace(until, patience=int(match["number"]), patience_metric=metric)
    if match := _TARGET.match(part):
        return replace(
            until, target=Target(match["metric"], match["sign"].startswith(">"), _number(match["value"], part))
        )
    if match := _AMOUNT.match(part):
        number, unit = _number(match["number"], part), match["unit"].lower()
        if not 0 < number < math.inf:
            raise ArgumentError(
                must(
                    "until",
                    "be more than nothing, and finite",
                    part.strip(),
                    "a run has an end",
                    "'30 epochs'",
                )
            )
        if unit in _SECONDS:
            return replace(until, seconds=number * _SECONDS[unit])
        if unit in _EPOCHS:
            return replace(until, epochs=number)
        if unit in _EXAMPLES:
            return replace(until, examples=math.ceil(number))
        if unit in _UPDATES:
            return replace(until, updates=math.ceil(number))
    raise ArgumentError(
        must(
            "until",
            "be a bound, a target or a patience",
            part.strip(),
            "it is neither an amount with a unit nor a comparison",
            "'30 epochs', '2e6 examples', '5000 steps', '10 min', 'valid_loss < 0.1' or 'patience 5', joined by commas",
        )
    )


def _number(text: str, part: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ArgumentError(must("until", "hold a number", part.strip(), f"{text!r} is none", "'30 epochs'")) from None
