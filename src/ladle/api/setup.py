"""`set_up`: everything that one sitting of a run is decided by, worked out and checked before any work.

What the user asked for (`Terms`), the task as it was put together, and what an earlier sitting left in `run.json` go
in; one frozen `RunSetup` comes out. Nothing is asked twice, and nothing after it reads `run.json`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from ladle.api.alike import require_alike
from ladle.api.assembly import LARGEST_MICRO, Assembly, resolve_micro, resolve_size
from ladle.api.best import Judge
from ladle.api.run_memory import limit_of, within_limit
from ladle.api.schedule import base_at, of_one_size, require_runnable, scheduled, warnings_of
from ladle.api.until import higher_of, require_measured
from ladle.core.constants import EMA, SHARED, require_constants
from ladle.core.decision import Progress
from ladle.core.duration import Until
from ladle.core.errors import ArgumentError, must
from ladle.core.moments import Gauge
from ladle.core.plan import Plan
from ladle.core.protocols import Policy
from ladle.core.running import too_few
from ladle.core.scaling.coupling import Rule
from ladle.core.spec import BatchSpec, require_count
from ladle.core.traits import traits_of
from ladle.core.world import ALONE, World
from ladle.loop.train import Rebase
from ladle.online.prequential import Prequential
from ladle.policy.ahead import directed, rate_size_of, require_policy, within
from ladle.policy.constant import Constant

if TYPE_CHECKING:
    from ladle.planner.rate_finding import RateFinding

UPDATES_PER_WINDOW = 500
"""A window of the record holds about so many updates at most: what ctrl-C and a progress bar wait for."""

LONG = 1_000_000
"""Where a pass is longer than so many examples, evaluations do not wait for its end."""

Restore = Literal["best", "last"]


@dataclass(frozen=True)
class Terms:
    """What is asked of one sitting. The words are those of `fit`.

    - `rule`: how the rate follows a `policy` that is a text. `memory`: what the whole run may take.
    - `lr`: a number, or "sweep" for the best of those tried at the first size.
    - `onward`: the rate is that of the sitting before, moved to this one's size, rather than the task's.
    """

    until: Until
    plan: Plan | None = None
    size: int | str | None = None
    micro_size: int | None = None
    policy: Policy | str | None = None
    rule: Rule | None = None
    memory: int | str | None = None
    gauge: Gauge | None = None
    rebase: bool = False
    lr: float | Literal["sweep"] | None = None
    hyper: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    window: int | None = None
    evaluate_every: int | None = None
    restore: Restore | None = None
    onward: bool = False


@dataclass(frozen=True)
class RunSetup:
    """All that a sitting needs to know; a value.

    - `size`: of the first batch. `rate_size`: the size that the run's rate belongs to.
    - `constants`: of the optimiser, `lr` among them, as the sitting begins.
    - `window`: examples between two record lines. `evaluate_every`: examples between evaluations, the nearest counts.
    - `before`: run.json of the sitting that it goes on from, None for a new run.
    - `world`: the processes that share the run. `assembly`: of the task over them; `alone`: for this process by itself.
    - `prequential`: how events are judged before they are learnt, where they are.
    - `judge`: which evaluation is the best. `restore`: whose parameters the run ends with.
    """

    assembly: Assembly
    alone: Assembly
    policy: Policy
    until: Until
    plan: Plan | None
    seed: int
    size: int
    rate_size: int
    constants: Mapping[str, float]
    window: int
    evaluate_every: tuple[int, ...]
    judge: Judge
    restore: Restore
    rebase: Rebase | None = None
    warnings: tuple[str, ...] = ()
    before: Mapping[str, Any] | None = None
    world: World = ALONE
    prequential: Prequential | None = None

    @property
    def lr(self) -> float | None:
        """The rate that the sitting begins with; None where it cannot be known."""
        return self.constants.get("lr", self.assembly.optimizer.lr)


def set_up(assembly: Assembly, terms: Terms, before: Mapping[str, Any] | None = None, world: World = ALONE) -> RunSetup:
    """The set-up of one sitting of a run of `assembly` as `terms` say, going on from run.json `before`.

    Makes a plan where the size is left to it, rank 0 of `world` for all; trains nothing.
    Raises `ArgumentError` for what cannot be right.
    """
    require_alike(world, assembly, replace(terms, plan=None))
    until = require_measured(terms.until, assembly)
    _require_hyper(terms.hyper, assembly)
    if before is not None:
        require_same_task(before, assembly, terms.seed)
    plan = _plan(assembly, terms, before, world)
    assembly = _limited(assembly, terms, plan)
    given = None if terms.lr == "sweep" else terms.lr
    lr = plan.lr if given is None and plan is not None and not terms.onward else given
    onward = before if terms.onward or isinstance(terms.policy, str) else None
    base = partial(base_at, assembly, onward, lr=lr, rule=terms.rule)
    asked = directed(_policy(assembly, terms, plan, before, base), partial(_higher, assembly))
    policy = within(asked, assembly.rows)
    assembly = assembly.gauged(_enough(terms.gauge, traits_of(policy).needs))
    _, first = policy.decide(policy.init(plan), Progress())
    size = first.spec.size
    if size < world.size:
        why, remedy = "each process reads its part of every batch", f"size={world.size}, or fewer processes"
        raise ArgumentError(must("size", f"be at least the {world.size} processes", size, why, remedy))
    rate_size = rate_size_of(policy, size)
    rate, moved = base(rate_size)
    moved = moved if terms.onward else assembly.apart(moved)
    constants = {**(plan.hyper if plan is not None else {}), **moved, **terms.hyper, **first.hyper}
    tried = None
    if plan is None and before is None:
        tried = world.first(lambda: _tried(assembly, terms, first.spec, rate, constants))
    if tried is not None:
        rate = tried.rate
    if rate is not None:
        constants["lr"] = rate
    require_runnable(policy, first, assembly, rate)
    ends = (f"Sizes end at the {assembly.rows:,} examples of a pass.",) if policy != asked else ()
    every, window = terms.evaluate_every, terms.window
    return RunSetup(
        assembly=assembly.over(world),
        alone=assembly,
        policy=policy,
        until=until,
        plan=plan,
        seed=terms.seed,
        size=size,
        rate_size=rate_size,
        constants=constants,
        window=_window(size, min(assembly.rows, LONG)) if window is None else require_count("window", window),
        evaluate_every=(assembly.rows, LONG) if every is None else (require_count("evaluate_every", every),),
        judge=Judge.of(until, assembly.directions),
        restore=_restore(terms.restore, until),
        rebase=assembly.engine.rebase() if terms.rebase else None,
        warnings=(
            *ends,
            *_moved(assembly.apart(moved), rate_size, assembly),
            *warnings_of(policy, size, assembly),
            *too_few(size, first.spec.micro_size, assembly.norm_rows),
            *(tried.remarks() if tried else ()),
        ),
        before=before,
        world=world,
    )


def _moved(apart: Mapping[str, float], size: int, assembly: Assembly) -> tuple[str, ...]:
    """What is said where the average's decay was moved to `size`, as the rate was."""
    if EMA not in apart:
        return ()
    own = assembly.optimizer.hyper[EMA]
    return (f"The average of the weights keeps {apart[EMA]:.6g} of itself in an update of {size}: ema is {own:g}.",)


