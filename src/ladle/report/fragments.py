"""Pieces of the page as HTML text, every word from outside escaped. Pure functions, no third-party library."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from ladle.report import numbers
from ladle.report.facts import mapping, name_of, study_facts
from ladle.report.plan_numbers import within_5_percent
from ladle.report.rules.finding import Finding
from ladle.report.study import Study
from ladle.report.table import Cell, Table
from ladle.report.units import target_words

_CHIPS = {"holds": ("holds", "holds"), "does not": ("fails", "does not hold"), "not resolved": ("open", "not resolved")}
_SPREAD_SHOWN = ("train_loss", "valid_loss", "valid_metric", "generalisation_gap")
"""Columns whose range over seeds is printed; the others tell it when pointed at, or the table would be too wide."""


def text(value: object) -> str:
    """`value` escaped for HTML text and quoted attributes."""
    return escape(str(value), quote=True)


def headline(study: Study) -> str:
    """Title and one line under it."""
    info = study_facts(study)
    data = mapping(info.get("data")).get("name")
    if study.compare:
        title, names = (
            f"Batch sizes on {data or 'this data'}",
            ", ".join(" = ".join((group.name, *group.also)) for group in study.groups),
        )
        return (
            f"<h1>{text(title)}</h1><p class='lead'>Compared: {text(names)}. Same data, seeds and budget for each.</p>"
        )
    title = "Runs side by side" if len(study.groups) > 1 else f"Training on {data or 'this data'}"
    return f"<h1>{text(title)}</h1><p class='lead'>{text(', '.join(group.label for group in study.groups))}</p>"


def facts(study: Study) -> str:
    """What was run, as a grid of terms; what is not known stays out."""
    info = study_facts(study)
    data = mapping(info.get("data"))
    size = [f"{numbers.count(data['rows'])} to train" if numbers.finite(data.get("rows")) else "", _valid_rows(data)]
    pairs = [
        ("Data", ", ".join(word for word in (str(data.get("name") or ""), *size) if word)),
        ("Kind", data.get("kind")),
        ("Target", target_words(info)),
        ("Data digest", str(data.get("digest") or "")[:12]),
        ("Model", name_of(info.get("model"))),
        ("Optimizer", name_of(info.get("optimizer"))),
        ("Budget for each", info.get("budget")),
        ("Learning rates", study.compare.get("lr")),
        ("Status", info.get("status")),
        ("Command", _command(info.get("command"))),
        ("Folder", info.get("folder") or study.folder),
    ]
    notes = "".join(f"<p class='note'>{text(note)}</p>" for note in _sequence(data.get("notes")))
    return f"<dl class='facts'>{_terms(pairs)}</dl>{notes}"


def size_table(table: Table, colors: Sequence[str]) -> str:
    """The measured batch-size table; `colors[i]` is the colour of row `i` in the curves."""
    head = "".join(f"<th scope='col' title='{text(c.hint)}'>{text(c.heading)}</th>" for c in table.columns)
    body = "".join(f"<tr>{_row(table, row, color)}</tr>" for row, color in zip(table.cells, colors, strict=True))
    best = ["Green: best on validation data."] if any(cell.best for row in table.cells for cell in row) else []
    spread = ["Small print: lowest to highest seed."] if any(cell.spread for row in table.cells for cell in row) else []
    notes = " ".join([*table.notes, *best, *spread])
    return _table(f"<tr>{head}</tr>", body) + f"<p class='note'>{text(notes)}</p>"


def finding_list(found: Iterable[Finding]) -> str:
    """The rules of thumb with their verdicts."""
    items = "".join(
        f"<li><span class='chip {_CHIPS[one.verdict][0]}'>{_CHIPS[one.verdict][1]}</span>"
        f"<div><p>{text(one.title)}</p><p>{text(one.sentence)}</p></div></li>"
        for one in found
    )
    return f"<ul class='findings'>{items}</ul>"


def plan_section(plan: Mapping[str, Any], picture: bytes) -> str:
    """The plan in a sentence, its picture (SVG bytes) and every number behind it."""
    low, high = within_5_percent(plan)
    rate = f", learning rate <b>{text(numbers.short(plan['lr']))}</b>" if numbers.finite(plan.get("lr")) else ""
    flat = (
        f" Sizes from {numbers.count(low)} to {numbers.count(high)} are within 5 % of the best."
        if numbers.finite(low)
        else ""
    )
    choice = (
        f"<p class='choice'>Batch size <b>{numbers.count(plan.get('size'))}</b>, micro-batch "
        f"<b>{numbers.count(plan.get('micro_size'))}</b>{rate}. "
        f"<span class='note'>Decided by: {text(plan.get('bound'))}.{text(flat)}</span></p>"
    )
    source = "data:image/svg+xml;base64," + base64.b64encode(picture).decode()
    words = "memory, throughput and time to target behind the plan"
    image = f"<div class='plan-picture'><img alt='{words}' src='{source}'></div>"
    notes = "".join(f"<p class='note'>{text(note)}</p>" for note in _sequence(plan.get("notes")))
    return choice + image + _evidence_table(plan) + notes


def machine(study: Study) -> str:
    """Hardware and versions of the first run that tells them."""
    info = study_facts(study)
    hardware, versions = mapping(info.get("hardware")), mapping(info.get("versions"))
    system = " ".join(str(hardware[key]) for key in ("system", "machine") if hardware.get(key))
    pairs = [
        ("Processor", hardware.get("processor")),
        ("Cores", hardware.get("cores")),
        (
            "Memory",
            numbers.data_bytes(hardware["memory_bytes"]) if numbers.finite(hardware.get("memory_bytes")) else None,
        ),
        ("Devices", ", ".join(str(d) for d in _sequence(hardware.get("devices")))),
        ("System", system),
        ("Seeds", ", ".join(sorted({str(r.info["seed"]) for g in study.groups for r in g.runs if "seed" in r.info}))),
        *((str(name), version) for name, version in versions.items()),
    ]
    return f"<dl class='facts'>{_terms(pairs)}</dl>"


def _row(table: Table, cells: Sequence[Cell], color: str) -> str:
    out = []
    for j, (column, cell) in enumerate(zip(table.columns, cells, strict=True)):
        swatch = f"<span class='swatch' style='background:{color}'></span>" if j == 0 else ""
        shown = cell.spread and column.field in _SPREAD_SHOWN
        spread = f"<small>{text(cell.spread)}</small>" if shown else ""
        title = f" title='{text(cell.spread)}'" if cell.spread and not shown else ""
        out.append(f"<td{' class=best' if cell.best else ''}{title}>{swatch}{text(cell.text)}{spread}</td>")
    return "".join(out)


def _table(head: str, body: str) -> str:
    return f"<div class='scroll'><table><thead>{head}</thead><tbody>{body}</tbody></table></div>"


def _evidence_table(plan: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{text(_evidence_name(e))}</td><td>{text(numbers.quantity(e.get('value'), str(e.get('unit') or '')))}"
        f"{_interval(e)}</td><td><span class='chip {_source_chip(e)}'>{text(e.get('source'))}</span></td>"
        f"<td class='words'>{text(e.get('method') or '')}</td></tr>"
        for e in _sequence(plan.get("evidence"))
        if isinstance(e, Mapping)
    )
    if not rows:
        return ""
    head = "".join(f"<th scope='col'>{word}</th>" for word in ("number", "value", "source"))
    head = f"<tr>{head}<th scope='col' class='words'>how</th></tr>"
    return _table(head, rows)


def _evidence_name(evidence: Mapping[str, Any]) -> str:
    """The name in words."""
    return str(evidence.get("name")).removesuffix("_bytes").replace("_", " ")


def _interval(evidence: Mapping[str, Any]) -> str:
    low, high, unit = evidence.get("low"), evidence.get("high"), str(evidence.get("unit") or "")
    if not numbers.finite(low) and not numbers.finite(high):
        return ""
    return f"<small>{text(numbers.quantity(low, unit))} to {text(numbers.quantity(high, unit))}</small>"


def _source_chip(evidence: Mapping[str, Any]) -> str:
    return str(evidence.get("source")) if evidence.get("source") in ("measured", "predicted") else "open"


def _terms(pairs: Iterable[tuple[str, object]]) -> str:
    return "".join(
        f"<div><dt>{text(term)}</dt><dd>{text(value)}</dd></div>" for term, value in pairs if value not in (None, "")
    )


def _command(value: object) -> str:
    return " ".join(str(word) for word in value) if isinstance(value, list | tuple) else str(value or "")


def _valid_rows(data: Mapping[str, Any]) -> str:
    count = next((data[key] for key in ("valid_rows", "valid") if numbers.finite(data.get(key))), None)
    return f"{numbers.count(count)} to validate" if count is not None else ""


def _sequence(value: object) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()
