"""What is known about the runs of a study, and about a folder's content: for headings and captions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ladle.core.errors import ArgumentError
from ladle.core.record import COMPARE_FILE, CRITICAL_FILE, RUN_FILE, read_json
from ladle.report import numbers
from ladle.report.study import Study

PLAN_FILE = "plan.json"

LONGEST = 110
"""Characters of a caption; a longer one is cut."""


def study_facts(study: Study) -> dict[str, Any]:
    """Collect what is known about all runs: the first run's record, overlaid by the comparison's own words."""
    infos = [run.info for group in study.groups for run in group.runs]
    made = dict(infos[0]) if infos else {}
    if not study.compare and len(study.groups) > 1:
        made |= {
            name: _distinct(name_of(info.get(name)) for info in infos) for name in ("status", "optimizer", "model")
        }
        made |= {"data": _shared_data([mapping(info.get("data")) for info in infos]), "directions": _agreed(infos)}
        made |= {"command": None, "folder": ", ".join(str(group.runs[0].folder) for group in study.groups)}
    return made | {name: value for name, value in study.compare.items() if value not in (None, "")}


def caption(facts: Mapping[str, Any]) -> str:
    """Name the data, the model, the optimiser and the budget in one line; "" where nothing is known.

    >>> data = {"name": "digits", "kind": "classification", "rows": 1438}
    >>> caption({"data": data, "model": "mlp 64-128-10", "optimizer": {"name": "adam"}})
    'digits, classification, 1,438 rows to train; mlp 64-128-10; adam'
    """
    data = facts.get("data")
    known = mapping(data) or {"name": Path(str(data or "")).name}
    rows = f"{numbers.count(known['rows'])} rows to train" if numbers.finite(known.get("rows")) else ""
    task = ", ".join(str(part) for part in (known.get("name"), known.get("kind"), rows) if part)
    parts = [task, *(name_of(facts.get(name)) for name in ("model", "optimizer", "budget"))]
    return shortened("; ".join(str(part) for part in parts if part), LONGEST)


def shortened(text: str, longest: int) -> str:
    """Cut `text` to `longest` characters, in its middle: names and file names tell apart by both ends.

    >>> shortened("abcdefghij", 7)
    'abc...j'
    """
    if len(text) <= longest:
        return text
    end = (longest - 3) // 3
    return f"{text[: longest - 3 - end]}...{text[len(text) - end :]}"


def facts_beside(path: Path) -> Mapping[str, Any]:
    """Read what the record in the folder of `path` is about; empty where there is none.

    A plan.json has the options it was made with under "task": data, model and optimiser by name.
    """
    for name in (COMPARE_FILE, RUN_FILE, CRITICAL_FILE, PLAN_FILE):
        try:
            found = mapping(read_json(path.parent / name))
        except ArgumentError:
            continue
        return mapping(found.get("task")) if name == PLAN_FILE and "data" not in found else found
    return {}


def baselines_of(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a record tells of plain models beside its own; empty where it tells nothing that can be shown."""
    found = mapping(facts.get("baselines"))
    table = found.get("table")
    sound = isinstance(table, list) and all("sentence" in mapping(row) and "name" in row for row in table)
    return found if sound and {"name", "metric", "rows"} <= set(found) else {}


def mapping(value: object) -> Mapping[str, Any]:
    """`value` where it is a mapping, else an empty one: records come from outside."""
    return value if isinstance(value, Mapping) else {}


def name_of(value: object) -> object:
    """The name of what a record describes by its name alone, or by a mapping with a name."""
    return value.get("name") if isinstance(value, Mapping) else value


def _distinct(values: Iterable[object]) -> str:
    """What the runs say, each once, in their order."""
    return ", ".join(dict.fromkeys(str(value) for value in values if value not in (None, "")))


def _shared_data(each: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The first run's data under the names of all; what their targets are only where that is the same for all."""
    target = {name: each[0].get(name) for name in ("target", "target_mean", "target_sd")}
    alike = all(data.get(name) == value for data in each for name, value in target.items())
    return {**each[0], **(target if alike else dict.fromkeys(target)), "name": _distinct(d.get("name") for d in each)}


def _agreed(infos: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Directions of metrics that all runs state alike; None where two runs differ."""
    stated: dict[str, set[Any]] = {}
    for info in infos:
        for name, way in mapping(info.get("directions")).items():
            stated.setdefault(name, set()).add(way if way in ("higher", "lower") else None)
    return {name: ways.pop() if len(ways) == 1 else None for name, ways in stated.items()}
