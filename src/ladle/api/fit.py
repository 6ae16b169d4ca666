"""`fit`: one training run, from a task and a size, plan or policy to a `Run`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ladle.api.assembly import Assembly
from ladle.api.folder import RunFolder
from ladle.api.run import Run
from ladle.api.setup import Restore, Terms
from ladle.api.sitting import begin, ended, warn_if_diverged
from ladle.api.task import Task
from ladle.core.duration import Until
from ladle.core.errors import ArgumentError, must
from ladle.core.moments import Gauge
from ladle.core.plan import Plan
from ladle.core.protocols import Policy, Sink, Tracker


def fit(
    task: Task | Assembly,
    plan: Plan | int | str | None = None,
    *,
    size: int | str | None = None,
    micro_size: int | None = None,
    until: str | Until = "30 epochs",
    policy: Policy | str | None = None,
    memory: int | str | None = None,
    gauge: Gauge | None = None,
    rebase: bool = False,
    lr: float | Literal["sweep"] | None = None,
    hyper: Mapping[str, float] | None = None,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    checkpoints: bool = True,
    checkpoint_every_seconds: float | None = 30.0,
    window: int | None = None,
    evaluate_every: int | None = None,
    restore: Restore | None = None,
    show: Sink | bool = False,
    sinks: Sequence[Sink | Tracker] = (),
    facts: Mapping[str, Any] | None = None,
) -> Run:
    """Train `task` at a planned or given batch size.

    **Arguments**

    - `plan`: from `ladle.plan`; or `size`: examples per update, a number, "full", or "auto" for a plan made here, which
      is what happens where nothing is said. `micro_size`: examples per forward pass, chosen where left out. `policy`:
      anything of `ladle.policy` instead of one constant size, or its text as `ladle train --schedule` takes it; the
      rate of a text follows its size by the optimiser's rule.
    - `memory`: a limit for the whole run, in bytes or as "2GB": data, updates, evaluations and checkpoints. Where left
      out, the limit of the plan, if it was given one.
    - `gauge`: how the gradient noise scale is measured along the run. Where left out: as the policy needs it, or in
      updates of two or more micro-batches, where it costs 1 to 4 %.
    - `until`: "30 epochs", "2e6 examples", "5000 steps", "10 min", "valid_accuracy >= 0.97", "patience 5", joined by
      commas; the first that is met ends the run.
    - `rebase`: where the size changes, move Adam's second moment with it at once. Experimental.
    - `lr`: a rate over the task's own and the plan's, or "sweep": rates around it race at the first size for a few
      seconds, and the run has the fastest. `hyper`: optimiser constants over the task's.
    - `out`: the run folder to make; None keeps everything in memory. `resume`: go on from the newest good checkpoint
      in `out`, at the size that was where none is given. `overwrite`: remove the run that is in `out` first.
    - `checkpoints`: write them into `out`; `checkpoint_every_seconds`: None for the first and the last alone.
    - `window`: examples between two record lines; an epoch, or about 500 updates, where left out.
    - `evaluate_every`: examples between two evaluations; where left out, at every epoch's end and every million.
    - `restore`: whose parameters the run ends with: "best", those of the best evaluation, or "last". Where left out,
      the best where patience or a validation target ends the run.
    - `show`: True for progress on the terminal. `sinks`: who else takes the record lines: trackers of `ladle.track`, or
      anything with `append(line)`, `message(text)` and `close()`. A tracker that fails is said once and ends nothing.
    - `facts`: more for `run.json`.

    Raises `ArgumentError` before any work for what cannot be right. Warns with `DivergedWarning` where the run ended
    because its loss exploded.

    >>> import ladle
    >>> data = ladle.data.load("digits")
    >>> task = ladle.Task(ladle.models.mlp(64, 32, 10), ladle.losses.cross_entropy, data)
    >>> run = ladle.fit(task, size=64, until="2 epochs")
    >>> run.status, run.final["updates"]
    ('finished', 46)
    """
    plan, size = plan_or_size(plan, size)
    terms = Terms(
        until=Until.parse(until),
        plan=plan,
        size=size,
        micro_size=micro_size,
        policy=policy,
        memory=memory,
        gauge=gauge,
        rebase=rebase,
        lr=lr,
        hyper=dict(hyper or {}),
        seed=seed,
        window=window,
        evaluate_every=evaluate_every,
        restore=restore,
    )
    place = RunFolder(Path(out) if out is not None else None, resume=resume, overwrite=overwrite, keep=checkpoints)
    how: dict[str, Any] = {"show": show, "sinks": sinks, "facts": facts, "every_seconds": checkpoint_every_seconds}
    return warn_if_diverged(ended(begin(task, terms, place, **how)))


def plan_or_size(plan: Plan | int | str | None, size: int | str | None) -> tuple[Plan | None, int | str | None]:
    """The second argument is a plan, or a size that was given in its place."""
    if plan is None or isinstance(plan, Plan):
        return plan, size
    if size is not None:
        why = "both are sizes"
        raise ArgumentError(must("plan", "be a ladle.Plan beside a size", plan, why, f"fit(task, size={size!r})"))
    if isinstance(plan, bool) or not (isinstance(plan, str) or hasattr(plan, "__index__")):
        why, remedy = "a run needs a batch size", "ladle.plan(task), or size=64"
        raise ArgumentError(must("plan", "be a ladle.Plan or a size", plan, why, remedy))
    return None, plan
