"""Pictures that notebooks show below a value's text; drawn when they are asked for. Importing this draws nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ladle.core.shown import PICTURES

if TYPE_CHECKING:
    from ladle.report.study import Group


def _plan(plan: Any) -> bytes:
    from ladle.report.plan_picture import plan_svg

    return plan_svg(plan.to_json())


def _critical(found: Any) -> bytes:
    from ladle.report.critical_picture import critical_svg

    return critical_svg(found.to_json())


def _run(run: Any) -> bytes | None:
    from ladle.report.curves_picture import curves_svg

    return curves_svg([_group("run", [run])]) if len(run.metrics) > 1 else None


def _comparison(found: Any) -> bytes | None:
    """A curve for each size; sizes with the same runs are one."""
    from ladle.report.curves_picture import curves_svg

    distinct = {id(runs): (row["name"], runs) for row, runs in zip(found.rows, found.runs, strict=False)}
    groups = [_group(name, runs) for name, runs in distinct.values()]
    return curves_svg(groups) if groups else None


def _group(name: str, runs: Any) -> Group:
    from pathlib import Path

    from ladle.report.study import Group, RunRecord

    size = int(runs[0].final.get("size") or 0)
    kept = (RunRecord(run.folder or Path(name), {"status": run.status}, tuple(run.metrics)) for run in runs)
    return Group(str(size) if name == "run" else str(name), size, tuple(kept))


def _search(found: Any) -> bytes:
    from ladle.report.search_picture import search_svg

    rows = [
        {"size": row.candidate.size, "lr": row.candidate.lr, "mean": row.score.mean, "se": row.score.se}
        for row in found.rows
    ]
    return search_svg({"candidates": rows, "chosen": found.rows.index(found.chosen), "metric": found.metric})


def _data(data: Any) -> bytes | None:
    """Classes with their rows, or how amounts are spread; of images the first few as well."""
    from ladle.report.data_picture import data_svg

    y = None if not data.resident else np.asarray(data.train["y"])
    if y is None or y.ndim != 1:
        return None
    x = data.train["x"]
    images = x[:12] if isinstance(x, np.ndarray) and len(data.input_shape) in (2, 3) else None
    if data.kind == "classification":
        return data_svg(data.classes, np.bincount(y, minlength=len(data.classes)), images=images)
    return data_svg((), y * data.target_sd + data.target_mean, images=images, unit=data.target or "target")


PICTURES |= {
    "Plan": _plan, "Critical": _critical, "Run": _run, "Comparison": _comparison, "Search": _search, "Data": _data,
}  # fmt: skip
