"""What a federation is asked, checked before any work: which tasks clients can train, and how a round goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ladle.api.assembly import Assembly
from ladle.core.constants import SHARED
from ladle.core.errors import ArgumentError, must
from ladle.core.spec import require_count
from ladle.federated import Absence, Attendance, Members, Method, Privacy, members, method_named

WIDTH = 16
"""Clients that train side by side, at most, where nothing is said. More need memory, and on a processor gain little."""


@dataclass(frozen=True)
class Terms:
    """How a federation goes. The words are those of `federate`."""

    members: Members
    method: Method
    attendance: Attendance
    size: int
    epochs: int
    width: int
    lr: float | None
    privacy: Privacy | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """The chance that a client is asked in a round."""
        return self.attendance.count / len(self.members)

    def steps(self, clients: np.ndarray) -> int:
        """Batches in a pass of the largest of `clients`."""
        return -(-int(self.members.counts[clients].max(initial=0)) // self.size)

    def serving(self) -> dict[str, float]:
        """The server's constants, as the backend's program wants them."""
        m = self.method
        known = {name: float(getattr(m, name, 0.0)) for name in ("lr", "b2", "tau")}
        private = self.privacy or Privacy(1.0, 0.0)
        hidden = {"clip": private.clip, "noise": private.noise, "expected": float(self.attendance.count)}
        return {**known, "b1": float(getattr(m, "b1", getattr(m, "momentum", 0.0))), **hidden}


def terms_of(
    assembly: Assembly,
    clients: Any,
    *,
    asked: int | float | None,
    size: int | str,
    epochs: int,
    method: str | Method,
    absence: Absence | None,
    available: Callable[[int], Sequence[int]] | None,
    privacy: Privacy | None,
    width: int | None,
    seed: int,
) -> Terms:
    """Everything that a federation of `assembly` is decided by. Raises `ArgumentError` for what cannot be right."""
    require_federable(assembly)
    _require_kinds(absence, privacy, available)
    rule = method_of(method, assembly)
    group = members(clients, assembly.rows)
    rows = int(group.counts.max()) if size == "full" else require_count("size", size)
    rows = min(rows, int(group.counts.max()))
    rounds = require_count("epochs", epochs)
    count = _asked(asked, len(group))
    if privacy is not None and rule.controls:
        why, remedy = "control variates leave the clients beside the updates, and unclipped", "method='fedavg'"
        raise ArgumentError(must("method", "be another with privacy", "scaffold", why, remedy))
    updates = -(-group.counts // rows) * rounds
    way = "fixed" if privacy is None else "poisson"
    attendance = Attendance(updates, count, seed, way, absence or Absence(), available)
    wide = -(-count // -(-count // WIDTH)) if width is None else require_count("width", width)  # Even parts.
    lr = assembly.lr(rows)
    facts = {
        "clients": len(group),
        "digest": group.digest,
        "counts": [int(group.counts.min()), int(group.counts.max())],
        "asked": count,
        "sampling": way,
        "epochs": rounds,
        "size": rows,
        "lr": lr,
        "method": {"kind": type(rule).__name__, **asdict(rule)},
        "absence": asdict(attendance.absence),
        "privacy": None if privacy is None else asdict(privacy),
    }
    return Terms(group, rule, attendance, rows, rounds, wide, lr, privacy, facts)


def _require_kinds(absence: Any, privacy: Any, available: Any) -> None:
    for name, value, kind in (("absence", absence, Absence), ("privacy", privacy, Privacy)):
        if value is not None and not isinstance(value, kind):
            why, remedy = "one number does not say all of it", f"ladle.federated.{kind.__name__}(...)"
            raise ArgumentError(must(name, f"be of the kind {kind.__name__}", value, why, remedy))
    if available is not None and not callable(available):
        why, remedy = "it is asked in every round", "lambda round: [0, 1]"
        raise ArgumentError(must("available", "be a function of the round", available, why, remedy))


def method_of(method: str | Method, assembly: Assembly) -> Method:
    """The method, with an optimiser that it can have. Raises `ArgumentError` for SCAFFOLD with another than "sgd"."""
    rule = method_named(method)
    if rule.controls and assembly.optimizer.name != "sgd":
        why = "control variates are mean gradients, read off the way that plain steps went"
        raise ArgumentError(
            must("optimizer", "be 'sgd' with scaffold", assembly.optimizer.name, why, "optimizer='sgd'")
        )
    return rule


def require_federable(assembly: Assembly) -> None:
    """Refuse a task that clients cannot train apart."""
    task = assembly.task
    if not hasattr(assembly.backend, "rounds"):
        why, remedy = "rounds are compiled by JAX", "a model of ladle.models"
        raise ArgumentError(must("task", "be one for JAX", assembly.backend.name, why, remedy))
    if assembly.placed is None:
        why, remedy = "clients' rows are read by their numbers, side by side", "data in memory, lane='auto'"
        raise ArgumentError(must("task", "have its rows on the device", "rows that travel", why, remedy))
    for name, usual in (
        ("order", "permuted"), ("augment", None), ("feed", None), ("sources", ()), ("shard_state", False),
        ("offload", False),
        *((name, None) for name in SHARED),
    ):  # fmt: skip
        if (given := getattr(task, name)) != usual:
            why = "a client trains by its own order and its optimiser alone"
            raise ArgumentError(must(name, "be left out of a federation", given, why, f"{name}={usual!r}"))
    if task.data.weight is not None:
        why, remedy = "clients count by their rows", "data without weights"
        raise ArgumentError(must("weight", "be left out of a federation", "weights of rows", why, remedy))
    if task.precision == "fp16":
        why, remedy = "its gradients need a scale that follows them, and clients' would differ", "precision='bf16'"
        raise ArgumentError(must("precision", "be 'f32' or 'bf16' in a federation", "fp16", why, remedy))
    if not assembly.objective.additive:
        why, remedy = "statistics of a client's batches are not the federation's", "norm='group', or none"
        raise ArgumentError(must("model", "have a loss of single examples", assembly.objective.name, why, remedy))


def _asked(asked: int | float | None, clients: int) -> int:
    """How many clients a round asks: a number of them, a share of all, or all."""
    if asked is None:
        return clients
    share = isinstance(asked, float)
    good = isinstance(asked, int | float | np.integer) and not isinstance(asked, bool)
    if not good or (share and not 0 < asked <= 1) or (not share and not 1 <= asked <= clients):
        be = f"be a number from 1 to {clients}, or a share above 0 up to 1.0"
        why, remedy = "a round asks some of the clients", f"asked={max(clients // 10, 1)}"
        raise ArgumentError(must("asked", be, asked, why, remedy))
    return max(round(asked * clients), 1) if share else int(asked)
