"""`plan` for a PyTorch loop of one's own, as `ladle.torch.plan`: the house's planner asks, the torch room answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

from ladle.api.plan import SHARE_OF_NOISE, bytes_from
from ladle.core.errors import ArgumentError, must
from ladle.core.moments import Gauge
from ladle.core.plan import Evidence, Plan
from ladle.core.scaling.coupling import Rule
from ladle.planner.choose import choose
from ladle.planner.decide import Minimize
from ladle.planner.memory import fit_memory

ROOM = "ladle.torch.loop_plan"
"""The backend's side of it, by name: the roof imports no backend."""

BUDGET_SECONDS = 15.0


def plan(
    model: Any,
    loss: Callable[[Any, Any], Any],
    loader: Any,
    optimizer: Any,
    *,
    minimize: Minimize = "time",
    memory: int | str | None = None,
    rule: Rule | None = None,
    rows: int | None = None,
    sizes: Sequence[int] | None = None,
    gauge: Gauge | None = None,
    clip: float | None = None,
    seed: int = 0,
    budget: float = BUDGET_SECONDS,
) -> Plan:
    """The batch size for a training loop of your own, before it runs: memory, speed, noise scale and what they lead to.

        plan = ladle.torch.plan(model, loss, loader, optimizer)
        update = ladle.torch.Update(model, optimizer, micro_size=plan.micro_size)

    - `model`: an `nn.Module`, or a function that makes one, or its name "package.module:make_model". A function that a
      child process can import has the chosen size confirmed there.
    - `loss(model, batch)`: one loss per row, `f32[rows]`, or `(losses, weights)`; see `ladle.torch.per_row`.
    - `loader`: a torch `DataLoader`, a `ladle.feed.Loader`, or a list of batches. `rows`: of a pass, where it cannot
      tell.
    - `optimizer`: a torch optimiser, or where the model is a function, one `parameters -> optimiser`. Its rate is kept:
      it is the rate at the loader's batch size, and `rule` (the optimiser's usual one) says how it follows the size.
    - `minimize`: "time" to a target, or "examples". `memory`: a limit over the one found, in bytes or as "2GB".
    - `gauge`, `clip`: as `Update` will have them. `sizes`: to be timed, over the usual ones.
    - `budget`: seconds that the noise scale may take a fifth of.

    Memory is that of two updates traced as fake tensors; the noise scale that of the parameters as they stand. Nothing
    of yours changes: parameters, buffers, gradients, the optimiser, hooks, the loader's place and every generator are
    afterwards what they were.

    Raises `ArgumentError` for a loss that is reduced, rows that cannot be counted, closures (LBFGS), `DataParallel`,
    and where one example does not fit.

    >>> import torch
    >>> model, rows = torch.nn.Linear(8, 1), torch.randn(256, 8)
    >>> sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> made = plan(model, lambda model, x: model(x).square().mean(1), rows.split(32), sgd)
    >>> made.reference_size, made.reference_lr, made.lr_rule
    (32, 0.1, 'linear')
    """
    if minimize not in ("time", "examples"):
        why, remedy = "energy of a loop is not measured", "minimize='time'"
        raise ArgumentError(must("minimize", "be 'time' or 'examples'", minimize, why, remedy))
    began = time.perf_counter()
    loader = list(loader) if isinstance(loader, tuple) else loader
    asked = import_module(ROOM).question(model, loss, loader, optimizer, rows=rows, gauge=gauge, clip=clip, seed=seed)
    made = choose(
        asked.probe,
        rows=asked.rows,
        optimizer=asked.name,
        reference_lr=asked.lr,
        reference_size=asked.reference_size,
        hyper=asked.hyper,
        rule=rule,
        minimize=minimize,
        memory_bytes=None if memory is None else bytes_from(memory),
        sizes=sizes,
        pilot_seconds=budget * SHARE_OF_NOISE,
    )
    took = Evidence("plan_seconds", time.perf_counter() - began, "s", "measured", "this plan, reading included")
    made = _with_line(made, asked.rows)
    numbers = tuple(_by(one, asked) for one in made.evidence)
    # An `Update` fills a batch up to its micro-batch, so one that is larger than the batch would be work for nothing.
    micro = min(made.micro_size, made.size)
    notes = (*made.notes, *asked.notes(), *_rate(made))
    return replace(made, micro_size=micro, evidence=(*numbers, took), notes=notes)


def _with_line(made: Plan, rows: int) -> Plan:
    """The memory line over the rows that are there: all rows at once are no power of two, and nothing fills them up."""
    points = {min(size, rows): bytes_ for size, bytes_ in made.curves["memory"]}
    if len(points) < 2:
        return made
    line = fit_memory(points)
    found = {"memory_fixed_bytes": line.fixed_bytes, "memory_per_example_bytes": line.per_example_bytes}
    numbers = tuple(replace(one, value=found.get(one.name, one.value)) for one in made.evidence)
    return replace(made, evidence=numbers, curves={**made.curves, "memory": [list(point) for point in line.points]})


def _by(one: Evidence, asked: Any) -> Evidence:
    """What is known of memory, with how: traced, or measured where it could not be."""
    if not one.name.startswith("memory_") or one.source != "predicted":
        return one
    source = "predicted" if asked.probe.foresight.obstacle is None else "measured"
    return replace(one, source=source, method=f"{one.method}: {asked.memory_method}")


def _rate(made: Plan) -> tuple[str, ...]:
    """What becomes of the user's rate."""
    if made.lr is None or made.reference_lr is None or made.size == made.reference_size:
        return ()
    if made.lr_rule == "none":
        return ()
    factor = made.lr / made.reference_lr
    return (
        f"Your rate is kept for batches of {made.reference_size:,}. When the size changes the {made.lr_rule} "
        f"rule holds: at {made.size:,} multiply the rate of every group, and of the schedule, by {factor:.3g}.",
    )
