"""A training run as the command line asks for it: the first sitting and, from its folder alone, every later one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ladle.api.assembly import LARGEST_MICRO, Assembly, assemble, resolve_micro, resolve_size
from ladle.api.fit import fit
from ladle.api.options import TaskOptions
from ladle.api.plan import largest_micro
from ladle.api.plan import plan as make_plan
from ladle.api.run import Run
from ladle.api.schedule import Base, base_at, of_one_size, rate_size, scheduled
from ladle.core import record
from ladle.core.duration import Until
from ladle.core.errors import ArgumentError, must
from ladle.core.moments import Gauge
from ladle.core.plan import Plan
from ladle.core.protocols import Policy
from ladle.core.scaling.coupling import Rule
from ladle.jax.rate import rate_from_text
from ladle.policy.constant import Constant

REQUEST = "request"
"""Its key in run.json."""


@dataclass(frozen=True)
class Request:
    """What `ladle train` was asked for. Kept in run.json, so that a folder alone says how to go on.

    - `size`: "auto", "full" or a number; the others as on the command line.
    """

    task: TaskOptions
    size: str = "auto"
    micro_size: int | None = None
    until: str = "30 epochs"
    schedule: str | None = None
    lr_schedule: str = "constant"
    memory: str | None = None
    seed: int = 0
    noise: bool = False
    rule: Rule | None = None

    @classmethod
    def of_folder(cls, folder: Path) -> Request:
        """The request of the run in `folder`. Raises `ArgumentError` where `ladle train` wrote none there."""
        facts = record.read_json(folder / record.RUN_FILE)
        if REQUEST not in facts:
            why = "its task is not written there"
            raise ArgumentError(must("resume", "be the folder of a `ladle train` run", str(folder), why, "another one"))
        return cls(**{**facts[REQUEST], "task": TaskOptions.from_json(facts[REQUEST]["task"])})

    def changed(
        self,
        size: str | None,
        micro_size: int | None,
        schedule: str | None,
        until: str | None,
        rule: Rule | None = None,
    ) -> Request:
        """The request for a later sitting; None leaves a word as it was.

        A new size ends a schedule of sizes, and a new schedule the size that was.
        """
        new = self if size is None else replace(self, size=size, micro_size=None, schedule=None)
        new = new if size or schedule is None or of_one_size(schedule) else replace(new, size="auto")
        return replace(
            new,
            micro_size=new.micro_size if micro_size is None else micro_size,
            schedule=new.schedule if schedule is None else schedule,
            until=new.until if until is None else until,
            rule=new.rule if rule is None else rule,
        )


def begin(request: Request, folder: Path, *, show: bool, every_seconds: float) -> Run:
    """Train in a new folder."""
    if request.rule is not None and request.schedule is None:
        why = "it says how the rate follows a size that changes"
        raise ArgumentError(must("rule", "come with a schedule", request.rule, why, '--schedule "0:64 10ep:128"'))
    record.require_new(folder)
    return _sit(request, folder, None, show=show, every_seconds=every_seconds)


def resume(request: Request, folder: Path, *, show: bool, every_seconds: float) -> Run:
    """Go on with the run in `folder` as `request` says: its own, or that one `changed`."""
    before = record.read_json(folder / record.RUN_FILE)
    return _sit(request, folder, before, show=show, every_seconds=every_seconds)


def _sit(request: Request, folder: Path, before: Mapping[str, Any] | None, *, show: bool, every_seconds: float) -> Run:
    """One sitting; `before` is the run.json to go on from."""
    until = Until.parse(request.until)
    task = request.task.task()
    total = until.stop(task.data.rows)
    if request.lr_schedule != "constant" and total is None:
        why = "the rate's schedule ends with it"
        raise ArgumentError(must("until", "count epochs or examples", request.until, why, "'30 epochs'"))
    rate = rate_from_text(request.lr_schedule, total=total or 1, epoch_size=task.data.rows)
    assembly = assemble(task, rate=rate, gauge=Gauge() if request.noise else None)
    plan, own = _plan(assembly, request, before), None if before else request.task.lr
    base = partial(base_at, assembly, before, lr=own, rule=request.rule)
    policy = _policy(assembly, request, plan, base)
    # The first sitting's rate is the task's, or the plan's: `fit` knows.
    lr, hyper = (request.task.lr, {}) if before is None else base(rate_size(policy, plan))
    return fit(
        assembly,
        plan,
        policy=policy,
        until=until,
        lr=lr,
        hyper=hyper,
        seed=request.seed,
        out=folder,
        resume=before is not None,
        checkpoint_every_seconds=every_seconds,
        window=before["window"] if before else None,
        show=show,
        facts={REQUEST: asdict(request)},
    )


def _plan(assembly: Assembly, request: Request, before: Mapping[str, Any] | None) -> Plan | None:
    """The plan of a run whose size is "auto": made once, then read from run.json."""
    if request.size != "auto" or not of_one_size(request.schedule or "constant"):
        return None
    if before is not None and before.get("plan"):
        return Plan.from_json(before["plan"])
    return make_plan(assembly, memory=request.memory, seed=request.seed)


def _policy(assembly: Assembly, request: Request, plan: Plan | None, base: Callable[[int], Base]) -> Policy:
    rows = assembly.rows
    if plan is not None:
        size = min(plan.size, rows)
    else:
        size = None if request.size == "auto" else resolve_size(request.size, rows)
    if request.schedule:
        most = request.micro_size or (_most(assembly, request) if plan is None else plan.micro_size)
        return scheduled(assembly, request.schedule, base, size=size, micro_size=most, rule=request.rule)
    assert size is not None
    if plan is not None:
        return Constant(size, request.micro_size or plan.micro_size)
    return Constant(size, resolve_micro(size, request.micro_size, _most(assembly, request)))


def _most(assembly: Assembly, request: Request) -> int:
    """The most rows of one forward pass: what --memory allows, where that was given."""
    if request.memory is None:
        return LARGEST_MICRO
    return largest_micro(assembly, request.memory, request.micro_size)
