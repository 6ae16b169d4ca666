"""Reads run folders and compare folders into plain frozen values. Reports learn everything through here."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ladle.core.errors import ArgumentError, must
from ladle.core.record import COMPARE_FILE, CRITICAL_FILE, METRICS_FILE, RUN_FILE, read_json, read_lines
from ladle.report.numbers import finite
from ladle.report.study import Group, RunRecord, Study, valid_metric


def load_run(folder: str | os.PathLike[str]) -> RunRecord:
    """The run in `folder`. Raises `ArgumentError` where there is none or it cannot be read."""
    folder = Path(folder)
    info = _mapping(folder / RUN_FILE)
    try:
        lines = tuple(read_lines(folder / METRICS_FILE))
    except (ValueError, OSError) as error:
        raise _unreadable(folder / METRICS_FILE, str(error)) from None
    return RunRecord(folder, info, lines)


def load_folders(paths: Sequence[str | os.PathLike[str]]) -> tuple[Study, ...]:
    """One `Study` per compare folder and per critical.json, and one for all plain run folders together, in order.

    Raises `ArgumentError` for no folder at all and for one that holds none of these.
    """
    if not paths:
        raise ArgumentError(
            must("folders", "name at least one run", [], "a report is about a run", "ladle report runs/a")
        )
    folders = [Path(path) for path in paths]
    for folder in folders:
        if not any((folder / name).exists() for name in (COMPARE_FILE, RUN_FILE, CRITICAL_FILE)):
            because = "it holds neither a comparison nor a run" if folder.is_dir() else "there is no such folder"
            raise ArgumentError(must("folder", "hold a run", str(folder), because, "a folder that a run printed"))
    plain = [folder for folder in folders if (folder / RUN_FILE).exists() and not (folder / COMPARE_FILE).exists()]
    studies, seen = [], False
    for folder in folders:
        if (folder / COMPARE_FILE).exists():
            studies.append(load_compare(folder))
        elif folder not in plain:
            studies.append(load_critical(folder))
        elif not seen:
            studies.append(_runs_study(plain))
            seen = True
    return tuple(studies)


def load_compare(folder: str | os.PathLike[str]) -> Study:
    """The comparison in `folder`: its runs grouped by name, seeds together."""
    folder = Path(folder)
    compare = _mapping(folder / COMPARE_FILE)
    rows = compare.get("runs")
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) and "name" in row for row in rows):
        raise _unreadable(folder / COMPARE_FILE, "it lists no runs")
    distinct: dict[Any, Group] = {}
    for row in rows:
        name, folders = str(row["name"]), tuple(row.get("folders") or ())
        place = folders or name
        if place in distinct:
            distinct[place] = replace(distinct[place], also=(*distinct[place].also, name))
        else:
            runs = tuple(load_run(folder / run) for run in folders)
            distinct[place] = Group(name, int(row.get("size") or 0), runs)
    return Study(folder, tuple(distinct.values()), tuple(rows), compare)


_CRITICAL = {
    "branches": {"": "position trained margin", "table": "size difference low high verdict"},
    "steps to target": {
        "": "target fit power_law weight",
        "table": "size",
        "fit": "min_steps min_examples log_sd log_cov",
    },
}
"""What each kind of it must have to be drawn: by itself, in each row of its table, in its fit."""


def load_critical(folder: str | os.PathLike[str]) -> Study:
    """The measured critical batch size in `folder`."""
    folder = Path(folder)
    found = _mapping(folder / CRITICAL_FILE)
    needs = {**_CRITICAL.get(str(found.get("kind")), {"": "kind"}), "definitions": "name value low high"}
    if lacking := [f"{place} {words}".strip() for place, words in needs.items() if not _has(found, place, words)]:
        raise _unreadable(folder / CRITICAL_FILE, f"it lacks some of: {'; '.join(lacking)}")
    return Study(folder, (), (), critical=found)


def _has(found: Mapping[str, Any], place: str, words: str) -> bool:
    """Whether every mapping at `place` has all of `words`, and there is one."""
    value = found.get(place) if place else found
    rows = value if isinstance(value, list) else [value]
    return bool(rows) and all(isinstance(row, Mapping) and set(words.split()) <= set(row) for row in rows)


def _runs_study(folders: Sequence[Path]) -> Study:
    runs = [load_run(folder) for folder in folders]
    groups = tuple(Group(run.folder.resolve().name, int(run.last.get("size") or 0), (run,)) for run in runs)
    return Study(folders[0], groups, tuple(_row(group.name, run) for group, run in zip(groups, runs, strict=True)))


def _row(name: str, run: RunRecord) -> dict[str, Any]:
    """What a single run says about itself, in the fields of a comparison. What it did not measure stays out."""
    last = run.last
    fields = ("size", "micro_size", "lr", "updates", "examples", "seconds", "train_loss", "valid_loss")
    row: dict[str, Any] = {"name": name, "seed_count": 1, "diverged": run.diverged, **{f: last.get(f) for f in fields}}
    data = run.info.get("data")
    row["target_sd"] = data.get("target_sd") if isinstance(data, Mapping) and data.get("kind") == "regression" else None
    row["valid_squared_error"] = last.get("valid_squared_error")
    metric = valid_metric((run,))
    if metric:
        row |= {"metric": metric, "valid_metric": last.get(metric)}
    both = [line for line in run.lines if finite(line.get("train_loss")) and finite(line.get("valid_loss"))]
    if both:
        row["generalisation_gap"] = both[-1]["valid_loss"] - both[-1]["train_loss"]
    if last.get("seconds"):
        row["examples_per_second"] = last["examples"] / last["seconds"]
    peaks = run.column("memory_bytes")[1]
    row["process_memory_bytes" if run.on_host else "peak_memory_bytes"] = float(peaks.max()) if peaks.size else None
    return row


def _mapping(path: Path) -> dict[str, Any]:
    value = read_json(path)
    if not isinstance(value, dict):
        raise _unreadable(path, "it is no JSON object")
    return value


def _unreadable(path: Path, because: str) -> ArgumentError:
    return ArgumentError(must("folder", "hold a readable run", str(path), because, "another run folder"))
