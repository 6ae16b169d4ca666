"""Parts of the page about the batch size itself, as HTML: decisions, a plan against its outcome, critical sizes."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ladle.report import numbers, outcome, targets
from ladle.report.decisions import Change, changes, pair
from ladle.report.facts import baselines_of, caption
from ladle.report.fragments import text
from ladle.report.outcome import Held
from ladle.report.study import Study
from ladle.report.targets import Milestone

ROWS = 200
"""A longer table of decisions is cut there, and says so."""


def decision_table(study: Study) -> str:
    """Every decision of every run: where, from what to what, why, and the numbers behind it; "" where there is none."""
    runs = [run for group in study.groups for run in group.runs]
    found = [(run.folder.name, one) for run in runs for one in changes(run)]
    if not found:
        return ""
    heads = ["examples", "update", "batch size", "micro-batch", "learning rate", "constants"]
    if len(runs) > 1:
        heads = ["run", *heads]
    body = "".join(_change(name if len(runs) > 1 else None, one) for name, one in found[:ROWS])
    more = len(found) - ROWS
    cut = f"<p class='note'>{more:,} more are in the runs' records, metrics.jsonl.</p>" if more > 0 else ""
    return _table(heads, body, words=("reason", "rests on")) + cut


def plan_heading(study: Study) -> str:
    """Whose plan it is, where there are several runs that could have one."""
    owner = None if study.compare or len(study.groups) < 2 else study.planned
    return f"<h2>The plan{'' if owner is None else f' of {text(owner.folder.name)}'} and its evidence</h2>"


def outcome_section(study: Study) -> str:
    """What a plan foretold beside what its runs measured, one table for each plan that was run."""
    parts = []
    plans = outcome.planned(study)
    for name, plan, runs, peak in plans:
        found = outcome.held(plan, runs, peak)
        if found:
            title = f"<h3>{text(name)}</h3>" if len(plans) > 1 else ""
            body = "".join(_held(one) for one in found)
            heads = ["number", "predicted", "actual", "actual / predicted"]
            parts.append(f"{title}<p>{text(outcome.sentence(found))}</p>{_table(heads, body, words=('measured as',))}")
    return "".join(parts)


def target_section(target: Milestone, picture: bytes) -> str:
    """When each size reached the common loss, what the plan said of that, and the trade-off (SVG bytes)."""
    told = any(row.predicted_steps for row in target.rows)
    heads = ["batch", "size", "steps", "examples", "seconds"]
    heads += ["predicted steps", "actual / predicted", "predicted seconds", "actual / predicted"] if told else []
    body = "".join(
        f"<tr><td>{text(row.name)}</td>{_cell(numbers.count(row.size))}"
        f"{_cell(numbers.count(row.steps), _between(row.low, row.high, numbers.count))}"
        f"{_cell(numbers.count(row.examples))}{_cell(numbers.duration(row.seconds))}"
        f"{_foretold(row) if told else ''}</tr>"
        for row in target.rows
    )
    said = f"<p>{text(targets.sentence(target))}</p>" if told else ""
    made = targets.fit(target.rows)
    curve = ""
    if made is not None:
        low, middle, high = (numbers.short(made[name]) for name in ("low", "critical", "high"))
        curve = f" Critical size of the hyperbola: {middle} ({low} to {high})."
    missed = f" Not reached by {', '.join(target.missed)}." if target.missed else ""
    note = (
        f"Target: validation loss {target.loss:g}, the lowest that these sizes reached, rounded up. Steps are those at "
        "the first evaluation at or below it, a mean over seeds; small print: from the evaluation before to the last "
        f"seed's. Rates are those of the comparison, not tuned for this target.{missed}{curve}"
    )
    return f"{said}{_picture(picture, 'steps against examples')}{_table(heads, body)}<p class='note'>{text(note)}</p>"


def baselines_section(study: Study) -> str:
    """scikit-learn's plain models beside ladle's: who is better, in a sentence each and as a table; "" without them."""
    runs = [run for group in study.groups for run in group.runs]
    owners = [(study.folder.name, study.compare)] if study.compare else [(run.folder.name, run.info) for run in runs]
    found = [(name, one) for name, of in owners if (one := baselines_of(of))]
    return "".join(_baselines(name if len(owners) > 1 else None, one) for name, one in found)


def _baselines(name: str | None, found: Mapping[str, Any]) -> str:
    metric = found["metric"]
    rows = [{"name": found["name"], **{key: found.get(key) for key in ("value", "seconds")}}]
    rows += [row for row in found["table"] if "value" in row]
    form = numbers.amount if metric == "rmse" else numbers.loss
    body = "".join(
        f"<tr><td>{text(row['name'])}</td>{_cell(form(row['value']))}{_cell(form(row.get('difference')))}"
        f"{_cell(form(row.get('error')))}{_cell(numbers.duration(row['seconds']))}"
        f"<td class='words'>{text(row.get('note') or '')}</td></tr>"
        for row in rows
    )
    title = f"<h3>{text(name)}</h3>" if name else ""
    said = "".join(f"<p>{text(row['sentence'])}</p>" for row in found["table"])
    heads = ["model", metric, "ladle's minus it", "standard error", "time"]
    note = f"Paired over {numbers.count(found['rows'])} validation rows. {found.get('note') or ''}"
    return f"{title}{said}{_table(heads, body, words=('note',))}<p class='note'>{text(note)}</p>"


def critical_section(found: Mapping[str, Any], picture: bytes) -> str:
    """A measured critical batch size: its picture (SVG bytes), every definition, the table, the notes."""
    heads = ["definition", "value", "low", "high"]
    body = "".join(
        f"<tr><td>{text(one.get('name'))}</td>{_cell(_number(one.get('value')))}{_cell(_number(one.get('low')))}"
        f"{_cell(_number(one.get('high')))}<td class='words'>{text(one.get('source') or '')}</td></tr>"
        for one in found["definitions"]
    )
    columns = [one for one in _MEASURED if any(row.get(one[0]) is not None for row in found["table"])]
    rows = "".join(
        "<tr>" + "".join(_cell(form(row.get(key))) for key, _, form in columns) + "</tr>" for row in found["table"]
    )
    listed = found.get("notes")
    notes = [str(note) for note in listed] if isinstance(listed, list) else []
    return (
        _picture(picture, "what the critical batch size rests on")
        + f"<h3>Critical batch sizes</h3>{_table(heads, body, words=('source',))}"
        + f"<h3>Measured</h3>{_table([heading for _, heading, _ in columns], rows)}"
        + "".join(f"<p class='note'>{text(note)}</p>" for note in notes)
    )


def critical_headline(found: Mapping[str, Any]) -> str:
    """Title and one line under it."""
    what = f"by steps to {found.get('target')}" if found["kind"] != "branches" else "by branches of a run"
    place = f" at {numbers.count(found['position'])} examples" if numbers.finite(found.get("position")) else ""
    about = caption(found)
    return (
        f"<h1>Critical batch size</h1><p class='lead'>Measured {text(what + place)}"
        f"{text(f', on {about}') if about else ''}.</p>"
    )


def _change(name: str | None, one: Change) -> str:
    moved = ", ".join(f"{key} {pair(ends)}" for key, ends in one.hyper.items())
    cells = [numbers.count(one.examples), numbers.count(one.updates), pair(one.size, numbers.count)]
    cells += [pair(one.micro_size, numbers.count), pair(one.lr), moved or numbers.NOTHING]
    inputs = ", ".join(f"{key.replace('_', ' ')} {numbers.short(value)}" for key, value in one.inputs.items())
    first = "" if name is None else f"<td>{text(name)}</td>"
    why = text(one.reason or "no reason recorded")
    return (
        f"<tr>{first}{''.join(map(_cell, cells))}<td class='words'>{why}</td><td class='words'>{text(inputs)}</td></tr>"
    )


def _held(one: Held) -> str:
    def form(value: Any) -> str:
        return numbers.quantity(value, one.unit)

    return (
        f"<tr><td>{text(one.name)}</td>{_cell(form(one.predicted), _between(*one.ends, form))}"
        f"{_cell(form(one.actual), _between(*one.actual_ends, form))}{_cell(_ratio(one.ratio))}"
        f"<td class='words'>{text(one.how)}</td></tr>"
    )


def _foretold(row: targets.Reached) -> str:
    if row.predicted_steps is None:
        return _cell("the reference") + 3 * _cell(numbers.NOTHING)
    steps = _cell(numbers.count(row.predicted_steps), _between(row.predicted_low, row.predicted_high, numbers.count))
    time = numbers.duration(row.predicted_seconds)
    return f"{steps}{_cell(_ratio(row.steps_ratio))}{_cell(time)}{_cell(_ratio(row.seconds_ratio))}"


def _between(low: Any, high: Any, form: Callable[[Any], str]) -> str:
    """An interval in words; one end alone is said as such."""
    if numbers.finite(low) and numbers.finite(high):
        return f"{form(low)} to {form(high)}"
    return f"at least {form(low)}" if numbers.finite(low) else f"at most {form(high)}" if numbers.finite(high) else ""


def _ratio(value: float | None) -> str:
    return f"{value:.2f}" if numbers.finite(value) else numbers.NOTHING


def _number(value: Any) -> str:
    """Whole from 100 on; an end that is not bounded is "-"."""
    return numbers.count(value) if numbers.finite(value) and abs(value) >= 100 else numbers.short(value)


_MEASURED = (
    ("size", "size", numbers.count),
    ("steps", "steps", _number),
    ("examples", "examples", numbers.count),
    ("rate", "best rate", numbers.short),
    ("fitted", "fitted steps", _number),
    ("factor", "factor", numbers.count),
    ("lr_factor", "rate x", numbers.short),
    ("updates", "updates", numbers.count),
    ("loss", "validation loss", numbers.loss),
    ("difference", "above the first", numbers.short),
    ("error", "its error", numbers.short),
    ("low", "low", numbers.short),
    ("high", "high", numbers.short),
    ("verdict", "verdict", lambda value: str(value or "")),
)
"""Columns of critical.json's table: field, heading, how it is written."""


def _cell(value: str, small: str = "") -> str:
    return f"<td>{text(value)}{f'<small>{text(small)}</small>' if small else ''}</td>"


def _table(heads: Sequence[str], body: str, words: Sequence[str] = ()) -> str:
    head = "".join(f"<th scope='col'>{text(one)}</th>" for one in heads)
    head += "".join(f"<th scope='col' class='words'>{text(one)}</th>" for one in words)
    return f"<div class='scroll'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _picture(svg: bytes, words: str) -> str:
    source = "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
    return f"<div class='plan-picture'><img alt='{text(words)}' src='{source}'></div>"
