"""`report.html`: one file that opens anywhere, offline."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from ladle.core.colours import colors
from ladle.core.errors import RunError, must
from ladle.report import chapters, fragments, plots
from ladle.report.answers import answers_section
from ladle.report.checks import study_findings
from ladle.report.critical_picture import critical_svg
from ladle.report.curve_plots import curve_plots
from ladle.report.facts import study_facts
from ladle.report.fragments import text
from ladle.report.plan_picture import plan_svg
from ladle.report.reach_picture import reached_svg
from ladle.report.study import Group, Study
from ladle.report.table import table
from ladle.report.targets import common_target, foretold
from ladle.report.track_plots import track_row

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
    names = [str(study_facts(study).get("folder") or study.folder) for study in studies]
    body = "".join(f"<section class='study'>{section(study)}</section>" for study in studies)
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>ladle report: {text(', '.join(names))}</title><style>{style}</style>{plots.library()}</head>"
        f"<body><main>{body}</main><script>{_TOGGLE}</script></body></html>"
    )


def section(study: Study) -> str:
    """Everything about one study."""
    if study.critical:
        found = study.critical
        return chapters.critical_headline(found) + chapters.critical_section(found, critical_svg(found))
    parts = [fragments.headline(study), fragments.facts(study)]
    palette = colors(len(study.groups))
    each = "each batch size" if study.compare else "each run" if len(study.groups) > 1 else "the run"
    parts += [
        f"<h2>What {each} cost and brought</h2>",
        fragments.size_table(
            table(study.rows, study_facts(study)), [palette[study.group_of(row)] for row in study.rows]
        ),
    ]
    parts += ["<h2>Loss against examples, updates and seconds</h2>", curves(study.groups)]
    if said := answers_section(study):
        parts += ["<h2>What the model says of rows that it was not trained on</h2>", said]
    if plain := chapters.baselines_section(study):
        parts += ["<h2>Beside scikit-learn's plain models</h2>", plain]
    if decided := chapters.decision_table(study):
        parts += ["<h2>Decisions</h2>", decided]
    if study.compare:
        parts += ["<h2>Rules of thumb against this comparison</h2>", fragments.finding_list(study_findings(study))]
    if study.plan:
        parts += [chapters.plan_heading(study), fragments.plan_section(study.plan, plan_svg(study.plan))]
    if held := chapters.outcome_section(study):
        parts += ["<h2>The plan against its outcome</h2>", held]
    if study.compare and (target := common_target(study.groups)):
        told = foretold(target, study.plan)
        parts += ["<h2>Steps and examples to one loss</h2>", chapters.target_section(told, reached_svg(told))]
    parts += ["<h2>Machine and versions</h2>", fragments.machine(study)]
    return "".join(parts)


def curves(groups: Sequence[Group]) -> str:
    """Interactive curves, three axes side by side under one legend whose keys show and hide."""
    keys: plots.Renderers = {}
    made = [*curve_plots(groups, keys), *track_row(groups, keys)]
    if not any(keys.values()):
        return "<p class='note'>These runs wrote no losses.</p>"
    script, divisions = plots.embed(made)
    return f"{plots.legend(groups, keys)}<p class='note'>{_READ}</p><div class='plots'>{divisions}</div>{script}"


_READ = (
    "Points are evaluations on validation data; between two of them nothing was measured and the line is a guide. "
    "Training losses are means of windows, each in the middle of its window. Ranges are from the lowest to the highest "
    "seed; a cross at the edge stands for a loss beyond it."
)