def _require_hyper(given: Mapping[str, float], assembly: Assembly) -> None:
    """Refuse bounds and averages that mean nothing, and those that the task has none of."""
    require_constants(given)
    for name in SHARED:
        if name in given and name not in assembly.task.constants:
            why, remedy = "what is measured and kept depends on it", f"ladle.Task({name}={given[name]!r})"
            raise ArgumentError(must(f"hyper[{name!r}]", "be of the task first", given[name], why, remedy))


def _limited(assembly: Assembly, terms: Terms, plan: Plan | None) -> Assembly:
    """`assembly` within the memory that was given, here or to the plan."""
    limit = limit_of(plan)
    if terms.memory is not None:
        from ladle.api.plan import bytes_from

        limit = bytes_from(terms.memory)
    return assembly if limit is None else within_limit(assembly, limit)


def _plan(assembly: Assembly, terms: Terms, before: Mapping[str, Any] | None, world: World) -> Plan | None:
    """The plan of a run whose size is left to it: the one given, the one of the sitting before, or a new one."""
    text = terms.policy if isinstance(terms.policy, str) else None
    left_open = terms.size == "auto" or (terms.size is None and terms.policy is None)
    if terms.plan is not None or not left_open or (text is not None and not of_one_size(text)):
        return world.first(lambda: terms.plan)
    if before is not None and (before.get("plan") or terms.size is None):
        return Plan.from_json(before["plan"]) if before.get("plan") else None
    from ladle.api.plan import plan  # Most runs have a size.

    memory = terms.memory
    if memory is None and world.size > 1:  # Each rank has to have room for it.
        free = min(world.gathered(assembly.backend.free_bytes()))
        memory = free * 9 // 10 // (world.on_host if assembly.backend.on_host() else 1)
    return world.first(lambda: plan(assembly, memory=memory, seed=terms.seed, until=terms.until))


def _tried(
    assembly: Assembly, terms: Terms, spec: BatchSpec, usual: float | None, hyper: Mapping[str, float]
) -> RateFinding | None:
    """The race of rates at the first size, where one is asked for. Raises `ArgumentError` where there is no rate."""
    if terms.lr != "sweep":
        return None
    if usual is None or assembly.optimizer.lr is None:
        why, remedy = "this optimiser brings its own, which ladle cannot change", "an optimiser by name"
        raise ArgumentError(must("lr", "be left to the optimiser", terms.lr, why, remedy))
    from ladle.api.rates import SECONDS, found_rate  # Most runs have a rate.

    return found_rate(assembly, spec, usual, hyper, until=terms.until, seconds=SECONDS)


