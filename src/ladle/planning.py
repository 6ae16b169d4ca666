"""`plan`: the batch size for a task on this machine, with evidence. Trains nothing but short probes of its own."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Literal

from ladle.assembly import REFERENCE_SIZE, Assembly, assemble, resolve_micro
from ladle.engine.probe import CompiledProbe
from ladle.errors import ArgumentError, must
from ladle.plan import Plan
from ladle.planner.choose import choose
from ladle.scaling import Rule
from ladle.spec import BatchSpec
from ladle.task import Task

COUPLED = (
    "The loss of an example depends on the others in its micro-batch (batch statistics). A batch cut into "
    "micro-batches is then another loss than the whole, and the noise scale is that of micro-batches."
)

SAMPLED = (
    "Measured on {:,} examples that were read beforehand: reading is not in these times, nor in the memory "
    "(ladle feed-check measures it), and no size above that number was considered."
)

_SIZE = re.compile(r"^\s*([0-9.]+(?:e[0-9]+)?)\s*([kmgt]?)(i?)b?\s*$", re.IGNORECASE)


def plan(
    task: Task | Assembly,
    *,
    minimize: Literal["time", "examples"] = "time",
    memory: int | str | None = None,
    lr: float | None = None,
    rule: Rule | None = None,
    seed: int = 0,
) -> Plan:
    """The batch size for `task`: memory line, throughput line, noise scale and the size they lead to.

    - `minimize`: "time" to a target, or "examples" to it.
    - `memory`: a limit over the one found on the machine, in bytes or as "2GB".
    - `lr`: the learning rate at batches of 64 that the rule starts from; the task's own where left out.
    - `rule`: how the rate (and, for "sde" and "half-life", the decay rates) follow the size: "none", "linear", "square
      root", "sde" or "half-life"; the optimiser's usual rule where left out.

    Takes a few seconds: two or three compilations, probes of a fraction of a second each, one child process. Runs and
    states that exist are not touched.

    >>> import ladle
    >>> data = ladle.data.load("digits")
    >>> task = ladle.Task(ladle.models.mlp(64, 32, 10), ladle.losses.cross_entropy, data)
    >>> print(ladle.plan(task).explain())  # doctest: +SKIP
    """
    assembly = task if isinstance(task, Assembly) else assemble(task)
    feed = assembly.measured_feed(seed)
    rows = feed.epoch_size
    reference = min(REFERENCE_SIZE, rows)
    base = lr if lr is not None else assembly.reference_lr
    rate = None if base is None else base * assembly.lr_ratio(reference)
    hyper = dict(assembly.optimizer.hyper)
    probe = CompiledProbe(
        step=assembly.step,
        feed=feed,
        pilot=BatchSpec(reference, resolve_micro(reference, None)),
        hyper=hyper if rate is None else {**hyper, "lr": rate},
        seed=seed,
    )
    made = choose(
        probe,
        rows=rows,
        optimizer=assembly.task.optimizer_name,
        reference_lr=rate,
        reference_size=reference,
        hyper=hyper,
        rule=rule,
        minimize=minimize,
        memory_bytes=None if memory is None else bytes_from(memory),
    )
    notes = () if assembly.objective.additive else (COUPLED,)
    if assembly.placed is None:
        notes = (*notes, SAMPLED.format(rows))
    return replace(made, notes=(*made.notes, *notes)) if notes else made


def bytes_from(text: int | str) -> int:
    """A memory size in bytes: a number, or text such as "2GB" and "1.5g" (powers of 1000), "512 MiB" (of 1024).

    >>> bytes_from("2GB"), bytes_from("512 MiB")
    (2000000000, 536870912)
    """
    if isinstance(text, int) and not isinstance(text, bool) and text > 0:
        return text
    match = _SIZE.match(str(text))
    if match is None or float(match[1]) <= 0:
        raise ArgumentError(must("memory", "be a size", text, "it is read as a number with a unit", "--memory 2GB"))
    thousand = 1024 if match[3] else 1000
    return int(float(match[1]) * thousand ** " kmgt".index(match[2].lower() or " "))
