"""Reports on finished runs: tables, pictures, one page. Reads run folders only; needs no JAX.

The functions here load what they need when called: `import ladle.report` is free.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ladle.core.plan import Plan

__all__ = ["write_answers", "write_curves", "write_devices_figure", "write_plan_figure", "write_report"]

Folder = str | os.PathLike[str]


def write_report(folders: Folder | Sequence[Folder], out: Folder | None = None) -> Path:
    """One self-contained HTML page about `folders` (compare folders or run folders). Returns its path.

    `out` is the file to write, by default `report.html` in the first folder. Raises `ArgumentError` for a folder
    that holds no run and for a file that cannot be written.
    """
    from ladle.report.load import load_folders
    from ladle.report.page import write_page

    paths = [folders] if isinstance(folders, str | os.PathLike) else list(folders)
    studies = load_folders(paths)
    return write_page(Path(out) if out is not None else studies[0].folder / "report.html", studies)


def write_curves(folder: Folder) -> Path:
    """`curves.png` in `folder`: loss against examples, updates and seconds. Returns its path."""
    from ladle.report.curves_picture import curves_figure
    from ladle.report.facts import caption, study_facts
    from ladle.report.load import load_folders

    study = load_folders([folder])[0]
    return curves_figure(study.groups, study.folder / "curves.png", caption(study_facts(study)))


def write_answers(folder: Folder) -> Path | None:
    """`answers.png` in `folder`: confusion, ROC and calibration of its model, or residuals. Returns its path.

    Of a comparison, the best size's. None where no run there kept what its model said.
    """
    from ladle.report.answers import answered
    from ladle.report.answers_picture import answers_figure
    from ladle.report.facts import caption, study_facts
    from ladle.report.load import load_folders

    study = load_folders([folder])[0]
    found = [one for one in answered(study) if one.parts]
    if not found:
        return None
    title = f"{found[0].title}; {caption(study_facts(study))}"
    return answers_figure(found[0].parts, study.folder / "answers.png", title, found[0].unit)


def write_plan_figure(plan: Plan | Mapping[str, Any], path: Folder, facts: Mapping[str, Any] | None = None) -> Path:
    """`plan.png`: memory, throughput and time to target behind `plan` (a `Plan` or its JSON). Returns its path.

    - `facts`: what it was made for (`data`, `model`, `optimizer`), for the caption; by default the record that lies in
      the same folder, `compare.json`, `run.json` or `plan.json`.
    """
    from ladle.report.facts import caption, facts_beside
    from ladle.report.plan_picture import plan_figure

    value = plan if isinstance(plan, Mapping) else plan.to_json()
    return plan_figure(value, Path(path), caption(facts if facts is not None else facts_beside(Path(path))))


def write_devices_figure(plan: Plan | Mapping[str, Any], path: Folder, facts: Mapping[str, Any] | None = None) -> Path:
    """`devices.png`: time to a target, seconds of an update and cost by number of devices. Returns its path.

    Raises `ArgumentError` for a plan that was not asked about devices. `facts`: as for `write_plan_figure`.
    """
    from ladle.report.devices_picture import devices_figure
    from ladle.report.facts import caption, facts_beside

    value = plan if isinstance(plan, Mapping) else plan.to_json()
    return devices_figure(value, Path(path), caption(facts if facts is not None else facts_beside(Path(path))))
