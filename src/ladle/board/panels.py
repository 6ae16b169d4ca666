"""What each panel of the board shows: which numbers, as lines or staircases, with bands and marks. Plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ladle.board.follow import Followed
from ladle.board.series import Change, Series, Span, averaged, changes, noise, series, steps
from ladle.board.told import metric_of

MARKED = 60
"""Evaluations are marked with a point where there are no more than that."""


@dataclass(frozen=True)
class Panel:
    """`key`, `title` with its unit, and the columns that are drawn: solid, then dashed.

    - `kind`: "line", "steps" or "noise". `form`: of its numbers, as bokeh writes them. `marked`: with decisions.
    - `factor`: from the record's unit to the panel's. `ends`: of its values, where they are known beforehand.
    """

    key: str
    title: str
    columns: tuple[str, ...]
    kind: str = "line"
    form: str = "0.[0000]"
    marked: bool = False
    factor: float = 1.0
    ends: tuple[float, float] | None = None


METRIC = "metric"

PANELS = (
    Panel("loss", "loss", ("valid_loss", "train_loss"), marked=True),
    Panel(METRIC, "metric", ("", ""), marked=True),
    Panel("size", "batch size, examples", ("size",), "steps", "0,0", marked=True),
    Panel("lr", "learning rate", ("lr",), "steps", "0.[000000]", marked=True),
    Panel("noise", "gradient noise scale, examples", ("size",), "noise", "0.[0]a"),
    Panel("gradient", "gradient norm", ("grad_norm",)),
    Panel("speed", "examples per second", ("examples_per_second",), form="0.[00]a"),
    Panel("wait", "share of time waiting for data", ("data_wait_fraction",), form="0 %", ends=(-0.03, 1.03)),
    Panel("memory", "memory in use, MB", ("memory_bytes",), form="0,0", factor=1e-6),
    Panel("energy", "energy, joules", ("joules",), form="0.[00]a"),
)


@dataclass(frozen=True)
class Source:
    """A run to draw: its name and what its file holds."""

    name: str
    run: Followed


@dataclass(frozen=True)
class Drawn:
    """What a panel shows, as columns that stand for one glyph each; empty where nothing was recorded.

    - `lines`: xs, ys, group, dash, name. `bands`: xs, ys, group. `points`: x, y, group, marker, name, text.
    - `ends`: `(name, last value)` of each solid line, for those who do not see the picture.
    """

    lines: Mapping[str, list] = field(default_factory=lambda: {k: [] for k in ("xs", "ys", "group", "dash", "name")})
    bands: Mapping[str, list] = field(default_factory=lambda: {k: [] for k in ("xs", "ys", "group")})
    points: Mapping[str, list] = field(
        default_factory=lambda: {k: [] for k in ("x", "y", "group", "marker", "size", "name", "text")}
    )
    ends: list[tuple[str, float]] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        return not self.lines["xs"] and not self.points["x"]

    def line(self, group: int, name: str, one: Series, dash: str = "solid") -> None:
        for key, value in zip(("xs", "ys", "group", "dash", "name"), (one.x, one.y, group, dash, name), strict=True):
            self.lines[key].append(value)
        if one.low is None or one.high is None:
            return
        for part in _whole(np.isfinite(one.low) & np.isfinite(one.high)):
            x, low, high = one.x[part], one.low[part], one.high[part]
            self.bands["xs"].append(np.concatenate((x, x[::-1])))
            self.bands["ys"].append(np.concatenate((low, high[::-1])))
            self.bands["group"].append(group)

    def point(self, group: int, name: str, x: float, y: float, marker: str, text: str, size: int = 7) -> None:
        for key, value in zip(self.points, (x, y, group, marker, size, name, text), strict=True):
            self.points[key].append(value)


def draw(panel: Panel, groups: Sequence[tuple[str, Sequence[Source]]], axis: str, span: Span | None = None) -> Drawn:
    """What `panel` shows of `groups`: runs that differ only in their seed are one line with their range as a band."""
    drawn = Drawn()
    for at, (name, sources) in enumerate(groups):
        if panel.kind == "noise":
            _noise(drawn, at, name, sources, axis)
            continue
        for place, column in enumerate(columns(panel, [one.run for one in sources])):
            found = [one for source in sources if (one := series(source.run, column, axis, span)) is not None]
            if not found:
                continue
            one = averaged(found).scaled(panel.factor)
            if panel.kind == "steps" and one.low is not None and np.array_equal(one.low, one.y):
                one = Series(one.x, one.y)  # All seeds have the same: stairs, and no band.
            stairs = panel.kind == "steps"
            training = column.startswith("train_")
            label = f"{name}, training" if training else f"{name}, validation" if column.startswith("valid_") else name
            drawn.line(at, label, steps(one) if stairs and one.low is None else one, "5 3" if training else "solid")
            if (
                not training
                and not stairs
                and len(one.x) <= MARKED
                and (column.startswith("valid_") or len(one.x) == 1)
            ):
                for x, y in zip(one.x.tolist(), one.y.tolist(), strict=True):
                    drawn.point(at, label, x, y, "circle", "evaluation", 6)
            if place == 0 or not drawn.ends or drawn.ends[-1][0] != name:
                drawn.ends.append((name, float(one.y[-1])))
            if panel.marked and place == 0:
                _decisions(drawn, at, name, sources, one, axis, span)
    return drawn


def columns(panel: Panel, runs: Iterable[Followed]) -> tuple[str, ...]:
    """The columns of `panel`; of the metric's, those that these runs have."""
    if panel.key != METRIC:
        return panel.columns
    metric = metric_of({name: 0.0 for run in runs for name in run.names()})
    return () if metric is None else (metric, metric.replace("valid_", "train_", 1))


