"""What the board's tables say, as plain values for JSON: rows of runs, facts, searches. Numbers stay numbers.

Files may hold anything: what is not of the kind that is meant is None.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ladle.board.index import Entry
from ladle.board.lines import number
from ladle.core.record import plain

Row = dict[str, Any]

OF_ONE_RUN = frozenset(
    "status seed why final best checkpoint energy command warnings refused plan versions hardware restore out".split()
)
"""Fields of run.json that are of one run; two that agree in all others differ in nothing but their seed."""


def deep(value: Any, *names: str) -> Any:
    """The value below `names`, None where there is none.

    >>> deep({"data": {"name": "digits"}}, "data", "name"), deep({"data": []}, "data", "name")
    ('digits', None)
    """
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def word(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def amount(value: Any) -> float | None:
    return value if number(value) else None


def row(entry: Entry) -> Row:
    """One line of the table of runs."""
    info, last = entry.info, entry.last
    metric = metric_of(last) if entry.kind == "run" else word(info.get("metric"))
    loss = last.get("valid_loss", last.get("train_loss"))
    made = {
        "name": entry.name,
        "kind": entry.kind,
        "status": entry.status,
        "why": entry.why,
        "data": word(deep(info, "data", "name")),
        "model": word(info.get("model")),
        "seed": amount(info.get("seed")),
        "size": last.get("size", amount(info.get("size"))),
        "lr": last.get("lr", amount(deep(info, "optimizer", "lr"))),
        "updates": last.get("updates"),
        "examples": last.get("examples"),
        "loss": loss,
        "loss_of": "validation" if "valid_loss" in last else "training",
        "metric": metric,
        "value": last.get(metric or ""),
        "speed": _speed(last),
        "seconds": last.get("seconds"),
        "changed": entry.changed,
    }
    if entry.kind == "search":
        made |= _best(info)
    return made


def _speed(last: Mapping[str, float]) -> float | None:
    examples, seconds = last.get("examples"), last.get("seconds")
    return examples / seconds if examples and seconds else last.get("examples_per_second")


def _best(info: Mapping[str, Any]) -> Row:
    rows = candidates(info)
    chosen = next((one for one in rows if one["chosen"]), None)
    of = {} if chosen is None else {"size": chosen["size"], "lr": chosen["lr"], "value": chosen["mean"]}
    return {**of, "seconds": amount(info.get("trials_seconds"))}


def metric_of(last: Mapping[str, Any]) -> str | None:
    """The validation column besides the loss, such as `valid_accuracy`; of several the first by name."""
    return min(
        (one for one in last if one.startswith("valid_") and one != "valid_loss" and "/" not in one), default=None
    )


def alike(entry: Entry) -> str:
    """A text that is the same for runs that differ in nothing but their seed."""
    if entry.kind != "run" or not entry.info:
        return entry.name
    kept = {name: value for name, value in entry.info.items() if name not in OF_ONE_RUN}
    request = kept.get("request")
    if isinstance(request, Mapping):
        kept["request"] = {name: value for name, value in request.items() if name not in ("seed", "track")}
    return json.dumps(plain(kept), sort_keys=True)


def groups(entries: Sequence[Entry]) -> list[tuple[str, list[Entry]]]:
    """`(name, runs)` of runs that differ only in their seed, in the order of their first.

    >>> from pathlib import Path
    >>> runs = [Entry(name, Path(name), "run", "finished", info={"size": 8, "seed": i}) for i, name in enumerate("ab")]
    >>> [(name, len(some)) for name, some in groups(runs)]
    [('a, b', 2)]
    """
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(alike(entry), []).append(entry)
    return [(together([one.name for one in some]), some) for some in found.values()]


def together(names: Sequence[str]) -> str:
    """Some names in few words.

    >>> together(["a"]), together(["cmp/64-seed0", "cmp/64-seed1", "cmp/64-seed2"])
    ('a', 'cmp/64-seed0 and 2 like it')
    """
    return ", ".join(names) if len(names) < 3 else f"{names[0]} and {len(names) - 1} like it"


def facts(entry: Entry) -> list[tuple[str, Any, str]]:
    """`(name, value, unit)` of what a run says of itself; the unit tells how the number is written."""
    info = entry.info
    policy, energy = info.get("policy"), info.get("energy")
    found = [
        ("status", entry.status, ""),
        ("why", entry.why or None, ""),
        ("data", word(deep(info, "data", "name")), ""),
        ("rows", amount(deep(info, "data", "rows")), "count"),
        ("feed", {"device": "rows lie on the device", "host": "rows travel from the host"}.get(
            str(deep(info, "data", "lane")), word(deep(info, "data", "lane"))), ""),
        ("waiting for data", entry.last.get("data_wait_fraction"), "share"),
        ("order", word(info.get("order")), ""),
        ("model", word(info.get("model")), ""),
        ("loss", word(info.get("loss")), ""),
        ("optimiser", word(deep(info, "optimizer", "name")), ""),
        ("policy", word(deep(policy, "kind")), ""),
        ("seed", amount(info.get("seed")), "count"),
        ("best", amount(deep(info, "best", "value")), "number"),
        ("best at", amount(deep(info, "best", "examples")), "count"),
        ("whole call", amount(deep(energy, "seconds")), "seconds"),
        ("energy", amount(deep(energy, "joules")), "joules"),
        ("energy read from", word(deep(energy, "source")) or word(deep(energy, "method")), ""),
        ("processor", word(deep(info, "hardware", "processor")), ""),
        ("command", _command(info.get("command")), ""),
    ]  # fmt: skip
    return [one for one in found if one[1] is not None and one[1] != ""]


def _command(value: Any) -> str | None:
    return " ".join(map(str, value)) if isinstance(value, list) else None


def candidates(info: Mapping[str, Any]) -> list[Row]:
    """The rows of a search: every size and rate that was tried, with its mean, and what became of it."""
    rows = info.get("candidates")
    made = []
    for at, one in enumerate(rows if isinstance(rows, list) else ()):
        if not isinstance(one, Mapping):
            continue
        state = "failed" if one.get("failed") else "diverged" if one.get("diverged") else ""
        made.append(
            {
                **{name: amount(one.get(name)) for name in ("size", "lr", "mean", "se", "seconds", "updates")},
                "state": state or ("" if one.get("complete") else "ended early"),
                "why": word(one.get("failed")) or "",
                "best": at == info.get("best"),
                "chosen": at == info.get("chosen"),
            }
        )
    return made or _unfinished(info)


def _unfinished(info: Mapping[str, Any]) -> list[Row]:
    """What is left of a search that was interrupted: the trials of each candidate, averaged."""
    metric, trials = word(info.get("metric")), info.get("trials")
    found: dict[tuple[float, float], list[float]] = {}
    for one in trials if isinstance(trials, list) else ():
        size, rate = amount(deep(one, "size")), amount(deep(one, "lr"))
        value = deep(one, metric or metric_of(one if isinstance(one, Mapping) else {}) or "valid_loss")
        if size is not None and rate is not None and number(value):
            found.setdefault((size, rate), []).append(value)
    blank = {"se": None, "seconds": None, "updates": None, "why": "", "best": False, "chosen": False}
    return [
        {"size": size, "lr": rate, "mean": sum(values) / len(values), "state": "ended early", **blank}
        for (size, rate), values in found.items()
    ]
