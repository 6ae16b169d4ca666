"""`baselines`: scikit-learn's plain models on the rows of a task, beside what ladle trained, in plain words."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ladle.api.answers import chances, class_numbers
from ladle.baselines.fits import Fitted, fitted, require_sklearn
from ladle.baselines.verdict import Difference, Metric, Score, accuracy, difference, mean_of, rmse, verdict
from ladle.core import record
from ladle.core.errors import ArgumentError, must
from ladle.core.scores import absolute_error
from ladle.report.numbers import amount, duration

if TYPE_CHECKING:
    from ladle.api.run import Run
    from ladle.api.task import Task

LEAST_CHANCE = float(np.finfo(np.float64).eps)
"""A chance below it counts as this one in a log loss, which else would be infinite for one row."""

WORDS: dict[Metric, str] = {"accuracy": "accuracy", "rmse": "root mean squared error"}


@dataclass(frozen=True)
class Baselines:
    """Plain models beside ladle's on the same validation rows. `str()` says which is better, by how much.

    - `name`: of ladle's model. `runs`: how many its scores are means of. `rows`: validation rows.
    - `metric`: "accuracy", or "rmse" in the target's own unit. `value`, `also`, `seconds`: of ladle's model.
    - `table`: one mapping per plain model: `name`, `value`, `difference` (ladle's minus it) with its `error`,
      `verdict` ("better", "worse", "not told apart"; ladle's model is the subject), `seconds`, `sentence`; or
      `left_out` with the reason.
    - `note`: what is to be known of the comparison.
    """

    name: str
    runs: int
    rows: int
    metric: Metric
    value: float
    also: Mapping[str, float]
    seconds: float
    table: tuple[Mapping[str, Any], ...]
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Everything, as the record keeps it."""
        return {**vars(self), "also": dict(self.also), "table": [dict(row) for row in self.table]}

    def __str__(self) -> str:
        return "\n".join([*(row["sentence"] for row in self.table), *filter(None, [self.note])])

    def _repr_html_(self) -> str:
        return "".join(f"<p>{html.escape(line)}</p>" for line in str(self).splitlines())


def require_baselines(task: Task) -> None:
    """Refuse what plain models cannot be fitted to, before anything is trained. Raises `ArgumentError`."""
    require_sklearn()
    data = task.data
    what, remedy = "baselines", "leaving baselines out"
    if task.feed is not None or not getattr(data, "resident", False):
        why = "scikit-learn fits rows that are in memory, and these are read as they are needed"
        raise ArgumentError(must(what, "be asked of data in memory", "a source of rows", why, remedy))
    x, y = data.train.get("x"), data.train.get("y")
    if not _is_table(x) or y is None or set(data.train) != {"x", "y"}:
        got, why = "other arrays", "a plain model reads one row of numbers for each example"
        raise ArgumentError(must(what, "be asked of inputs x and targets y", got, why, remedy))
    if np.ndim(y) != 1 or (_first(x).dtype.kind in "iu" and not isinstance(x, Mapping)):
        got = f"targets of shape {np.shape(y)}, inputs of {_first(x).dtype}"
        raise ArgumentError(must(what, "be asked of one target a row", got, "plain models give one answer", remedy))
    if not len(data.valid.get("y", ())):
        why = "both are judged on the same validation rows"
        raise ArgumentError(must(what, "have validation rows", 0, why, "valid=0.2"))


def baselines(runs: Sequence[Run], name: str, note: str = "") -> Baselines:
    """Fit scikit-learn's linear model and gradient boosting on the rows that `runs` trained on, and judge all alike.

    - `runs`: of one kind, differing in their seed; their scores are averaged row by row. `name`: what they are called.

    Raises `ArgumentError` as `require_baselines` does, and for a run that diverged.
    """
    task = runs[0].assembly.task
    require_baselines(task)
    if any(run.status == "diverged" for run in runs):
        why = "what it left is no model"
        raise ArgumentError(must("run", "have a model to judge", "diverged", why, "a run at a smaller lr"))
    data = task.data
    found = fitted(data.train, data.valid["x"], len(data.classes), data.weight)
    own = [_own(run) for run in runs]
    score, also = mean_of([one for one, _ in own]), _mean([more for _, more in own])
    seconds = float(np.mean([_seconds(run) for run in runs]))
    metric: Metric = "accuracy" if data.kind == "classification" else "rmse"
    rows = len(data.valid["y"])
    table = [_row(one, data, score, metric, name, seconds) for one in found]
    return Baselines(name, len(runs), rows, metric, score.value, also, seconds, tuple(table), note)


def baselines_of_best(rows: Sequence[Mapping[str, Any]], runs: Sequence[Sequence[Run]]) -> Baselines | None:
    """The same for the row of a comparison with the lowest validation loss; None where every run diverged.

    - `rows`: of its table. `runs`: those of each row.
    """
    sound = [
        (row["valid_loss"], at)
        for at, (row, of) in enumerate(zip(rows, runs, strict=True))
        if row["valid_loss"] is not None and all(run.status != "diverged" for run in of)
    ]
    if not sound:
        return None
    best = min(sound)[1]
    name, of = rows[best]["name"], runs[best]
    size = name if name == "full" else f"size {name}"
    seeds = f", mean of {len(of)} seeds" if len(of) > 1 else ""
    note = (
        f"{_upper(size)} is the best of {len(rows)} on these rows, which favours it a little." if len(rows) > 1 else ""
    )
    return baselines(of, f"the {of[0].assembly.objective.name} ({size}{seeds})", note)


def keep(found: Baselines, folder: Path) -> None:
    """Write them into the record of the run in `folder`."""
    path = folder / record.RUN_FILE
    record.write_json(path, {**record.read_json(path), "baselines": found.to_json()})


def _own(run: Run) -> tuple[Score, dict[str, float]]:
    """What ladle's model scores, and the second number beside it."""
    data, form = run.assembly.task.data, run.model.form
    outputs = run.outputs(data.valid["x"])
    if data.kind == "regression":
        return _of_amounts(data, outputs.reshape(len(outputs)))
    known = form.loss in ("cross_entropy", "binary_cross_entropy")
    return _of_classes(data, class_numbers(form, outputs), chances(form, outputs) if known else None)


def _of_classes(data: Any, answers: np.ndarray, given: np.ndarray | None) -> tuple[Score, dict[str, float]]:
    truth = np.asarray(data.valid["y"])
    also = {}
    if given is not None:
        right = given[np.arange(len(truth)), truth]
        also = {"log_loss": float(-np.log(np.maximum(right, LEAST_CHANCE)).mean())}
    return accuracy(truth, answers), also


def _of_amounts(data: Any, standardised: np.ndarray) -> tuple[Score, dict[str, float]]:
    truth, answers = (
        np.asarray(of, np.float64) * data.target_sd + data.target_mean for of in (data.valid["y"], standardised)
    )
    return rmse(truth, answers), {"absolute_error": absolute_error(truth, answers)}


def _mean(each: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([one[name] for one in each])) for name in each[0]}


def _seconds(run: Run) -> float:
    """What a run took by the clock, compilation and evaluations included; of a resumed one at least its updates."""
    return max(run.used.seconds if run.used is not None else 0.0, float(run.final.get("seconds", 0.0)))


def _row(one: Fitted, data: Any, own: Score, metric: Metric, name: str, seconds: float) -> dict[str, Any]:
    if one.answers is None:
        return {"name": one.name, "left_out": one.left_out, "sentence": f"{_upper(one.name)}: {one.left_out}."}
    if data.kind == "regression":
        score, also = _of_amounts(data, one.answers)
    else:
        score, also = _of_classes(data, one.answers.argmax(1), one.answers)
    apart = difference(own, score)
    said = verdict(apart, metric)
    return {
        "name": one.name,
        "value": score.value,
        **also,
        "difference": apart.value,
        "error": apart.error,
        "verdict": said,
        "seconds": one.seconds,
        "note": one.note,
        "sentence": sentence(name, own.value, seconds, one, score.value, apart, metric),
    }


def sentence(
    name: str, value: float, seconds: float, one: Fitted, other: float, apart: Difference, metric: Metric
) -> str:
    """Who is better, by how much, in how much time.

    >>> linear = Fitted("ridge regression", seconds=0.01)
    >>> print(sentence("the mlp 4-8-1", 2.5, 3.0, linear, 2.0, Difference(0.5, 0.1, 80), "rmse"))
    Ridge regression is better than the mlp 4-8-1: root mean squared error 2 against 2.5, a difference of 0.5 with a \
standard error of 0.1 over 80 validation rows; 10 ms against 3 s.
    """
    said = verdict(apart, metric)
    far = f"a difference of {_digits(abs(apart.value), metric)}"
    error = "" if apart.error is None else f" with a standard error of {_digits(apart.error, metric)}"
    rows = f"over {apart.rows:,} validation rows"
    left, right = _digits(value, metric), _digits(other, metric)
    times, words = (duration(seconds), duration(one.seconds)), WORDS[metric]
    note = f" ({one.note})" if one.note else ""
    if said == "worse":
        return (
            f"{_upper(one.name)}{note} is better than {name}: {words} {right} against {left}, {far}{error} {rows}; "
            f"{times[1]} against {times[0]}."
        )
    both = f"is better than {one.name}{note}" if said == "better" else f"and {one.name}{note} cannot be told apart"
    return f"{_upper(name)} {both}: {words} {left} against {right}, {far}{error} {rows}; {times[0]} against {times[1]}."


def _digits(value: float, metric: Metric) -> str:
    return f"{value:.4f}" if metric == "accuracy" else amount(value)


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _is_table(x: Any) -> bool:
    if isinstance(x, Mapping):
        return set(x) == {"numbers", "codes"}
    return isinstance(x, np.ndarray)


def _first(x: Any) -> np.ndarray:
    return x["numbers"] if isinstance(x, Mapping) else x
