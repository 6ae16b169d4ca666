"""`Prequential`: how good a model was on each event before it learnt from it. A function of the record lines alone.

What an update measures (`train_accuracy`, `train_loss`) is of the parameters before it, on events that no update has
seen. So the judgement costs nothing, and a resumed run has it from the lines up to its checkpoint.

Gama, Sebastião, Rodrigues, "On evaluating stream learning algorithms", Machine Learning 90 (2013): the fading factor,
the sliding window, and why the mean over all events alone hides what happens now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ladle.core.errors import ArgumentError, must
from ladle.core.record import PREQUENTIAL
from ladle.core.spec import require_count

METRICS = ("accuracy", "loss")
"""What is followed: the first of these that a run measures."""


@dataclass(frozen=True)
class Tally:
    """Sums over the events so far.

    - `events`: examples up to the last line, `judged`: those of them that counted, with `total` the sum of the metric.
    - `faded`, `weight`: the sums in which an event that is k events old counts fading^k.
    - `latest`: `(judged, mean)` of the newest lines, no more than reach over the window.
    """

    events: int = 0
    judged: float = 0.0
    total: float = 0.0
    faded: float = 0.0
    weight: float = 0.0
    latest: tuple[tuple[float, float], ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Prequential:
    """Adds to a record line the mean of a metric over events judged before they were learnt.

    - `fading`: what an event's weight is multiplied by with each event after it. `window`: events that the third mean
      is over.

    With x_i of event i, of n so far, the line then has

        prequential_accuracy         sum_i x_i / n
        prequential_accuracy_faded   sum_i fading^(n - i) x_i / sum_i fading^(n - i)
        prequential_accuracy_window  the mean of the last `window` events

    A line knows the mean of its events, so each of them counts as that: the sums are exact where a line is an update of
    one event, and differ from that by less than a line's events weigh where it is one of several. Where accuracy is not
    measured, the loss takes its place.

    >>> judge, tally = Prequential(fading=0.5, window=2), Tally()
    >>> for examples, accuracy in ((1, 1.0), (2, 0.0), (3, 0.0)):
    ...     tally, reading = judge.add(tally, {"examples": examples, "train_accuracy": accuracy})
    >>> [round(value, 3) for value in reading.values()]
    [0.333, 0.143, 0.0]
    """

    fading: float = 0.999
    window: int = 1000

    def __post_init__(self) -> None:
        if isinstance(self.fading, bool) or not isinstance(self.fading, int | float) or not 0 < self.fading <= 1:
            why, remedy = "older events count less, by a share", "fading=0.999"
            raise ArgumentError(must("fading", "be above 0 and at most 1", self.fading, why, remedy))
        require_count("window", self.window)

    def add(self, tally: Tally, line: Mapping[str, Any]) -> tuple[Tally, dict[str, float]]:
        """With one more line: the sums, and what the line is to say."""
        name = next((one for one in METRICS if line.get(f"train_{one}") is not None), None)
        count = line["examples"] - tally.events - line.get("bad", 0.0)
        if name is None or count <= 0:
            return Tally(line["examples"], *list(vars(tally).values())[1:]), {}
        mean, kept = line[f"train_{name}"], self.fading**count
        weight = count if self.fading == 1 else (1 - kept) / (1 - self.fading)
        after = Tally(
            line["examples"],
            tally.judged + count,
            tally.total + count * mean,
            tally.faded * kept + mean * weight,
            tally.weight * kept + weight,
            self._latest((*tally.latest, (count, mean))),
        )
        return after, self._reading(name, after)

    def _latest(self, lines: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
        """The newest lines that together hold the window, the oldest of them cut."""
        spare = sum(count for count, _ in lines) - self.window
        first = 0
        while spare > 0 and lines[first][0] <= spare:
            spare -= lines[first][0]
            first += 1
        if spare > 0:
            return ((lines[first][0] - spare, lines[first][1]), *lines[first + 1 :])
        return lines[first:]

    def _reading(self, name: str, tally: Tally) -> dict[str, float]:
        held = sum(count for count, _ in tally.latest)
        return {
            f"{PREQUENTIAL}{name}": tally.total / tally.judged,
            f"{PREQUENTIAL}{name}_faded": tally.faded / tally.weight,
            f"{PREQUENTIAL}{name}_window": sum(count * mean for count, mean in tally.latest) / held,
        }