def _noise(drawn: Drawn, at: int, name: str, sources: Sequence[Source], axis: str) -> None:
    """The noise scale of each run with its interval, and the batch size beside it, dashed, where there is one."""
    for source in sources:
        one = noise(source.run, axis)
        if one is None or one.low is None or one.high is None:
            continue
        known = np.isfinite(one.y)
        if known.any():
            drawn.line(
                at, f"{source.name}, noise scale", Series(one.x, one.y, one.low, np.where(known, one.high, np.nan))
            )
            drawn.ends.append((source.name, float(one.y[known][-1])))
        for x, y, low in zip(one.x.tolist(), one.y.tolist(), one.low.tolist(), strict=True):
            if y == y:
                drawn.point(at, source.name, x, y, "circle", "noise scale", 5)
            elif low == low:
                drawn.point(at, source.name, x, low, "triangle", "at least: no upper end is known", 8)
    size = next((one for source in sources if (one := series(source.run, "size", axis)) is not None), None)
    if size is not None and drawn.points["x"]:
        drawn.line(at, f"{name}, batch size", steps(size), "5 3")


def _decisions(
    drawn: Drawn, at: int, name: str, sources: Sequence[Source], one: Series, axis: str, span: Span | None
) -> None:
    for source in sources:
        for change in changes(source.run):
            x = getattr(change, axis)
            if (span is None or span[0] <= x <= span[1]) and one.x[0] <= x <= one.x[-1]:
                y = float(np.interp(x, one.x, one.y))
                drawn.point(at, source.name, x, y, "inverted_triangle", sentence(change), 11)


def sentence(change: Change) -> str:
    """A decision in words: its own, or what it did.

    >>> sentence(Change(64.0, 1.0, 0.1, (8.0, 16.0), "", {}))
    'batch size 8 -> 16; no reason recorded'
    """
    if change.reason:
        return change.reason
    old, new = change.size
    return f"batch size {'' if old is None else f'{old:g} -> '}{new:g}; no reason recorded"


BAND_ROOM, MARGIN = 0.5, 0.06
"""Bands may lengthen the axis of values by so much of what the lines span; and what is left free at each end."""


def value_ends(drawn: Drawn, log: bool) -> Span:
    """Lowest and highest value of a panel: around its lines and points, with some room for their bands.

    >>> drawn = Drawn()
    >>> drawn.line(0, "a", Series(np.array([0.0, 1.0]), np.array([1.0, 2.0])))
    >>> value_ends(drawn, log=False)
    (0.94, 2.06)
    """
    lines = np.concatenate([np.empty(0), *drawn.lines["ys"], np.asarray(drawn.points["y"], float)])
    bands = np.concatenate([np.empty(0), *drawn.bands["ys"]])
    lines, bands = (_scaled(one, log) for one in (lines, bands))
    if not lines.size:
        return (1.0, 10.0) if log else (0.0, 1.0)
    low, high = float(lines.min()), float(lines.max())
    room = BAND_ROOM * (high - low)
    low, high = (
        max(min(low, bands.min(initial=np.inf)), low - room) if room else min(low, bands.min(initial=np.inf)),
        min(max(high, bands.max(initial=-np.inf)), high + room) if room else max(high, bands.max(initial=-np.inf)),
    )
    margin = MARGIN * (high - low) or (0.1 if log else 0.1 * abs(high) or 0.1)
    ends = low - margin, high + margin
    return (10 ** ends[0], 10 ** ends[1]) if log else ends


def _scaled(values: np.ndarray, log: bool) -> np.ndarray:
    values = values[np.isfinite(values)]
    return np.log10(values[values > 0]) if log else values


def extent(groups: Sequence[tuple[str, Sequence[Source]]], axis: str) -> Span:
    """From 0 to the furthest place on the axis that any run has reached."""
    ends = [run[axis][np.isfinite(run[axis])] for _, some in groups for run in (one.run for one in some)]
    return 0.0, max((float(one.max()) for one in ends if one.size), default=1.0) or 1.0


def _whole(known: np.ndarray) -> list[slice]:
    """Stretches of true.

    >>> _whole(np.array([True, True, False, True]))
    [slice(0, 2, None), slice(3, 4, None)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate(([False], known, [False])).astype(int)))
    return [slice(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
