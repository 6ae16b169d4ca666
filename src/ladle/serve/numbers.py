"""`Numbers`: what a server counts, as Prometheus reads it (text format 0.0.4)."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping

LATENCIES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
ROWS = tuple(1 << power for power in range(11))


class Histogram:
    """Counts of values up to each bound, their sum and their number."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """`bounds` in ascending order; what is above the last is counted apart."""
        self.bounds, self.counts, self.sum = bounds, [0] * (len(bounds) + 1), 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def lines(self, name: str) -> list[str]:
        """As Prometheus wants them: every bucket holds those before it."""
        total, made = 0, []
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            total += count
            made.append(f'{name}_bucket{{le="{bound}"}} {total}')
        return [*made, f"{name}_sum {self.sum:.9g}", f"{name}_count {total}"]


class Numbers:
    """Counters of one server. `text(gauges)` is the page."""

    def __init__(self) -> None:
        """All at zero."""
        self.statuses: Counter[int] = Counter()
        self.refusals: Counter[str] = Counter()
        self.latencies, self.batches, self.seconds = Histogram(LATENCIES), Histogram(ROWS), Histogram(LATENCIES)
        self.padded = 0

    def status(self, code: int, why: str = "") -> None:
        """A response was sent; `why` of a refusal in a word."""
        self.statuses[code] += 1
        if why:
            self.refusals[why] += 1

    def latency(self, seconds: float) -> None:
        """From a request's last byte to its answer."""
        self.latencies.add(seconds)

    def batch(self, rows: int, rung: int, seconds: float) -> None:
        """A batch of `rows`, computed as one of `rung`."""
        self.batches.add(rows)
        self.seconds.add(seconds)
        self.padded += rung - rows

    def text(self, gauges: Mapping[str, tuple[float, str]]) -> str:
        """The page. `gauges`: name -> value and what it is.

        >>> numbers = Numbers()
        >>> numbers.status(200)
        >>> numbers.text({"ladle_queued_rows": (0, "Rows that wait.")}).splitlines()[-1]
        'ladle_queued_rows 0'
        """
        lines = [*_head("ladle_responses_total", "counter", "Responses by status.")]
        lines += [f'ladle_responses_total{{code="{code}"}} {count}' for code, count in sorted(self.statuses.items())]
        lines += _head("ladle_refused_total", "counter", "Requests that got no answer, by reason.")
        lines += [f'ladle_refused_total{{why="{why}"}} {count}' for why, count in sorted(self.refusals.items())]
        for name, said, kind in (
            ("ladle_latency_seconds", "From a request's last byte to its answer.", self.latencies),
            ("ladle_batch_rows", "Rows computed at once.", self.batches),
            ("ladle_batch_seconds", "A batch in the model's thread.", self.seconds),
        ):
            lines += [*_head(name, "histogram", said), *kind.lines(name)]
        lines += [*_head("ladle_padded_rows_total", "counter", "Rows that filled batches up to their rung.")]
        lines.append(f"ladle_padded_rows_total {self.padded}")
        for name, (value, said) in gauges.items():
            lines += [*_head(name, "gauge", said), f"{name} {value:.9g}"]
        return "\n".join(lines) + "\n"


def _head(name: str, kind: str, said: str) -> list[str]:
    return [f"# HELP {name} {said}", f"# TYPE {name} {kind}"]
