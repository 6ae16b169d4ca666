"""`Detector`: one of river's drift detectors, told a batch at a time. What it remembers is what it was told.

river keeps the state of a detector in objects of its own, which are pickled or not at all. Here the memory is the
batches since the last drift, plain JSON: a restored detector is told them again, and so stands exactly where it stood.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ladle.core.errors import ArgumentError, must, nearest

MOST = 2_000
"""Batches that are remembered of a stream without drift; the older half is forgotten then."""

OPTIONS: dict[str, dict[str, float]] = {
    "adwin": {"delta": 0.002, "clock": 32, "grace_period": 10, "min_window_length": 5},
    "page-hinkley": {"min_instances": 30, "delta": 0.005, "threshold": 50.0, "alpha": 0.9999},
    "kswin": {"alpha": 0.0005, "window_size": 100, "stat_size": 30, "seed": 0},
}
"""The detectors and their options, in river's words."""

OF_BATCHES = ("kswin",)
"""Detectors that are told the mean of a batch. It compares distributions, which right and wrong hardly have, and a look
is dear. The others are told each event: river's usual numbers are meant for that."""


@dataclass(frozen=True)
class Told:
    """Remembers what a detector was told since the last drift: `(mean, count)` of each batch."""

    batches: tuple[tuple[float, int], ...] = ()
    live: Live | None = field(default=None, compare=False, repr=False)

    def to_json(self) -> list[list[float]]:
        return [list(one) for one in self.batches]

    @classmethod
    def from_json(cls, value: list[Any]) -> Told:
        return cls(tuple((float(mean), int(count)) for mean, count in value))


@dataclass(frozen=True)
class Detector:
    """Tells when the mean or the distribution of a series of numbers has changed.

    - `kind`: "adwin" (Bifet and Gavaldà 2007), "page-hinkley" (Page 1954) or "kswin" (Raab et al. 2020).
    - `options`: over those of `OPTIONS`.

    Raises `ArgumentError` for another kind or option, and where river is not installed.

    >>> told, detector = Told(), Detector("adwin")
    >>> for error in [0.1] * 40 + [0.6] * 40:
    ...     told, drifted = detector.tell(told, error, count=10)
    ...     if drifted:
    ...         break
    >>> drifted, told.batches
    (True, ())
    """

    kind: str = "adwin"
    options: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in OPTIONS:
            why = "river has these"
            raise ArgumentError(must("drift", "be a known detector", self.kind, why, nearest(str(self.kind), OPTIONS)))
        for name in self.options:
            if name not in OPTIONS[self.kind]:
                why = f"{self.kind} has no such option"
                raise ArgumentError(must("drift", "have known options", name, why, nearest(name, OPTIONS[self.kind])))
        self._fresh()

    @property
    def most(self) -> int:
        """Batches that are remembered. KSWIN compares within its window: it needs no more."""
        return int(2 * self._options["window_size"]) if self.kind in OF_BATCHES else MOST

    @property
    def _options(self) -> dict[str, float]:
        return {**OPTIONS[self.kind], **self.options}

    def tell(self, told: Told, mean: float, count: int = 1) -> tuple[Told, bool]:
        """What is remembered after one more batch, and whether it shows a drift; after one the memory begins anew.

        - `mean`: of the batch; `count`: events in it that were each 0 or 1, of which it is the mean, else 1. They are
          told as evenly as they can lie, for how they lay is not known.

        Pure: the live detector within `told` is only used where it has been told just these, else it is made anew.
        """
        live = told.live
        if live is None or live.told != len(told.batches):
            live = self._replayed(told.batches)
        if self._tell(live, mean, count):
            return Told(), True
        batches = (*told.batches, (mean, count))
        if len(batches) >= self.most:
            return Told(batches[len(batches) // 2 :]), False
        return Told(batches, live), False

    def _replayed(self, batches: tuple[tuple[float, int], ...]) -> Live:
        live = Live(self._fresh())
        for mean, count in batches:
            self._tell(live, mean, count)
        return live

    def _tell(self, live: Live, mean: float, count: int) -> bool:
        live.told += 1
        numbers = (mean,) if self.kind in OF_BATCHES or count == 1 else spread(mean, count)
        return any([live.tell(number) for number in numbers])

    def _fresh(self) -> Any:
        try:
            from river import drift  # pyright: ignore[reportMissingImports]
        except ImportError:
            why, remedy = "the detectors are river's", "pip install 'ladle[online]'"
            raise ArgumentError(must("drift", "be used with river installed", "no such library", why, remedy)) from None
        kinds = {"adwin": drift.ADWIN, "page-hinkley": drift.PageHinkley, "kswin": drift.KSWIN}
        whole = {name: int(v) if float(v).is_integer() else v for name, v in self._options.items()}
        try:
            return kinds[self.kind](**whole)
        except (TypeError, ValueError) as error:
            why, remedy = " ".join(str(error).split()), f"the usual ones, {OPTIONS[self.kind]}"
            raise ArgumentError(must("drift", "have usable options", dict(self.options), why, remedy)) from None


@dataclass(eq=False)
class Live:
    """A detector of river's, and how many batches it was told."""

    detector: Any
    told: int = 0

    def tell(self, number: float) -> bool:
        self.detector.update(number)
        return bool(self.detector.drift_detected)


def spread(mean: float, count: int) -> list[int]:
    """`count` numbers that are 0 or 1, with `round(mean * count)` ones as evenly as they can lie.

    >>> spread(0.5, 6), spread(0.25, 4)
    ([0, 1, 0, 1, 0, 1], [0, 0, 0, 1])
    """
    ones = round(mean * count)
    return [(place + 1) * ones // count - place * ones // count for place in range(count)]
