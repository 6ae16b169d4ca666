"""What more devices bring: seconds of an all-reduce, of an update on n devices, time to a target, cost, and the knee.

    allreduce(n) = 2 (n - 1) (latency + bytes / n * byte_seconds)          a ring: 2 (n - 1) steps of bytes / n each
    t(B, n)      = compute(B / n) + allreduce(n)                            seconds of an update, nothing at once
    T(B, n)      = (1 + B_noise / B) t(B, n)                                time to a target, up to a factor

The ring: Patarasuk and Yuan 2009, "Bandwidth optimal all-reduce algorithms for clusters of workstations", J. Parallel
Distrib. Comput. 69, 117-124. Updates to a target: McCandlish et al. 2018, arXiv 1812.06162, eq. 2.11.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from ladle.core.errors import ArgumentError, must
from ladle.core.spec import require_count

PAYS = 0.5
"""An added device pays where it brings at least this share of the speed of the first."""

_SPEED = re.compile(r"^\s*([0-9.]+(?:e[+-]?[0-9]+)?)\s*([kmgt]?)(i?)(b|bit)\s*(?:/\s*s|ps)\s*$", re.IGNORECASE)
_DELAY = re.compile(r"^\s*([0-9.]+(?:e[+-]?[0-9]+)?)\s*(s|ms|us|ns)\s*$", re.IGNORECASE)
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


@dataclass(frozen=True)
class Link:
    """Says how many seconds a sum over devices takes: a delay for each of its steps, and seconds for each byte.

        seconds(bytes, n) = 2 (n - 1) (latency_seconds + bytes / n * byte_seconds)

    - `latency_seconds`: of one step of the ring. `byte_seconds`: 1 / bandwidth of one device's link, one way.

    >>> Link(5e-6, 1 / 25e9).seconds(100e6, 1), round(Link(0.0, 1 / 25e9).seconds(100e6, 4), 6)
    (0.0, 0.006)
    """

    latency_seconds: float
    byte_seconds: float

    def seconds(self, size_bytes: float, devices: int) -> float:
        """Of a sum of `size_bytes` over `devices`; none for one. Without a delay it tends to 2 bytes byte_seconds."""
        return 2 * (devices - 1) * (self.latency_seconds + size_bytes / devices * self.byte_seconds)

    @classmethod
    def from_text(cls, text: str | Link) -> Link:
        """A link from its bandwidth and its delay, such as "25GB/s,5us"; the delay alone may be left out, and is none.

        Bits are said in full ("50 Gbit/s"); units are powers of 1000, or of 1024 as "GiB/s". Raises `ArgumentError`.

        >>> Link.from_text("50 Gbit/s, 2us").seconds(100e6, 2)
        0.016004
        """
        if isinstance(text, Link):
            return text
        parts = str(text).split(",")
        speed, delay = _SPEED.match(parts[0]), _DELAY.match(parts[1]) if len(parts) == 2 else None
        rate = _number(speed[1]) if speed else 0.0
        if speed is None or not rate > 0 or len(parts) > 2 or (len(parts) == 2 and delay is None):
            be, why = "be a bandwidth and a delay", "it is read as bytes a second and seconds of a step"
            raise ArgumentError(must("link", be, text, why, "link='25GB/s,5us'"))
        thousand = 1024 if speed[3] else 1000
        rate *= thousand ** " kmgt".index(speed[2].lower() or " ") / (8 if speed[4].lower() == "bit" else 1)
        return cls(_number(delay[1]) * _SECONDS[delay[2].lower()] if delay else 0.0, 1 / rate)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:  # "1.2.3" is made of digits and points, and no number.
        return math.nan


def fit_link(points: Iterable[tuple[float, int, float]]) -> Link:
    """The link through measured sums `(bytes, devices, seconds)`: least squares of relative errors, no part below zero.

        seconds / (2 (n - 1)) = latency + bytes / n * byte_seconds

    Raises `ArgumentError` for fewer than two sizes of a device's share, one device, and times that are not positive.

    >>> true = Link(2e-5, 1e-9)
    >>> found = fit_link([(size, 4, true.seconds(size, 4)) for size in (1e3, 1e6, 1e8)])
    >>> round(found.latency_seconds / 2e-5, 6), round(found.byte_seconds / 1e-9, 6)
    (1.0, 1.0)
    """
    table = [(float(size) / n, n, float(seconds)) for size, n, seconds in points]
    if len({share for share, _, _ in table}) < 2 or any(n < 2 or not 0 < seconds < math.inf for _, n, seconds in table):
        why, remedy = "a line needs two", "two sizes on two devices or more"
        raise ArgumentError(must("points", "be measured sums of two sizes", table, why, remedy))
    steps = np.array([seconds / (2 * (n - 1)) for _, n, seconds in table])
    columns = np.array([(1.0, share) for share, _, _ in table]) / steps[:, None]
    return Link(*nonnegative(columns, np.ones(len(table))))


def nonnegative(columns: np.ndarray, values: np.ndarray) -> list[float]:
    """Least squares of `values` by `f64[points, parts]` columns with no part below zero: the best of all subsets.

    Exact for the few parts that there are here: the solution is the unconstrained one of the parts that it uses.

    >>> [round(part, 6) for part in nonnegative(np.array([[1.0, 1.0], [1.0, 2.0]]), np.array([2.0, 1.0]))]
    [1.5, 0.0]
    """
    parts, best, least = columns.shape[1], np.zeros(columns.shape[1]), float((values**2).sum())
    for mask in range(1, 1 << parts):
        used = [part for part in range(parts) if mask >> part & 1]
        found = np.linalg.lstsq(columns[:, used], values, rcond=None)[0]
        error = float(((values - columns[:, used] @ found) ** 2).sum())
        if (found >= 0).all() and error < least * (1 - 1e-9):
            least, best = error, np.zeros(parts)
            best[used] = found
    return [float(part) for part in best]


@dataclass(frozen=True)
class Compute:
    """Says how many seconds one device takes for its share of a batch, cut into micro-batches where it must be.

        seconds(rows) = micro(rows)                              rows <= largest
        seconds(rows) = own + ceil(rows / largest) (micro(largest) - own)    above: `own` is paid once an update

    - `micro`: seconds of an update of one micro-batch. `largest`: examples of one, at most.
    - `own`: seconds of an update apart from its micro-batches, 0 where it was not measured.

    >>> round(Compute(lambda rows: 0.02 + 1e-4 * rows, 100, own=0.01).seconds(250), 6)
    0.07
    """

    micro: Callable[[float], float]
    largest: int
    own: float = 0.0

    def micro_steps(self, rows: float) -> int:
        """Micro-batches that `rows` are cut into."""
        return max(math.ceil(rows / self.largest), 1)

    def seconds(self, rows: float) -> float:
        if rows <= self.largest:
            return self.micro(rows)
        return self.own + self.micro_steps(rows) * (self.micro(self.largest) - self.own)


@dataclass(frozen=True)
class Entry:
    """Says what a number of devices would do: one row of the table.

    - `size`: examples of a batch, all devices together; `share`, those of one device.
    - `seconds`: of an update, `source`: "measured" or "predicted". `compute_seconds`, `allreduce_seconds`: predicted.
    - `time`: to the target, relative to one device; predicted, as the number of updates is.
    """

    devices: int
    size: int
    seconds: float
    compute_seconds: float
    allreduce_seconds: float
    source: Literal["predicted", "measured"]
    time: float

    @property
    def share(self) -> int:
        """Examples of a device."""
        return self.size // self.devices

    @property
    def cost(self) -> float:
        """Device-seconds to the target, relative to those of one device: devices * time."""
        return self.devices * self.time

    @property
    def efficiency(self) -> float:
        """Speed to the target for each device, relative to one: 1 / cost."""
        return 1 / self.cost

    @property
    def predicted_seconds(self) -> float:
        """Of an update, also where it was measured."""
        return self.compute_seconds + self.allreduce_seconds


def updates(size: float, noise: float) -> float:
    """Updates to a target at batches of `size`, relative to the fewest: 1 + noise / size.

    >>> updates(400, 800)
    3.0
    """
    return 1 + noise / size


def update_seconds(compute: Compute, link: Link, gradient_bytes: float, size: int, devices: int) -> tuple[float, float]:
    """`(compute, allreduce)` seconds of an update at batches of `size` on `devices`, one after the other.

        compute = compute.seconds(size / n)        allreduce = micro-batches of a device * link.seconds(bytes, n)

    A compiled update sums over the devices once for each micro-batch, so a share that is cut pays for as many sums.

    >>> update_seconds(Compute(lambda rows: 0.02 + 1e-4 * rows, 256), Link(0.0, 1e-9), 1e6, 512, 2)
    (0.0456, 0.001)
    """
    share = size / devices
    return compute.seconds(share), compute.micro_steps(share) * link.seconds(gradient_bytes, devices)


def best_size(seconds: Callable[[int], float], devices: int, *, noise: float, rows: int) -> int:
    """The batch size with the least (1 + noise / B) seconds(B) among n times powers of two, and all rows.

    Where compute is the line alpha + beta b and nothing is cut, the ideal size is
    B* = sqrt(noise n (alpha + allreduce(n)) / beta); the best power of two is next to it, for T has one minimum.

    - `seconds`: of an update at a batch size on so many devices. All rows count where n divides them.

    Raises `ArgumentError` for more devices than rows.

    >>> best_size(lambda size: 0.02 + 1e-4 * size, 1, noise=800, rows=1 << 20)
    512
    """
    require_share(devices, rows)
    sizes = [devices << power for power in range((rows // devices).bit_length())]
    cost = {size: updates(size, noise) * seconds(size) for size in [*sizes, *([rows] if rows % devices == 0 else [])]}
    return min(cost, key=lambda size: (cost[size], size))


def require_share(devices: int, rows: int) -> None:
    """Refuse more devices than there are rows: some would have none."""
    if require_count("devices", devices) > rows:
        why = "every device needs a row of each batch"
        raise ArgumentError(
            must("devices", f"be at most the {rows:,} rows", devices, why, f"devices=[1, {min(rows, 2)}]")
        )


def require_divides(devices: int, size: int) -> None:
    """Refuse a number of devices that does not divide the batch: each gets as many rows.

    >>> require_divides(4, 256)
    """
    if size % require_count("devices", devices):
        why = f"every device gets as many rows, and {size:,} have no {devices} equal parts"
        fit = [n for n in (1, 2, 4, 8, 16) if size % n == 0]
        raise ArgumentError(must("devices", f"divide the batch size {size}", devices, why, f"devices={fit}"))


def relative_time(size: int, seconds: float, *, base_size: int, base_seconds: float, noise: float) -> float:
    """T(B, n) / T(B_1, 1): time to the target relative to that of one device.

    >>> relative_time(512, 0.01, base_size=512, base_seconds=0.02, noise=800)
    0.5
    """
    return updates(size, noise) * seconds / (updates(base_size, noise) * base_seconds)


def knee(entries: Sequence[Entry]) -> int | None:
    """The number of devices after which one more no longer pays.

    From a number of devices to the next larger one in the table, an added device brings

        (1 / time' - 1 / time) / (devices' - devices)            speed of one device = 1

    It pays at `PAYS` or more. The knee is the last number before it first does not; None where it always does, and
    where the table has one row.
    """
    known = sorted(entries, key=lambda entry: entry.devices)
    for now, more in pairwise(known):
        if (1 / more.time - 1 / now.time) / (more.devices - now.devices) < PAYS:
            return now.devices
    return None


def fit_growing(points: Iterable[tuple[int, float, float]], *, latency: bool = False) -> tuple[float, Link]:
    """`(row_seconds, link)` through seconds of updates `(devices, rows of a device, seconds)`: a published table.

        t(n) = rows * row_seconds + 2 (n - 1) / n * byte_seconds + 2 (n - 1) latency          a gradient of one byte

    - `latency`: whether a delay is fitted too, which needs three numbers of devices; else it is none.

    `link.byte_seconds` is then seconds of the whole gradient. Least squares of relative errors, no part below zero.

    >>> row, link = fit_growing([(1, 64, 0.64), (2, 64, 0.74)])
    >>> round(row, 6), round(64 * row + link.seconds(1.0, 4), 6)
    (0.01, 0.79)
    """
    table = [(int(n), float(rows), float(seconds)) for n, rows, seconds in points]
    if len({n for n, _, _ in table}) < (3 if latency else 2):
        why, remedy = "each unknown needs a number of devices", "more of them"
        raise ArgumentError(must("points", "be times at enough numbers of devices", table, why, remedy))
    parts = [(rows, 2 * (n - 1) / n, 2.0 * (n - 1))[: 3 if latency else 2] for n, rows, _ in table]
    times = np.array([seconds for _, _, seconds in table])
    row, each, *delay = nonnegative(np.array(parts) / times[:, None], np.ones(len(table)))
    return row, Link(delay[0] if delay else 0.0, each)
