"""A training run from what its folder says: the first sitting and every later one go through here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ladle.assembly import LARGEST_MICRO, Assembly, assemble, resolve_micro, resolve_size
from ladle.duration import Until
from ladle.engine.rate import rate_from_text
from ladle.errors import ArgumentError, must
from ladle.options import TaskOptions
from ladle.plan import Plan
from ladle.planning import plan as make_plan
from ladle.policy.constant import Constant
from ladle.policy.parse import policy_from_text
from ladle.protocols import Policy
from ladle.scaling import lr_factor
from ladle.training import Run, fit


def train_from(
    options: TaskOptions,
    verb: dict[str, Any],
    *,
    folder: Path,
    before: Mapping[str, Any] | None,
    show: bool,
    every_seconds: float,
) -> Run:
    """Train what `options` and `verb` (the words of `ladle train`) say; `before` is the run.json to go on from.

    Both are written into run.json, so that a folder alone says how to go on.
    """
    until = Until.parse(verb["until"])
    task = options.task()
    if before is not None and before["data"]["digest"] != task.data.digest:
        why = "another order of other examples would follow, and nothing would say so"
        raise ArgumentError(
            must("data", "be what the run began with", f"digest {task.data.digest[:12]}", why, "the same files")
        )
    total = until.stop(task.data.rows)
    if verb["lr_schedule"] != "constant" and total is None:
        raise ArgumentError(
            must("until", "count epochs or examples", verb["until"], "the rate's schedule ends with it", "'30 epochs'")
        )
    rate = rate_from_text(verb["lr_schedule"], total=total or 1, epoch_size=task.data.rows)
    assembly = assemble(task, rate=rate)
    plan = _plan(assembly, verb, before)
    policy = _policy(assembly, verb, plan)
    return fit(
        assembly,
        plan,
        policy=policy,
        until=until,
        lr=_lr(assembly, options, verb, before),
        seed=verb["seed"],
        out=folder,
        resume=before is not None,
        checkpoint_every_seconds=every_seconds,
        window=before["window"] if before else None,
        show=show,
        facts={"verb": {**verb, "resized": False}},
    )


def _plan(assembly: Assembly, verb: Mapping[str, Any], before: Mapping[str, Any] | None) -> Plan | None:
    """The plan of a run whose size is "auto": made once, then read from run.json."""
    if verb["size"] != "auto" or verb["schedule"]:
        return None
    if before is not None and before.get("plan"):
        return Plan.from_json(before["plan"])
    return make_plan(assembly, memory=verb["memory"], seed=verb["seed"])


def _policy(assembly: Assembly, verb: Mapping[str, Any], plan: Plan | None) -> Policy:
    rows = assembly.rows
    if verb["schedule"]:
        size = 1 if verb["size"] == "auto" else resolve_size(verb["size"], rows)
        largest = verb["micro_size"] or LARGEST_MICRO
        return policy_from_text(
            verb["schedule"], size=size, micro_size=largest, epoch_size=rows, coupling=assembly.rule
        )
    if plan is not None:
        return Constant(min(plan.size, rows), verb["micro_size"] or plan.micro_size)
    size = resolve_size(verb["size"], rows)
    return Constant(size, resolve_micro(size, verb["micro_size"]))


def _lr(
    assembly: Assembly, options: TaskOptions, verb: Mapping[str, Any], before: Mapping[str, Any] | None
) -> float | None:
    """The rate of a first sitting is the task's; a run resumed at another size moves its own by the rule."""
    if before is None:
        return options.lr
    lr = before["optimizer"].get("lr")
    if lr is None or not verb.get("resized"):
        return lr
    size = resolve_size(verb["size"], assembly.rows) if verb["size"] != "auto" else before["size"]
    return lr * lr_factor(assembly.rule, size / before["size"])
