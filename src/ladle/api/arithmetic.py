"""What a plan says of a task's arithmetic: bytes and seconds with and without it, and where remat would pay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ladle.api.assembly import LARGEST_MICRO, Assembly, of_engine
from ladle.api.task import Task
from ladle.core.arithmetic import REMATS, USUAL
from ladle.core.explain import bytes_text, seconds_text
from ladle.core.plan import Evidence, Plan
from ladle.core.protocols import Feed, Probe
from ladle.core.spec import BatchSpec
from ladle.planner.memory import largest_fitting

PAYS = 0.05
"""Remat is advised where it makes an update by so much faster."""

REPEATS = 3

EMULATED = (
    "This machine's processor has no {0} of its own for most of what a model does: XLA computes in float32 and rounds. "
    "Results are those of {0}, speed and memory are not."
)


@dataclass(frozen=True)
class Costs:
    """Of one update: bytes as the compiler counts them, seconds as measured."""

    bytes: int
    seconds: float

    def __str__(self) -> str:
        return f"{bytes_text(self.bytes)} (predicted) and {seconds_text(self.seconds)} (measured)"


@dataclass(frozen=True)
class Compared:
    """Updates of one task, whatever its arithmetic, on the same rows at the same constants."""

    assembly: Assembly
    feed: Feed
    hyper: Mapping[str, float]

    def probe(self, task: Task) -> Probe:
        assembly = self.assembly
        how = of_engine(task, assembly.placed is not None)
        devices = getattr(assembly.engine.step, "devices", None)
        engine = assembly.backend.engine(task.objective(), assembly.optimizer, devices=devices, **how)
        return engine.probe(self.feed, BatchSpec(1, 1), hyper=self.hyper)

    def costs(self, probe: Probe, spec: BatchSpec) -> Costs:
        return Costs(probe.memory_bytes(spec), float(np.median(probe.seconds(spec, REPEATS))))


def with_arithmetic(plan: Plan, assembly: Assembly, feed: Feed, hyper: Mapping[str, float]) -> Plan:
    """`plan` with what the task's precision and remat cost or save, and whether a remat that it has not would pay.

    The same update is compiled and timed in float32 with everything kept. Where memory holds the micro-batch below the
    batch, the policies of remat are compared at their own largest micro-batches. Nothing of this happens for a task
    that asks for neither and has memory enough.
    """
    task, compared = assembly.task, Compared(assembly, feed, hyper)
    asked = task.arithmetic()
    if asked:
        plan = _beside_plain(plan, task, compared, " and ".join(map(str, asked.values())))
    if task.precision != "f32" and assembly.backend.on_host():
        kind = {"bf16": "bfloat16", "fp16": "float16"}[task.precision]
        plan = replace(plan, notes=(*plan.notes, EMULATED.format(kind)))
    cut = plan.number("largest_micro_size")
    bound = cut is not None and plan.micro_size < plan.size and plan.micro_size >= cut.value
    if task.remat == "none" and bound and hasattr(assembly.backend, "precisions"):
        plan = _with_remat(plan, task, compared)
    return plan


def _beside_plain(plan: Plan, task: Task, compared: Compared, said: str) -> Plan:
    own = compared.costs(compared.probe(task), plan.first)
    plain = compared.costs(compared.probe(task.with_(**USUAL)), plan.first)
    note = f"With {said} an update at this size takes {own}; in f32, with everything kept, {plain}."
    found = [
        Evidence("arithmetic_bytes", own.bytes, "B", "predicted", f"the update with {said}"),
        Evidence("arithmetic_seconds", own.seconds, "s", "measured", f"the update with {said}"),
        Evidence("plain_bytes", plain.bytes, "B", "predicted", "the same update in f32, everything kept"),
        Evidence("plain_seconds", plain.seconds, "s", "measured", "the same update in f32, everything kept"),
    ]
    return replace(plan, evidence=(*plan.evidence, *found), notes=(*plan.notes, note))


def _with_remat(plan: Plan, task: Task, compared: Compared) -> Plan:
    """Each policy at the largest micro-batch that it leaves room for."""
    limit = plan.number("memory_limit_bytes")
    if limit is None:
        return plan
    best, found = None, []
    plain = compared.costs(compared.probe(task), plan.first)
    for remat in REMATS[1:]:
        probe = compared.probe(task.with_(remat=remat))
        micro = _largest(probe, limit.value, plan.size)
        if micro <= plan.micro_size:
            continue
        costs = compared.costs(probe, BatchSpec(plan.size, micro))
        said = f"remat={remat}, micro-batches of {micro:,}"
        found.append(Evidence(f"remat_{remat}_bytes", costs.bytes, "B", "predicted", said))
        found.append(Evidence(f"remat_{remat}_seconds", costs.seconds, "s", "measured", said))
        if costs.seconds < (1 - PAYS) * (plain.seconds if best is None else best[0].seconds):
            best = costs, remat, micro
    if best is None:
        tried = " or ".join(REMATS[1:])
        note = f"Remat ({tried}) makes no update of this size faster on this machine, and is not advised."
    else:
        costs, remat, micro = best
        note = (
            f"remat={remat!r} would leave room for micro-batches of {micro:,}: an update then takes {costs}, against "
            f"{plain}; ask for it in the task, and plan again."
        )
    return replace(plan, evidence=(*plan.evidence, *found), notes=(*plan.notes, note))


def _largest(probe: Probe, limit: float, size: int) -> int:
    """The largest micro-batch of batches of `size` within `limit`; 0 for none."""
    most = min(1 << (size - 1).bit_length(), LARGEST_MICRO)
    if probe.memory_bytes(BatchSpec(size, 1)) > limit:
        return 0
    return largest_fitting(limit, lambda micro: probe.memory_bytes(BatchSpec(size, min(micro, size))), most=most)[0]
