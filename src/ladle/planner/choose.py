"""`choose`: ask a probe, decide, confirm, and hand back a `Plan` with the evidence for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast, get_args

from ladle.core.errors import ArgumentError, NotConfirmed, RunError, must
from ladle.core.plan import Plan
from ladle.core.protocols import Probe
from ladle.core.scaling.coupling import Rule
from ladle.core.spec import BatchSpec, require_count, rung_for
from ladle.planner.course import PARTS, PLACES, readings, whole
from ladle.planner.decide import Choice, Minimize, decide, taken
from ladle.planner.energy import EnergyPrice, measure_price, require_measured
from ladle.planner.evidence import Confirmed, Findings, curves, evidence, notes
from ladle.planner.follow import follow
from ladle.planner.measure import measure_accumulation, measure_noise, measure_speed, pilots_in, timed
from ladle.planner.memory import largest_fitting, too_small
from ladle.planner.rate import Rate, rate_for, require_rule
from ladle.planner.rate_finding import RateFinding, with_rate
from ladle.planner.sizes import Asked, Sizes, try_sizes
from ladle.planner.tryout import Glance, Tryout, glance, try_rates

ENERGY_SHARE = 0.5
"""Of the cost that `minimize="cost"` means, where nothing else is said."""


ROUGH = 0.3
"""Standard deviation of log(noise scale) that is good enough at one of several places, which differ by twice that."""


def choose(
    probe: Probe,
    *,
    rows: int,
    optimizer: str = "",
    reference_lr: float | None = None,
    reference_size: int = 1,
    hyper: Mapping[str, float] | None = None,
    rule: Rule | None = None,
    minimize: Minimize = "time",
    memory_bytes: int | None = None,
    sizes: Sequence[int] | None = None,
    pilot_seconds: float = 3.0,
    energy_share: float = ENERGY_SHARE,
    power_watts: float | None = None,
    tryout: Tryout | None = None,
) -> Plan:
    """A batch size for training on `rows` examples, with its reasons. Asks the probe only; touches no run.

    1. Memory: predicted from compiled shapes at a few rungs; the largest rung within the limit (`memory_bytes`, or what
       the probe finds) is `top`.
    2. Speed: t = alpha + beta B through a few timed sizes (`sizes`, or 1, 64 and `top`).
    3. Noise: the gradient noise scale from a pilot of at most about `pilot_seconds`; with a `tryout`, in three parts
       of a run at the best rate of a quick look at the reference size (`ladle.planner.course`).
    4. Size: sqrt(knee * noise scale) for `minimize="time"`, noise scale / 20 for "examples", within rows and memory.
       For time, with a `tryout` whose seconds pay for it, half and twice of it run too (`ladle.planner.sizes`).
       For "energy" the knee is that of an update's joules, measured at the sizes of 2; for "cost" that of
       energy_share * joules + (1 - energy_share) * power_watts * seconds (Zeus).
    5. Confirmation in a child process. What needs more than the limit, or dies, is replaced by the next smaller rung
       and confirmed again: no size is returned that was not run, but where a child cannot make the model, and a note
       says so.
    6. Learning rate: with a `tryout`, the fastest of a race at the chosen size (`ladle.planner.race`); else, or where
       no rate stands out, `reference_lr` carried to the size by `rule` (or the optimiser's usual one). To three digits.
       The constants that the rule moves (see `ladle.core.scaling.rules`).

    Raises `ArgumentError` where one example does not fit, energy is asked for and cannot be measured, or `energy_share`
    or `power_watts` are given for another goal than "cost", and `RunError` where even a micro-batch of one dies.

    >>> from ladle.planner.fakes_test import FakeProbe
    >>> plan = choose(FakeProbe(), rows=2**20, optimizer="adam", reference_lr=1e-3, reference_size=128)
    >>> plan.size, plan.lr, plan.bound
    (512, 0.002, 'optimum')
    """
    require_count("rows", rows)
    require_count("reference_size", reference_size)
    if minimize not in get_args(Minimize):
        goals = ", ".join(get_args(Minimize))
        raise ArgumentError(must("minimize", f"be one of {goals}", minimize, "no other goal is known", "'time'"))
    if minimize != "cost" and (energy_share != ENERGY_SHARE or power_watts is not None):
        name, got = ("energy_share", energy_share) if energy_share != ENERGY_SHARE else ("power_watts", power_watts)
        why = "only that goal weighs energy against time"
        raise ArgumentError(must(name, "be left out with other goals than cost", got, why, "minimize='cost'"))
    share = {"energy": 1.0, "cost": energy_share}.get(minimize)
    for size in sizes or ():
        require_count("sizes", size)
    require_rule(rule, optimizer, hyper or {}, reference_size)
    found = _machine(probe, rows=rows, memory_bytes=memory_bytes, sizes=sizes)
    base = {"reference_size": reference_size, "reference_lr": reference_lr, "hyper": hyper or {}}
    seen = None
    if tryout and not tryout.kept and reference_lr and rows > 1:
        seen = glance(tryout, _whole(min(reference_size, found.top), rows), reference_lr, hyper or {}, rows=rows)
    found = _noise(probe, found, seen, pilot_seconds=pilot_seconds)
    if share is not None:
        found = replace(found, price=_price(probe, found, share=share, power_watts=power_watts))
    rate = rate_for(rule, optimizer, **base, noise=found.pilot.noise)
    beside = _beside(tryout, probe, found, rate, seen) if minimize == "time" else None
    choice, confirmed_bytes, remarks = _confirm(probe, found, minimize=minimize, sizes=beside)
    tried = _tried(tryout, choice.spec, rate, seen, rows=rows, sizes=beside)
    schedule = follow(found, choice.spec.size) if minimize == "time" else None
    predicted_bytes = probe.memory_bytes(_whole(choice.spec.micro_size, rows))
    memory = Confirmed(predicted_bytes, confirmed_bytes)
    made = Plan(
        size=choice.spec.size,
        micro_size=choice.spec.micro_size,
        lr=rate.at(choice.spec.size),
        bound=_bound(found, choice, minimize),
        within_5_percent=choice.within,
        noise=found.pilot.noise,
        minimize=minimize,
        lr_rule=rate.coupling.resolved,
        reference_size=reference_size,
        reference_lr=reference_lr,
        hyper=rate.hyper(choice.spec.size),
        evidence=evidence(found, choice, memory, rate, joules=probe.joules(choice.spec)),
        curves=curves(found, choice),
        notes=(*remarks, *notes(found, choice, memory, rate), *([schedule.remark()] if schedule else [])),
    )
    return made if tried is None else with_rate(made, tried)


def _machine(probe: Probe, *, rows: int, memory_bytes: int | None, sizes: Sequence[int] | None) -> Findings:
    """What the machine can hold, and how fast it is."""
    limit, method = (memory_bytes, "given") if memory_bytes is not None else probe.limit_bytes()
    top, memory = largest_fitting(
        limit, lambda micro: probe.memory_bytes(_whole(micro, rows)), most=1 << (rows - 1).bit_length()
    )
    speed = measure_speed(probe, rows=rows, top=top, sizes=sizes)
    return Findings(rows, limit, method, memory_bytes is not None, top, memory, speed)


def _noise(probe: Probe, found: Findings, seen: Glance | None, *, pilot_seconds: float) -> Findings:
    """`found` with the noise scale: in the course of a run where a rate was seen to train, else after a short pilot."""
    how = {"rows": found.rows, "top": found.top, "line": found.speed and found.speed.line}
    if seen is None or not seen.heats.learned:
        return replace(found, pilot=measure_noise(probe, **how, budget_seconds=pilot_seconds))
    places = min(pilots_in(pilot_seconds / len(PARTS), **how), PLACES)
    each = pilot_seconds / len(PARTS) / places
    course = readings(
        seen, lambda at: measure_noise(cast(Probe, at), **how, budget_seconds=each, spread=ROUGH), places=places
    )
    return replace(found, pilot=whole(course), course=course)


def _beside(tryout: Tryout | None, probe: Probe, found: Findings, rate: Rate, seen: Glance | None) -> Sizes | None:
    """The size by the closed form beside its neighbours, by trial. None where there is nothing to try them with."""
    speed, reference = found.speed, rate.reference_lr
    if tryout is None or seen is None or not seen.heats.learned or speed is None or not speed.straight or not reference:
        return None
    choice = _decided(probe, found, minimize="time", top=found.top)
    if choice.assumed or choice.spec.size > found.top or choice.bound not in ("optimum", "smallest"):
        return None
    asked = Asked(
        spec=lambda size: _whole(rung_for(size, found.top), size),
        rate=lambda size: (rate.at(size) or reference) * seen.rate / reference,
        hyper=lambda size: {**dict(rate.coupling.hyper), **rate.hyper(size)},
        seconds=lambda sizes: timed(probe, [rung_for(size, found.top) for size in sizes], rows=found.rows),
    )
    noise = found.pilot.noise
    known = {"size": choice.spec.size, "noise": noise.value, "log_noise_sd": noise.log_sd}
    return try_sizes(tryout, seen, asked, dict(choice.curve), **known)


def _tried(
    tryout: Tryout | None,
    spec: BatchSpec,
    rate: Rate,
    seen: Glance | None,
    *,
    rows: int,
    sizes: Sizes | None = None,
) -> RateFinding | None:
    """What the race at `spec` found, beginning at the rate that was seen at the reference size, carried by the rule."""
    usual, hyper = rate.at(spec.size), rate.hyper(spec.size)
    if tryout is None or usual is None or rate.reference_lr is None:
        return None
    guess = usual if seen is None else usual * seen.rate / rate.reference_lr
    hyper = {**dict(rate.coupling.hyper), **hyper}
    begun = (sizes.track, sizes.heats) if sizes is not None and sizes.size == spec.size else None
    race = try_rates(tryout, spec, guess, hyper, rows=rows, seen=seen, begun=begun)
    return RateFinding(usual, race, spec.size, kept=tryout.kept)


def _price(probe: Probe, found: Findings, *, share: float, power_watts: float | None) -> EnergyPrice | None:
    """The price of an update in energy; None where there is one size only, once it is known that energy is measured."""
    if found.speed is None:
        require_measured([probe.joules(_whole(found.top, found.rows))])
        return None
    return measure_price(probe, found.speed, rows=found.rows, share=share, power_watts=power_watts)


def _bound(found: Findings, choice: Choice, minimize: Minimize) -> str:
    """What set the size. Where times lie on no line, the size that is best on one rests on a guess."""
    told = found.speed is None or found.speed.straight or minimize == "examples"
    return choice.bound if told else "unresolved speed"


def _whole(micro: int, rows: int) -> BatchSpec:
    """One micro-batch of that size, as full as the data allows."""
    return BatchSpec(size=min(micro, rows), micro_size=micro)


def _decided(probe: Probe, found: Findings, *, minimize: Minimize, top: int) -> Choice:
    """By the closed form, with micro-batches of `top` at most."""
    price = found.price
    return decide(
        found.pilot.noise,
        found.speed,
        rows=found.rows,
        top=top,
        minimize=minimize,
        price=price.fit if price else None,
        accumulation=lambda: (
            price.accumulation(probe, top, rows=found.rows)
            if price
            else measure_accumulation(probe, top, rows=found.rows)
        ),
    )


def _confirm(
    probe: Probe, found: Findings, *, minimize: Minimize, sizes: Sizes | None = None
) -> tuple[Choice, int | None, tuple[str, ...]]:
    """Decide and run it in a child process, with ever smaller micro-batches until one stays within the limit.

    `sizes`: what trials said, which is taken as long as it fits.
    """
    top, remarks = found.top, () if sizes is None else (sizes.remark(),)
    while True:
        choice = _decided(probe, found, minimize=minimize, top=top)
        if sizes is not None and found.speed is not None and sizes.size <= top:
            sure = {"within": sizes.within, "confidence": sizes.confidence}
            choice = taken(choice, sizes.size, found.speed, **sure, rows=found.rows, top=top)
        micro = choice.spec.micro_size
        try:
            used = probe.confirm_bytes(choice.spec)
            happened = f"used {used:,} bytes, more than the limit"
        except NotConfirmed as error:
            return choice, None, (*remarks, f"Not confirmed: {error}. The memory of an update is what was predicted.")
        except RunError as error:
            if micro == 1:
                raise
            used, happened = None, f"did not survive ({error})"
        if used is not None and used <= found.limit_bytes:
            return choice, used, remarks
        if used is not None and micro == 1:
            raise too_small(found.limit_bytes, used)
        top = 1 << ((micro - 1).bit_length() - 1)
        remarks = (*remarks, f"A micro-batch of {micro} {happened} when it was run, so {top} was tried.")
