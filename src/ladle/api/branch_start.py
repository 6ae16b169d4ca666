"""Where the branches of a run begin: its newest checkpoint, read and never written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ladle.api.assembly import Assembly, assemble, resolve_micro
from ladle.api.backend import backend_of
from ladle.api.request import REQUEST, Request
from ladle.core import record
from ladle.core.carry import Carry
from ladle.core.duration import Until
from ladle.core.errors import ArgumentError, must
from ladle.core.spec import BatchSpec
from ladle.loop.checkpoint import Checkpoints


@dataclass(frozen=True)
class Start:
    """Where branches begin: a run as its newest checkpoint has it. `lr_factor`: what its policy had put on the rate."""

    assembly: Assembly
    carry: Carry
    seed: int
    spec: BatchSpec
    lr_factor: float


def start_of(folder: Path) -> Start:
    """The run in `folder`, at its newest checkpoint. Nothing is written there."""
    request, before = Request.of_folder(folder), record.read_json(folder / record.RUN_FILE)
    task = request.task.task()
    backend = backend_of(task)
    checkpoints = Checkpoints(folder / record.CHECKPOINTS, backend.saver())
    if not checkpoints.begun():
        why, remedy = "branches begin at a checkpoint", "a run that `ladle train` has written one of"
        raise ArgumentError(must("folder", "hold a checkpoint", str(folder), why, remedy))
    total = Until.parse(request.until).stop(task.data.rows)
    rate = backend.rate(request.lr_schedule, total=total or 1, epoch_size=task.data.rows)
    assembly = assemble(task, rate=rate)
    if assembly.valid is None:
        why = "branches are compared on it"
        raise ArgumentError(
            must("data", "have a validation part", task.data.name, why, "a run with rows to validate on")
        )
    if task.data.digest != before["data"]["digest"]:
        why, was = "another run would follow from the checkpoint", before["data"]["digest"][:12]
        raise ArgumentError(must("data", "be what the run began with", task.data.digest[:12], why, was))
    constants = {name: value for name, value in before["optimizer"].items() if name != "name"}
    carry = checkpoints.restore(assembly.engine.abstract_state(constants)).carry
    return Start(assembly, carry, request.seed, *_in_force(folder, before, carry))


def _in_force(folder: Path, before: Mapping[str, Any], carry: Carry) -> tuple[BatchSpec, float]:
    """Batch size, its cut, and the policy's factor on the rate at a checkpoint, as the record has them.

    The rate itself is in the checkpoint. That of run.json may be of a later sitting, which wrote no line yet.
    """
    lines = record.read_lines(folder / record.METRICS_FILE)
    line = next((x for x in reversed(lines) if x["examples"] <= carry.progress.examples and x.get("size")), None)
    if line is None:
        size = int(before["size"])
        return BatchSpec(size, resolve_micro(size, before[REQUEST]["micro_size"])), 1.0
    return BatchSpec(line["size"], line["micro_size"]), line["lr_factor"]
