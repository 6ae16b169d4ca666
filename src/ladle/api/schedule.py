"""The policy of a run: from what was given, or its text; what is refused of it before any work, and what warned of."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ladle.api.assembly import LARGEST_MICRO, Assembly
from ladle.core import record
from ladle.core.decision import Decision, Progress
from ladle.core.errors import ArgumentError, must, nearest
from ladle.core.plan import Plan
from ladle.core.protocols import Policy
from ladle.core.scaling.coupling import Coupling, Rule
from ladle.core.scaling.levels import GRADIENT_NOISE
from ladle.core.scaling.rules import MOVES
from ladle.core.traits import traits_of
from ladle.policy.ahead import rate_size_of, require_reach

Base = tuple[float | None, Mapping[str, float]]
"""Learning rate (None where the optimiser brings its own) and optimiser constants at a size."""


def of_one_size(text: str) -> bool:
    """Whether a schedule's text leaves the size to others.

    >>> of_one_size("Constant, retreat 0.9"), of_one_size("0:64")
    (True, False)
    """
    return text.strip().lower().startswith("constant")


def scheduled(
    assembly: Assembly,
    text: str,
    base: Callable[[int], Base],
    *,
    size: int | None = None,
    micro_size: int | None = None,
    rule: Rule | None = None,
) -> Policy:
    """The policy of `text`, whose rate and constants follow its size by `rule`, or the optimiser's usual one.

    - `base`: rate and constants at the size that the policy's rate belongs to, from where they follow.
    - `size`: for "constant" alone. `micro_size`: most rows that fit at once.

    Raises `ArgumentError` for text that is no policy, and for a size or rule that it would not use.
    """
    if size is not None and not of_one_size(text):
        raise ArgumentError(must("size", "be left out with a schedule", size, "the schedule sets it", "size=None"))
    if size is None and of_one_size(text):
        why = "a schedule of one size does not say which"
        raise ArgumentError(must("size", "be given with this schedule", None, why, f"size={min(64, assembly.rows)}"))
    cores = record.hardware()["cores"] if assembly.backend.on_host() else None
    limits = {"size": size or 1, "micro_size": micro_size or LARGEST_MICRO, "epoch_size": assembly.rows}
    from ladle.policy.parse import policy_from_text  # All policies; a run of one size needs none of them.

    read = partial(policy_from_text, text, **limits, cores=cores)
    first = rate_size(read(lr=1.0))
    _require_room(first, assembly.rows)
    lr, hyper = base(first)
    coupling = Coupling(rule or assembly.rule, first, hyper, optimizer=assembly.task.optimizer_name)
    policy = read(coupling=coupling, lr=lr)
    if rule not in (None, "none") and traits_of(policy).coupling is not coupling:
        why = "this schedule says itself what the rate does"
        raise ArgumentError(must("rule", "be left out with it, or none", rule, why, "rule='none'"))
    return policy


def base_at(
    assembly: Assembly,
    before: Mapping[str, Any] | None,
    size: int,
    *,
    lr: float | None = None,
    rule: Rule | None = None,
) -> Base:
    """Rate and constants at `size`: `lr` where it is given, or the task's own; or those of the sitting `before`.

    - `before`: its run.json. From the size that they belong to the rule takes them to `size`.
    """
    own, name = assembly.optimizer.hyper, assembly.task.optimizer_name
    if lr is not None:
        return lr, own
    if before is None:
        return assembly.lr(size), assembly.constants(size)
    was = before["optimizer"]
    hyper = {constant: was.get(constant, value) for constant, value in own.items()}
    belongs = before.get("rate_size", before["size"])
    factor, moved = Coupling(rule or assembly.rule, belongs, hyper, optimizer=name).at(size)
    return None if (rate := was.get("lr")) is None else rate * factor, {**hyper, **moved}


def rate_size(policy: Policy, plan: Plan | None = None) -> int:
    """The size that the rate of a run of `policy` belongs to: its first one, unless it says otherwise."""
    return rate_size_of(policy, policy.decide(policy.init(plan), Progress())[1].spec.size)


def require_runnable(policy: Policy, first: Decision, assembly: Assembly, lr: float | None) -> None:
    """Refuse, before any work, a policy that this run could not follow to its end. `lr`: the rate it begins with."""
    _require_known(first.hyper, assembly)
    traits = traits_of(policy)
    _require_room(max(first.spec.size, traits.largest or 1), assembly.rows)
    require_reach(policy, first.spec.size)
    for need in traits.needs:
        _require_measured(need, assembly)
    if traits.lr is not None and lr is not None and not math.isclose(traits.lr, lr, rel_tol=1e-6):
        why, remedy = "its sizes are proportional to the rate in force", f"lr={traits.lr:g} for the run too"
        raise ArgumentError(must("lr of the policy", f"be the run's, {lr:g}", traits.lr, why, remedy))


def warnings_of(policy: Policy, first: int, assembly: Assembly) -> tuple[str, ...]:
    """What a careful reader would want to be told of rate and optimiser before the run; nothing where all is well."""
    name, traits = assembly.task.optimizer_name, traits_of(policy)
    coupling, made_for = traits.coupling, traits.made_for or (name,)
    of_optimizer = [] if name in made_for else [f"This policy was made for {', '.join(made_for)}, not for {name}."]
    if isinstance(coupling, str):  # By its name alone a rule moves no constants: what is left is a square root.
        coupling = Coupling("square root" if coupling in MOVES else coupling, first, optimizer=name)
    of_rate = getattr(coupling, "warnings", lambda size: ())
    return (*of_optimizer, *of_rate(traits.largest or first))


def _require_known(hyper: Mapping[str, float], assembly: Assembly) -> None:
    """Refuse a policy that changes what this optimiser, model and loss do not have."""
    known = {*assembly.optimizer.hyper, *assembly.objective.levels, GRADIENT_NOISE}
    if unknown := sorted(set(hyper) - known):
        why = "neither the optimiser nor the model or the loss takes it"
        raise ArgumentError(must("policy", "change constants of the run", unknown, why, ", ".join(sorted(known))))


def _require_room(largest: int, rows: int) -> None:
    if largest > rows:
        why = "a batch never crosses an epoch, and the rate would follow a size that it does not have"
        be = f"go no further than the {rows:,} training examples"
        raise ArgumentError(must("policy", be, largest, why, f"sizes up to {rows}"))


def _require_measured(need: str, assembly: Assembly) -> None:
    """Refuse a policy by a validation metric that no evaluation will have."""
    if not need.startswith("valid_"):
        return
    if assembly.valid is None:
        why, remedy = "no rows are kept for validation", "a metric that begins with train_, or valid=0.2"
        raise ArgumentError(must("metric", "be measured", need, why, remedy))
    known = ["valid_loss", *(f"valid_{name}" for name in assembly.objective.metrics)]
    if need not in known:
        raise ArgumentError(must("metric", "be measured", need, "no evaluation measures it", nearest(need, known)))
