"""`report.html`: one file that opens anywhere, offline. The only file that imports bokeh."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from bokeh.embed import components
from bokeh.models import ColumnDataSource, DataRange1d, FixedTicker, GlyphRenderer, HoverTool, NumeralTickFormatter
from bokeh.plotting import figure
from bokeh.resources import Resources

from ladle.errors import RunError, must
from ladle.report import fragments
from ladle.report.checks import findings
from ladle.report.curves import AXES, X_LABELS, Curve, all_curves, along, broken, colors, far_apart, logarithmic, panels
from ladle.report.figures import plan_svg
from ladle.report.fragments import text
from ladle.report.load import Group, Study
from ladle.report.table import table

_REMOTE = re.compile(r"""((?:src|href)\s*=\s*["'])https?://[^"']*""", re.IGNORECASE)
_FORMULA = re.compile(r"\$\$|\\\(|\\\[")

_TOGGLE = """
const ids = key => key.dataset.models.split(" ");
const show = (id, visible) => Bokeh.documents.forEach(page => {
  const model = page.get_model_by_id(id);
  if (model) model.visible = visible;
});
for (const key of document.querySelectorAll(".key")) key.addEventListener("click", () => {
  key.setAttribute("aria-pressed", key.getAttribute("aria-pressed") === "true" ? "false" : "true");
  const keys = [...key.closest(".study").querySelectorAll(".key")];
  const off = keys.filter(one => one.getAttribute("aria-pressed") === "false");
  const hidden = new Set(off.flatMap(ids));
  for (const id of new Set(keys.flatMap(ids))) show(id, !hidden.has(id));
});
"""

_SOFT = "#59636e"

Renderers = dict[str, list[GlyphRenderer]]
"""What a key of the shared legend shows and hides: `group 0`, ..., `training`, `range`."""


def write_page(path: str | os.PathLike[str], studies: Sequence[Study]) -> Path:
    """Write the report about `studies` into one HTML file, scripts and styles inside. Returns its path.

    Raises `RunError` where the file cannot be written.
    """
    path = Path(path)
    html = page(studies)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(html, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise RunError(
            must("report", "be writable", str(path), error.strerror or str(error), "-o with another path")
        ) from error
    return path


def page(studies: Sequence[Study]) -> str:
    """The whole page as text."""
    style = resources.files("ladle.report").joinpath("style.css").read_text(encoding="utf-8")
    names = [str(fragments.study_info(study).get("folder") or study.folder) for study in studies]
    # The script names a remote file that it would load for formulas; there are none, and the page must work offline.
    library = _REMOTE.sub(r"\1data:,", Resources(mode="inline", components=["bokeh"]).render())
    body = "".join(f"<section class='study'>{section(study)}</section>" for study in studies)
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>ladle report: {text(', '.join(names))}</title><style>{style}</style>{library}</head>"
        f"<body><main>{body}</main><script>{_TOGGLE}</script></body></html>"
    )


def section(study: Study) -> str:
    """Everything about one study."""
    parts = [fragments.headline(study), fragments.facts(study)]
    palette = colors(len(study.groups))
    each = "each batch size" if study.compare else "each run" if len(study.groups) > 1 else "the run"
    parts += [
        f"<h2>What {each} cost and brought</h2>",
        fragments.size_table(table(study.rows), [palette[study.group_of(row)] for row in study.rows]),
    ]
    parts += ["<h2>Loss against examples, updates and seconds</h2>", curves(study.groups)]
    if study.compare:
        parts += ["<h2>Rules of thumb against this comparison</h2>", fragments.finding_list(findings(study.compare))]
    if study.plan:
        parts += ["<h2>The plan and its evidence</h2>", fragments.plan_section(study.plan, plan_svg(study.plan))]
    parts += ["<h2>Machine and versions</h2>", fragments.machine(study)]
    return "".join(parts)


def curves(groups: Sequence[Group]) -> str:
    """Interactive curves, three axes side by side under one legend whose keys show and hide."""
    keys: Renderers = {}
    plots = [plot for title, solid, dashed in panels(groups) for plot in _row(groups, keys, title, solid, dashed)]
    if not any(keys.values()):
        return "<p class='note'>These runs wrote no losses.</p>"
    script, divisions = components(plots)
    return f"{_legend(groups, keys)}<div class='plots'>{''.join(divisions)}</div>{script}"


def _row(groups: Sequence[Group], keys: Renderers, title: str, solid: str, dashed: str) -> list[figure]:
    """One row of plots, a plot per axis, with one common range of values."""
    made = all_curves(groups, (dashed, solid))
    values = [value for one in made.values() for value in (one.mean, one.low)]
    ticks = _log_ticks(np.concatenate(values)) if title == "loss" and logarithmic(values, 8) else []
    sources = {place: _source(one) for place, one in made.items()}
    common, plots = DataRange1d(), []
    for axis in AXES:
        log_x = far_apart(list(made.values()), axis)
        plot = _plot(title if axis == AXES[0] else "", axis, log_x=log_x, ticks=ticks, common=common)
        lines = [
            _draw(plot, axis, source, color=colors(len(groups))[i], solid=name == solid, keys=_keys(keys, i))
            for (i, name), source in sources.items()
        ]
        for line, (i, name) in zip(lines, sources, strict=True):
            line.name = _FORMULA.sub(" ", f"{groups[i].label}, {'validation' if name == solid else 'training'}")
        _crosses(plot, groups, axis, name=dashed, keys=keys)
        _hover(plot, lines, title, spread=any(one.seeds > 1 for one in made.values()))
        plots.append(plot)
    return plots


def _plot(title: str, axis: str, *, log_x: bool, ticks: list[float], common: DataRange1d) -> figure:
    """An empty plot; `ticks` for a log axis of values, none for a linear one."""
    plot = figure(
        height=330,
        sizing_mode="stretch_width",
        x_axis_type="log" if log_x else "linear",
        y_axis_type="log" if ticks else "linear",
        x_axis_label=X_LABELS[axis],
        y_range=common,
        tools="pan,box_zoom,wheel_zoom,reset,save",
        toolbar_location="above",
    )
    plot.toolbar.logo = None
    plot.toolbar.autohide = True
    plot.yaxis.axis_label = _FORMULA.sub(" ", title) or None
    plot.xaxis.formatter = NumeralTickFormatter(format="0.[000]a")
    plot.yaxis.formatter = NumeralTickFormatter(format="0.[0000]")
    if ticks:
        plot.yaxis.ticker = FixedTicker(ticks=ticks)
    plot.outline_line_color = None
    plot.grid.grid_line_color = "#e6e8eb"
    plot.axis.axis_label_text_font_style = "normal"
    plot.axis.axis_label_text_font_size = "14px"
    plot.axis.major_label_text_font_size = "12px"
    return plot


def _keys(keys: Renderers, group: int) -> list[list[GlyphRenderer]]:
    return [keys.setdefault(key, []) for key in (f"group {group}", "training", "range")]


def _draw(
    plot: figure, axis: str, source: ColumnDataSource, *, color: str, solid: bool, keys: list[list[GlyphRenderer]]
) -> GlyphRenderer:
    """Line and band of one group in one plot, entered under the keys (group, training, range) that hide them."""
    own, training, bands = keys
    drawn = []
    if "low" in source.column_names:
        drawn.append(plot.varea(axis, "low", "high", source=source, fill_color=color, fill_alpha=0.15))
        bands += drawn
    width, dash, alpha = (2.5, "solid", 1.0) if solid else (1.2, "5 3", 0.8)
    line = plot.line(axis, "mean", source=source, color=color, line_width=width, line_dash=dash, line_alpha=alpha)
    drawn.append(line)
    own += drawn
    training += [] if solid else drawn
    return line


def _crosses(plot: figure, groups: Sequence[Group], axis: str, *, name: str, keys: Renderers) -> None:
    """A cross where a run diverged."""
    for i, group in enumerate(groups):
        for run, examples, value in broken(group, name):
            x = along(run, axis, np.array([examples]))
            cross = plot.scatter(x, [value], marker="x", size=13, line_width=3, color=colors(len(groups))[i])
            keys.setdefault(f"group {i}", []).append(cross)


def _source(made: Curve) -> ColumnDataSource:
    data = {"mean": made.mean, **{axis: getattr(made, axis) for axis in AXES}}
    return ColumnDataSource({**data, "low": made.low, "high": made.high} if made.seeds > 1 else data)


def _hover(plot: figure, lines: list[Any], title: str, *, spread: bool) -> None:
    tips = [("run", "$name"), (_FORMULA.sub(" ", title), "@mean{0.0000}")]
    tips += [("seeds", "@low{0.0000} to @high{0.0000}")] if spread else []
    tips += [("examples", "@examples{0,0}"), ("updates", "@updates{0,0}"), ("seconds", "@seconds{0,0.[000]}")]
    plot.add_tools(HoverTool(renderers=lines, tooltips=tips))


def _legend(groups: Sequence[Group], keys: Renderers) -> str:
    entries = [(f"group {i}", group.label, "", color) for i, (group, color) in enumerate(_colored(groups))]
    entries += [("training", "training (dashed)", "dashed", _SOFT), ("range", "range of seeds", "band", _SOFT)]
    buttons = [
        f"<button type='button' class='key' aria-pressed='true' data-models='{' '.join(r.id for r in keys[key])}'>"
        f"<i class='{kind}' style='color:{color}'></i>{text(label)}</button>"
        for key, label, kind, color in entries
        if keys.get(key)
    ]
    return f"<div class='keys'>{''.join(buttons)}</div>"


def _colored(groups: Sequence[Group]) -> list[tuple[Group, str]]:
    return list(zip(groups, colors(len(groups)), strict=True))


def _log_ticks(values: np.ndarray) -> list[float]:
    """Round values to label on a log axis: bokeh's own choice leaves a range of one or two decades nearly bare."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    decades = np.log10(high / low)
    steps = (1, 1.5, 2, 3, 5, 7) if decades < 1.2 else (1, 2, 5) if decades < 4 else (1,)
    first, last = int(np.floor(np.log10(low))) - 1, int(np.ceil(np.log10(high))) + 1
    return [step * 10.0**power for power in range(first, last + 1) for step in steps]
