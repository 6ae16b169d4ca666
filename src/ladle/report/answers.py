"""Which runs of a study show what their models said, and the part of the page about it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ladle.core.record import ANSWERS_FILE
from ladle.core.scores import absolute_error, accuracy, rmse
from ladle.report.answers_picture import answers_svg, judged_chances
from ladle.report.fragments import text
from ladle.report.judged import Judged, load_judged
from ladle.report.judging import calibration, confusion, roc
from ladle.report.numbers import amount, finite
from ladle.report.study import RunRecord, Study
from ladle.report.units import target_name

RUNS = 4
"""Runs of a study whose answers are drawn, at most."""


class Answered(NamedTuple):
    """A run with what its model said. `title`: which one it is."""

    title: str
    run: RunRecord
    parts: tuple[Judged, ...]

    @property
    def unit(self) -> str:
        return target_name(self.run.info)


def answered(study: Study) -> list[Answered]:
    """The runs of a study that kept answers: of a comparison the best size's first seed, else the first few.

    Raises `ArgumentError` for a damaged file.
    """
    runs = [run for group in study.groups for run in group.runs]
    titles = [run.folder.resolve().name for run in runs]
    if study.compare:
        rows = [row for row in study.rows if finite(row.get("valid_loss")) and not row.get("diverged")]
        if not rows:
            return []
        best = study.groups[study.group_of(min(rows, key=lambda row: row["valid_loss"]))]
        seeds = f", the first of {len(best.runs)} seeds" if len(best.runs) > 1 else ""
        runs, titles = list(best.runs[:1]), [f"Batch size {best.label}{seeds}"]
    having = [(title, run) for title, run in zip(titles, runs, strict=True) if (run.folder / ANSWERS_FILE).is_file()]
    return [Answered(title, run, load_judged(run.folder)) for title, run in having[:RUNS]]


def answers_section(study: Study) -> str:
    """Pictures and numbers of what the models said of rows that they were not trained on; "" where none is kept."""
    found = [one for one in answered(study) if one.parts]
    return "".join(_one(one, alone=len(found) == 1 and not study.compare) for one in found)


def _one(one: Answered, alone: bool) -> str:
    title = "" if alone else f"<h3>{text(one.title)}</h3>"
    said = "".join(f"<p>{text(sentence(part, one.unit))}</p>" for part in one.parts)
    source = "data:image/svg+xml;base64," + base64.b64encode(answers_svg(one.parts, one.unit)).decode()
    words = "confusion matrix, ROC and calibration" if one.parts[0].classes else "predicted against true, residuals"
    note = f"<p class='note'>{_READ}</p>" if one.parts[0].chances is not None else ""
    return f"{title}{said}<div class='plan-picture'><img alt='{words}' src='{source}'></div>{note}"


_READ = (
    "Calibration: rows by their chance in ten bins of equal width; a point is the mean chance and the share that came "
    "true, a bar two standard errors of that share, grey the rows. On the diagonal chances are what they say."
)


def sentence(part: Judged, unit: str = "") -> str:
    """The numbers of a part in words.

    >>> print(sentence(Judged("test", (), np.array([1.0, 2.0]), np.array([1.0, 4.0]), 2), "price"))
    2 test rows: root mean squared error 1.414, mean absolute error 1, in the unit of price.
    """
    if not part.classes:
        where = f"the unit of {unit}" if unit else "the target's own unit"
        error, size = rmse(part.truth, part.answers), absolute_error(part.truth, part.answers)
        both = f"root mean squared error {amount(error)}, mean absolute error {amount(size)}"
        return f"{part.rows_said}: {both}, in {where}."
    told = measures(part)
    words = [f"accuracy {told['accuracy']:.4f}"]
    words += [f"area below the ROC {told['area']:.4f}"] if "area" in told else []
    words += [f"expected calibration error {told['calibration_error']:.4f}"] if "calibration_error" in told else []
    return f"{part.rows_said}: {', '.join(words)}.{_mistaken(part)}"


def measures(part: Judged) -> Mapping[str, Any]:
    """Accuracy, mean area below the ROC of one class against the rest, expected calibration error: what there is."""
    told: dict[str, Any] = {"accuracy": accuracy(part.truth, part.answers)}
    if part.chances is None:
        return told
    which: Sequence[int] = [1] if len(part.classes) == 2 else range(len(part.classes))
    areas = [roc(part.truth == name, part.chances[:, name]).area for name in which]
    known = [area for area in areas if area is not None]
    told |= {"area": float(np.mean(known))} if known else {}
    return {**told, "calibration_error": calibration(*judged_chances(part)[:2]).error}


def _mistaken(part: Judged) -> str:
    """Which class is most often taken for which."""
    cells = confusion(part.truth, part.answers, len(part.classes))
    np.fill_diagonal(cells, 0)
    i, j = np.unravel_index(int(cells.argmax()), cells.shape)
    if not cells[i, j]:
        return ""
    return f" Most often {part.classes[i]} is taken for {part.classes[j]}: {cells[i, j]:,} rows."