def _policy(assembly: Assembly, terms: Terms, plan: Plan | None, before: Mapping[str, Any] | None, base: Any) -> Policy:
    """The policy that `terms` ask for. Raises `ArgumentError` for a size or rule that it would not use."""
    size = None if terms.size in (None, "auto") else resolve_size(terms.size, assembly.rows)
    if isinstance(terms.policy, str):
        if size is None and plan is not None:
            size = min(plan.size, assembly.rows)
        most = terms.micro_size or (_most(assembly, terms, None) if plan is None else plan.micro_size)
        return scheduled(assembly, terms.policy, base, size=size, micro_size=most, rule=terms.rule)
    if terms.rule is not None:
        why = "it says how the rate follows a size that changes"
        raise ArgumentError(must("rule", "come with a schedule", terms.rule, why, "policy='0:64 10ep:128'"))
    if terms.policy is not None:
        for name, given in (("size", terms.size), ("micro_size", terms.micro_size)):
            if given is not None:
                why = "the policy sets it"
                raise ArgumentError(must(name, "be left out with a policy", given, why, f"{name}=None"))
        require_policy(terms.policy)
        return terms.policy
    if size is not None:
        return Constant(size, resolve_micro(size, terms.micro_size, _most(assembly, terms, size)))
    if plan is not None:
        return Constant(min(plan.size, assembly.rows), terms.micro_size or min(plan.micro_size, assembly.rows))
    return _as_before(before or {})


def _higher(assembly: Assembly, metric: str) -> bool:
    """Whether more of the metric that a policy follows is better. One that is not measured is refused elsewhere."""
    known = metric.partition("_")[2] in assembly.directions
    return known and higher_of(metric, assembly, "policy", "follow a metric with a direction")


def _as_before(before: Mapping[str, Any]) -> Constant:
    """The size of the sitting before, where nothing else was asked for."""
    was = before.get("policy") or {}
    if was.get("kind") != "Constant":
        why = "the sizes of the sitting before were a policy's, which its folder only describes"
        raise ArgumentError(
            must("policy", "be given again", None, why, "the policy that the run began with, or a size")
        )
    return Constant(was["size"], was["micro_size"])


def _most(assembly: Assembly, terms: Terms, size: int | None) -> int:
    """The most rows of one forward pass: what the memory allows, where that was given."""
    if terms.memory is None:
        return LARGEST_MICRO
    from ladle.api.plan import largest_micro

    return largest_micro(assembly, terms.memory, terms.micro_size, size)


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


def _restore(asked: Restore | None, until: Until) -> Restore:
    """Whose parameters a run ends with: those of the best evaluation where evaluations are what ends it."""
    if asked not in (None, "best", "last"):
        why = "a run ends with the parameters of one place"
        raise ArgumentError(must("restore", "be 'best' or 'last'", asked, why, "restore='best'"))
    judged = until.patience is not None or (until.target is not None and until.target.metric.startswith("valid_"))
    return asked or ("best" if judged else "last")


def require_same_task(before: Mapping[str, Any], assembly: Assembly, seed: int) -> None:
    """Refuse to go on with another task than the one that `before`, a run.json, tells of. Size and rate may change."""
    now = assembly.facts()
    for name, was, found in (
        ("data", before.get("data", {}).get("digest", "unknown")[:12], now["data"]["digest"][:12]),
        ("order", before.get("order"), now["order"]),
        ("model", before.get("model"), now["model"]),
        ("augment", before.get("augment"), now.get("augment")),
        ("precision", before.get("precision", "f32"), now.get("precision", "f32")),
        ("frozen", before.get("frozen", []), now.get("frozen", [])),
        ("no_decay", before.get("no_decay", []), now.get("no_decay", [])),
        # Their numbers may change. Whether there are any is a part of the state.
        *((name, before.get(name), now.get(name)) for name in SHARED if (name in before) != (name in now)),
        ("loss", before.get("loss", now["loss"]), now["loss"]),
        ("optimizer", before.get("optimizer", {}).get("name"), assembly.optimizer.name),
        ("seed", before.get("seed"), seed),
    ):
        if was != found:
            why = "another run would follow from the checkpoint, and nothing would say so"
            whole = name in ("data", "model", "augment", "loss")  # What no text of a record is enough to make again.
            remedy = f"the {name} as it was, or a new run" if whole else f"{name}={was!r}"
            raise ArgumentError(must(name, "be what the run began with", found, why, remedy))
