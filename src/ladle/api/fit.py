"""`fit`: one training run, from a task and a size, plan or policy to a `Run`."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from ladle.api.assembly import Assembly, assemble
from ladle.api.run import Run
from ladle.api.schedule import base_at, chosen, require_runnable, warnings_of
from ladle.api.session import Sitting
from ladle.api.task import Task
from ladle.core import record
from ladle.core.decision import Progress
from ladle.core.duration import Until
from ladle.core.errors import ArgumentError, must
from ladle.core.moments import Gauge
from ladle.core.plan import Plan
from ladle.core.protocols import Policy
from ladle.core.spec import require_count
from ladle.jax.rebase import require_rebasable
from ladle.monitor.console import Console
from ladle.policy.ahead import rate_size_of, within

UPDATES_PER_WINDOW = 500
"""A window of the record holds about so many updates at most: what ctrl-C and a progress bar wait for."""

LONG = 1_000_000
"""Where a pass is longer than so many examples, evaluations do not wait for its end."""


def fit(
    task: Task | Assembly,
    plan: Plan | None = None,
    *,
    size: int | str | None = None,
    micro_size: int | None = None,
    until: str | Until = "30 epochs",
    policy: Policy | str | None = None,
    gauge: Gauge | None = None,
    rebase: bool = False,
    lr: float | None = None,
    hyper: Mapping[str, float] | None = None,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    checkpoints: bool = True,
    checkpoint_every_seconds: float | None = 30.0,
    window: int | None = None,
    evaluate_every: int | None = None,
    show: Console | bool = False,
    facts: Mapping[str, Any] | None = None,
) -> Run:
    """Train `task` at a planned or given batch size.

    **Arguments**

    - `plan`: from `ladle.plan`; or `size`: examples per update, a number or "full". `micro_size`: examples per forward
      pass, chosen where left out. `policy`: anything of `ladle.policy` instead of one constant size, or its text as
      `ladle train --schedule` takes it; the rate of a text follows its size by the optimiser's rule.
    - `gauge`: how the gradient noise scale is measured along the run. Where left out: as the policy needs it, or in
      updates of two or more micro-batches, where it costs 1 to 4 %.
    - `until`: "30 epochs", "2e6 examples", "5000 steps", "10 min", "valid_accuracy >= 0.97", "patience 5", joined by
      commas; the first that is met ends the run.
    - `rebase`: where the size changes, move Adam's second moment with it at once. Experimental.
    - `lr`: a rate over the task's own and the plan's. `hyper`: optimiser constants over the task's.
    - `out`: the run folder to make; None keeps everything in memory. `resume`: go on from the newest good checkpoint
      in `out`.
    - `checkpoints`: write them into `out`; `checkpoint_every_seconds`: None for the first and the last alone.
    - `window`: examples between two record lines; an epoch, or about 500 updates, where left out.
    - `evaluate_every`: examples between two evaluations; where left out, at every epoch's end and every million.
    - `show`: True for progress on the terminal.
    - `facts`: more for `run.json`.

    Raises `ArgumentError` before any work for what cannot be right.

    >>> import ladle
    >>> data = ladle.data.load("digits")
    >>> task = ladle.Task(ladle.models.mlp(64, 32, 10), ladle.losses.cross_entropy, data)
    >>> run = ladle.fit(task, size=64, until="2 epochs")
    >>> run.status, run.final["updates"]
    ('finished', 46)
    """
    until = Until.parse(until)
    assembly = task if isinstance(task, Assembly) else assemble(task)
    folder = Path(out) if out is not None else None
    if resume and folder is None:
        raise ArgumentError(must("out", "be given", None, "a run is resumed from its folder", "out='runs/a'"))
    before = record.read_json(folder / record.RUN_FILE) if folder is not None and resume else None
    lr = plan.lr if lr is None and plan is not None else lr
    base = partial(base_at, assembly, before if isinstance(policy, str) else None, lr=lr)
    asked = chosen(policy, assembly, plan, size=size, micro_size=micro_size, base=base)
    policy = within(asked, assembly.rows)
    assembly = assembly.gauged(_enough(gauge, getattr(policy, "needs", ())))
    _, first = policy.decide(policy.init(plan), Progress())
    first_size = first.spec.size
    rate, _ = base(rate_size_of(policy, first_size))
    constants = {**(plan.hyper if plan is not None else {}), **(hyper or {}), **first.hyper}
    if rate is not None:
        constants["lr"] = rate
    require_runnable(policy, first, assembly, rate)
    ends = (f"Sizes end at the {assembly.rows:,} examples of a pass.",) if policy != asked else ()
    warnings = (*ends, *warnings_of(policy, first_size, assembly))
    if rebase:
        require_rebasable(assembly.objective, assembly.optimizer)
    window = window or _window(first_size, min(assembly.rows, LONG))
    every = (assembly.rows, LONG) if evaluate_every is None else (require_count("evaluate_every", evaluate_every),)
    if before is not None:
        _require_same(before, assembly, seed)
    elif folder is not None:
        record.make_folder(folder)
    with ExitStack() as stack:
        how = (seed, window, every, folder, constants, first_size, stack, checkpoints, rebase)
        sitting = Sitting(assembly, policy, until, *how, warnings=warnings)
        if folder is not None:
            sitting.describe("running", plan=plan, facts=facts)
        try:
            return sitting.run(plan, resume, checkpoint_every_seconds, show, facts)
        except Exception as error:
            if folder is not None:
                sitting.describe("failed", plan=plan, facts=facts, ending={"why": str(error) or type(error).__name__})
            raise


def _enough(gauge: Gauge | None, needs: Collection[str]) -> Gauge | None:
    """What measures all that a policy needs."""
    if "noise" not in needs and "projection" not in needs:
        return gauge
    projects = "projection" in needs
    return Gauge(parts=8 if projects else 4, projection=projects).join(gauge)


def _window(size: int, rows: int) -> int:
    """Examples per record line: an epoch in the fewest equal parts of at most `UPDATES_PER_WINDOW` updates."""
    updates = -(-rows // size)
    parts = -(-updates // UPDATES_PER_WINDOW)
    return -(-updates // parts) * size if parts > 1 else rows


def _require_same(before: Mapping[str, Any], assembly: Assembly, seed: int) -> None:
    """Refuse to go on with another task than the one that `before`, a run.json, tells of. Size and rate may change."""
    now = assembly.facts()
    for name, was, found in (
        ("data", before.get("data", {}).get("digest", "unknown")[:12], now["data"]["digest"][:12]),
        ("order", before.get("order"), now["order"]),
        ("model", before.get("model"), now["model"]),
        ("optimizer", before.get("optimizer", {}).get("name"), assembly.optimizer.name),
        ("seed", before.get("seed"), seed),
    ):
        if was != found:
            why = "another run would follow from the checkpoint, and nothing would say so"
            raise ArgumentError(must(name, "be what the run began with", found, why, repr(was)))
