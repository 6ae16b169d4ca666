"""`plan`: the batch size for a task on this machine, with evidence. Trains nothing but short probes of its own."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from ladle.api.arithmetic import with_arithmetic
from ladle.api.assembly import LARGEST_MICRO, REFERENCE_SIZE, Assembly, assemble, resolve_micro
from ladle.api.devices import devices_asked
from ladle.api.rates import tryout_of
from ladle.api.run_memory import update_limit, with_whole_run, within_limit
from ladle.api.task import Task
from ladle.api.travel import as_run
from ladle.core.duration import Until
from ladle.core.errors import ArgumentError, must
from ladle.core.plan import Evidence, Plan
from ladle.core.protocols import Meter
from ladle.core.running import too_few
from ladle.core.scaling.coupling import Rule
from ladle.core.scaling.devices import Link
from ladle.core.spec import BatchSpec
from ladle.energy.codecarbon import grid_of
from ladle.energy.meter import best_meter
from ladle.planner.choose import choose
from ladle.planner.decide import Minimize
from ladle.planner.memory import largest_fitting

COUPLED = (
    "The loss of an example depends on the others in its micro-batch (batch statistics). A batch cut into "
    "micro-batches is then another loss than the whole, and an example has no gradient whose noise could be measured."
)

SAMPLED = (
    "Memory and noise were measured on {:,} examples that were read beforehand, and no size above that number was "
    "considered. Seconds include reading where rows are read by number (ladle feed-check measures it)."
)

UNMEASURED = "Energy is not measured on this machine, so neither are the joules and the carbon of an update known."

BUDGET_SECONDS = 15.0
"""What a plan may measure for, compiling apart."""

SHARE_OF_RATES = 0.6
"""Of the budget, for trying rates."""

SHARE_OF_NOISE = 0.2
"""Of the budget, for the gradient noise scale. What is left is for the times of updates."""

_SIZE = re.compile(r"^\s*([0-9.]+(?:e[0-9]+)?)\s*([kmgt]?)(i?)b?\s*$", re.IGNORECASE)


def plan(
    task: Task | Assembly,
    *,
    minimize: Minimize = "time",
    memory: int | str | None = None,
    lr: float | Literal["auto", "rule"] = "auto",
    rule: Rule | None = None,
    seed: int = 0,
    country: str | None = None,
    energy_share: float = 0.5,
    power_watts: float | None = None,
    meter: Meter | None = None,
    check_lr: bool = False,
    until: str | Until | None = None,
    budget: float = BUDGET_SECONDS,
    devices: Sequence[int] | None = None,
    link: str | Link | None = None,
    size: int | None = None,
) -> Plan:
    """The batch size for `task`: memory line, throughput line, noise scale and the size they lead to.

    - `minimize`: "time" to a target, or "examples" or "energy" to it; "cost" for energy_share * energy +
      (1 - energy_share) * power_watts * time, `power_watts` the highest that was measured where left out. Energy is
      minimised only where it is measured: sizes are never ranked by a model.
    - `memory`: a limit for the whole run over the one found on the machine, in bytes or as "2GB": data, updates,
      evaluations and checkpoints. Runs by this plan keep it too.
    - `lr`: "auto" measures the rate, where the task has no number of its own: rates around the optimiser's usual one
      race at the chosen size, and the fastest to a validation loss is the plan's, with an interval and a verdict. A
      number, here or in the task, is kept: it is the rate at batches of 64 that the rule starts from. "rule": the
      optimiser's usual rate moved by its rule, whatever the model.
    - `rule`: how the rate and the optimiser's constants follow the size, one of `ladle.core.scaling.rules` but "surge";
      the optimiser's usual rule where left out.
    - `check_lr`: rates race where the number is yours too; it stays, and a note says how it fared.
    - `until`: how long the run is to be that is planned, such as "100 epochs"; rates are tried over as much of it as
      the budget allows, and over 30 passes at most where left out. Where it names a loss to reach ("30 epochs,
      valid_loss <= 0.3"), size and rate are those that reach it soonest; else those that come near the lowest.
    - `budget`: seconds that measuring may take, compiling apart. With more, rates race further.
    - `devices`: numbers of devices, such as [1, 2, 4, 8]: for each the batch, the time to a target and its cost
      (`plan.devices`). The plan itself is then for one device. What is here is measured, what is not is predicted.
    - `link`: what sums over devices take, such as "25GB/s,5us" (bandwidth of a device, delay of a step); measured over
      the devices of this process where left out. `size`: a batch for all numbers of devices, which has to divide.
    - `country`: three letters, for the carbon of its grid beside the joules. `meter`: over the best one found.

    Takes a few seconds for a small model: three or four compilations, probes of a fraction of a second each, one child
    process, a race of rates. Runs and states that exist are not touched.

    >>> import ladle
    >>> data = ladle.data.load("digits")
    >>> task = ladle.Task(ladle.models.mlp(64, 32, 10), ladle.losses.cross_entropy, data)
    >>> print(ladle.plan(task).explain())  # doctest: +SKIP
    """
    assembly = task if isinstance(task, Assembly) else assemble(task)
    many = None
    if devices is not None or link is not None or size is not None:
        many = devices_asked(assembly, devices, link=link, size=size, minimize=minimize)
        assembly = many.alone
    began = time.perf_counter()
    assembly.require_sum()
    feed = assembly.measured_feed(seed)
    rows = feed.epoch_size
    reference = min(REFERENCE_SIZE, rows)
    base = lr if isinstance(lr, int | float) else assembly.reference_lr
    if base is not None and not 0 < base < float("inf"):
        raise ArgumentError(must("lr", "be a positive number", base, "a rate of zero learns nothing", "lr=1e-3"))
    rate = None if base is None else base * assembly.lr_ratio(reference)
    kept = lr != "auto" or not assembly.usual_lr
    if check_lr:
        _require_rate(rate)
    hyper = dict(assembly.optimizer.hyper)
    probe = assembly.engine.probe(
        feed,
        BatchSpec(reference, resolve_micro(reference, None)),
        hyper=hyper if rate is None else {**hyper, "lr": rate},
        seed=seed,
        meter=_meter(assembly, meter, minimize, country),
    )
    travels = assembly.feed(seed)
    limit = None if memory is None else bytes_from(memory)
    track = assembly if limit is None else within_limit(assembly, limit)
    made = choose(
        as_run(probe, assembly.engine, travels, hyper=hyper if rate is None else {**hyper, "lr": rate}, seed=seed),
        rows=rows,
        optimizer=assembly.task.optimizer_name,
        reference_lr=rate,
        reference_size=reference,
        hyper=hyper,
        rule=rule,
        minimize=minimize,
        memory_bytes=None if limit is None else update_limit(assembly, limit, probe.memory_bytes(BatchSpec(1, 1))),
        energy_share=energy_share,
        power_watts=power_watts,
        pilot_seconds=budget * SHARE_OF_NOISE,
        tryout=None if kept and not check_lr else tryout_of(track, until, budget * SHARE_OF_RATES, probe, kept=kept),
    )
    getattr(travels, "close", lambda: None)()
    made = with_whole_run(made, assembly, limit)
    made = with_arithmetic(made, assembly, feed, hyper if rate is None else {**hyper, "lr": rate})
    made = replace(made, evidence=(*made.evidence, *_carbon(made, country)))
    made = made if many is None else many.added(made, seed)
    took = Evidence("plan_seconds", time.perf_counter() - began, "s", "measured", "this plan, compiling included")
    made = replace(made, evidence=(*made.evidence, took))
    notes = () if assembly.objective.additive else (COUPLED,)
    notes = (*notes, *too_few(made.size, made.micro_size, assembly.norm_rows))
    if assembly.placed is None:
        notes = (*notes, SAMPLED.format(rows))
    if country is not None and made.number("joules") is None:
        notes = (*notes, UNMEASURED)
    return replace(made, notes=(*made.notes, *notes)) if notes else made


def _require_rate(rate: float | None) -> None:
    """Refuse to check the rate of an optimiser that brings its own."""
    if rate is None:
        why, remedy = "this optimiser brings its own rate, which ladle cannot change", "an optimiser by name"
        raise ArgumentError(must("check_lr", "have a rate to check", "none", why, remedy))


def largest_micro(assembly: Assembly, memory: int | str, micro_size: int | None = None, size: int | None = None) -> int:
    """The largest micro-batch, a power of two, whose compiled update keeps the run within `memory`, as predicted.

    `size`: of the batch; one that is larger is accumulated, which takes a gradient more. None: any size.

    Raises `ArgumentError` where `micro_size`, if given, is above it, or one example alone does not fit.
    """
    feed, allowed = assembly.measured_feed(0), bytes_from(memory)
    probe, rows = assembly.engine.probe(feed, BatchSpec(1, 1), hyper={}), feed.epoch_size
    limit = update_limit(assembly, allowed, probe.memory_bytes(BatchSpec(1, 1)))

    def bytes_of(micro: int) -> int:
        whole = micro >= (size or rows)
        return probe.memory_bytes(BatchSpec(min(micro if whole else 2 * micro, rows), micro))

    top, _ = largest_fitting(limit, bytes_of, most=min(1 << (rows - 1).bit_length(), LARGEST_MICRO))
    if micro_size is not None and micro_size > top and (needed := bytes_of(micro_size)) > limit:
        needed += allowed - limit
        why = f"an update with it is predicted to need {needed:,} bytes of the {allowed:,} allowed"
        raise ArgumentError(must("micro_size", f"be at most {top}", micro_size, why, f"micro_size={top}"))
    return top


def _meter(assembly: Assembly, given: Meter | None, minimize: str, country: str | None) -> Meter | None:
    """The meter of the probe, where energy is asked for. Raises where it is to be minimised and not measured."""
    if given is None and minimize not in ("energy", "cost") and country is None:
        return None
    meter = given or best_meter(country, accelerator=not assembly.backend.on_host())
    if minimize in ("energy", "cost") and not meter.measures:
        why = getattr(meter, "why", "") or "energy would be modelled, and a size chosen by a model is a guess"
        remedy = "minimize='time'"
        raise ArgumentError(must("energy", "be measured to be minimised", "no measurement", why, remedy))
    return meter


def _carbon(made: Plan, country: str | None) -> list[Evidence]:
    joules = made.number("joules")
    if country is None or joules is None:
        return []
    grid = grid_of(country)
    return [Evidence("kg_co2", grid.kg(joules.value), "kg/update", "modelled", grid.assumption)]


def bytes_from(text: int | str) -> int:
    """A memory size in bytes: a number, or text such as "2GB" and "1.5g" (powers of 1000), "512 MiB" (of 1024).

    >>> bytes_from("2GB"), bytes_from("512 MiB")
    (2000000000, 536870912)
    """
    if isinstance(text, int) and not isinstance(text, bool) and text > 0:
        return text
    match = _SIZE.match(str(text))
    if match is None or float(match[1]) <= 0:
        raise ArgumentError(must("memory", "be a size", text, "it is read as a number with a unit", "memory='2GB'"))
    thousand = 1024 if match[3] else 1000
    return int(float(match[1]) * thousand ** " kmgt".index(match[2].lower() or " "))
