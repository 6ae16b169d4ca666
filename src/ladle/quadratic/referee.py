"""Policies beside the best that constant sizes can do, on the exact noisy quadratic; every rate is tuned."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ladle.core.duration import Until
from ladle.core.errors import ArgumentError, must
from ladle.core.protocols import Policy
from ladle.core.spec import require_count
from ladle.core.speed import Speed
from ladle.quadratic.dry_run import METRICS, Rehearsal, rehearse, target_text
from ladle.quadratic.noisy_quadratic import MOST_STEPS, NoisyQuadratic

SIZES = tuple(2**power for power in range(15))
"""Constant sizes that are tried: 1 to 16384."""

SHARES = tuple(4.0**-power for power in range(1, 7))
"""Rates that are tried for a policy, as shares of the largest stable one of full batches; between them by halves."""

HALVINGS = 4
"""How often the gap between neighbouring rates is halved (in the logarithm): from a factor of 4 to one of 1.09."""

PATIENCE = (3.0, 15.0)
"""A policy's rates are looked for within so many times the seconds of the best constant size, one after the other."""

Maker = Callable[[float], Policy]
"""A policy that rests on the run's learning rate itself, such as CABS: made anew for every rate."""

Unit = Literal["seconds", "steps", "examples", "loss"]


@dataclass(frozen=True)
class Candidate:
    """How one candidate did. `steps`, `examples`, `seconds` are `inf` where it never reached the target.

    - `size`: of a constant candidate; 0 for a policy. `lr`: its rate (at factor 1). `switches`: of the size.
    - `most`: updates after which it was given up, where it never reached the target.
    - `loss`: expected, at the end. `run`: the dry run of a policy; None for constants, which have a closed form.
    """

    name: str
    size: int
    lr: float
    loss: float
    steps: float
    examples: float
    seconds: float
    most: int
    switches: int = 0
    run: Rehearsal | None = None


@dataclass(frozen=True)
class Ranking:
    """All candidates. `by`: what they compete in, the seconds to the target; or the loss where there is no target."""

    by: Literal["seconds", "loss"]
    constants: tuple[Candidate, ...]
    policies: tuple[Candidate, ...]

    @property
    def best(self) -> Candidate:
        """The best constant size, its rate tuned like everyone's."""
        return min(self.constants, key=lambda row: (getattr(row, self.by), row.size))

    def row(self, name: str) -> Candidate:
        """The candidate of that name."""
        return next(row for row in (*self.policies, *self.constants) if row.name == name)

    def ratio(self, name: str, unit: Unit = "steps") -> float:
        """What the candidate `name` needed over what the best constant needed; below 1 it was better."""
        return getattr(self.row(name), unit) / getattr(self.best, unit)

    def __str__(self) -> str:
        """One line a candidate; the last column is `by` relative to the best constant, which is marked."""
        rows = (*self.policies, *self.constants)
        width = max(len(_name(row, self.best)) for row in rows)
        head = f"{'':<{width}} {'rate':>8} {'loss':>9} {'steps':>11} {'examples':>13} {'seconds':>9} {'switches':>8}"
        return "\n".join([f"{head} {'x best':>9}", *(self._line(row, width) for row in rows)])

    def _line(self, row: Candidate, width: int) -> str:
        name = f"{_name(row, self.best):<{width}}"
        if math.isinf(row.seconds):
            return f"{name} {row.lr:>8.3g}  " + (
                "diverges" if math.isinf(row.loss) else f"not within {row.most:,} updates"
            )
        counts = f"{row.lr:>8.3g} {row.loss:>9.4g} {row.steps:>11,.0f} {row.examples:>13,.0f} {row.seconds:>9.4g}"
        return f"{name} {counts} {row.switches:>8} {self.ratio(row.name, self.by):>9.3g}"


def _name(row: Candidate, best: Candidate) -> str:
    return row.name + (" (best)" if row == best else "")


def compare(
    policies: Mapping[str, Policy | Maker],
    quadratic: NoisyQuadratic,
    *,
    until: Until,
    line: Speed,
    sizes: Sequence[int] = SIZES,
    lr: float | None = None,
    momentum: float = 0.0,
    epoch_size: int | None = None,
    **more: Any,
) -> Ranking:
    """Every policy and every constant size: soonest at the target of `until`, or lowest loss where it has none.

    - `policies`: by name; a function of the learning rate where a policy rests on it.
    - `line`: seconds of an update. `until`: bounds on steps, examples, epochs or seconds hold for everyone.
    - `lr`: the rate of the policies; left out, each has its own best. Constants have their own best rate always.
    - `more`: for `rehearse`: `window`, `instrument`, `plan`.

    Raises `ArgumentError` where no constant size reaches the target, where the start does already, and for patience,
    which no closed form has.

    >>> until = Until.parse("loss <= 0.13, 1e6 steps")
    >>> ranking = compare(
    ...     {}, NoisyQuadratic.power_law(100), until=until, line=Speed(0.02, 1e-4), sizes=(16, 64, 256)
    ... )
    >>> ranking.best.size, [row.steps for row in ranking.constants]
    (64, [90, 40, 29])
    """
    _check(until, sizes, quadratic.loss(quadratic.begin()))
    constants = tuple(
        _constant(quadratic, size, until=until, line=line, momentum=momentum, epoch_size=epoch_size) for size in sizes
    )
    if all(math.isinf(row.seconds) for row in constants):
        assert until.target
        lowest, most = min(row.loss for row in constants), max(row.most for row in constants)
        near = f" ({lowest:.3g} at best)" if math.isfinite(lowest) else ""
        why = f"no constant size from {min(sizes):,} to {max(sizes):,} gets there within {most:,} updates{near}"
        raise ArgumentError(must("target", "be within reach", target_text(until.target), why, "a longer run"))
    terms = {"until": until, "line": line, "momentum": momentum, "epoch_size": epoch_size, **more}
    soonest = min(row.seconds for row in constants) if until.target else math.inf
    rows = [_policy(name, policy, quadratic, lr, terms, soonest) for name, policy in policies.items()]
    return Ranking("seconds" if until.target else "loss", constants, tuple(rows))


def _check(until: Until, sizes: Sequence[int], first_loss: float) -> None:
    for size in sizes:
        require_count("sizes", size)
    if not sizes:
        raise ArgumentError(must("sizes", "name batch sizes", sizes, "policies are compared with them", "(64, 256)"))
    target, remedy = until.target, "'loss <= 0.05, 1e6 steps'"
    odd = target and (target.metric not in METRICS or target.at_least)
    if odd or until.patience is not None:
        got = target_text(target) if target and odd else "patience"
        why = "constant sizes are judged by their expected loss"
        raise ArgumentError(must("until", "hold bounds, and a target on loss or none", got, why, remedy))
    if target and target.value > (1 - 1e-9) * first_loss:
        be, why = f"be below the first loss of {first_loss:.4g}", "nobody needs an update to get there"
        raise ArgumentError(must("target", be, target_text(target), why, remedy))


def _constant(
    quadratic: NoisyQuadratic, size: int, *, until: Until, line: Speed, momentum: float, epoch_size: int | None
) -> Candidate:
    """A constant size at its best rate, in closed form."""
    each, most = line.seconds(size), MOST_STEPS
    examples = until.stop(epoch_size or 1)
    bounds = [until.updates, examples and -(-examples // size), until.seconds and math.ceil(until.seconds / each)]
    most = min([MOST_STEPS, *(bound for bound in bounds if bound is not None)])
    terms: dict[str, Any] = {"size": size, "momentum": momentum}
    name = f"constant {size:,}"
    if until.target:
        lr, steps = quadratic.best_rate(until.target.value, most=most, **terms)
        if math.isfinite(steps):
            loss = quadratic.loss(quadratic.after(quadratic.begin(), rate=lr, steps=int(steps), **terms))
            return Candidate(name, size, lr, loss, steps, steps * size, steps * each, most)
    lr, loss = quadratic.best_rate_in(most, **terms)
    steps = math.inf if until.target else most
    return Candidate(name, size, lr, loss, steps, steps * size, steps * each, most)


def _policy(
    name: str,
    policy: Policy | Maker,
    quadratic: NoisyQuadratic,
    lr: float | None,
    terms: dict[str, Any],
    soonest: float,
) -> Candidate:
    """The policy at rate `lr`, or at its best one: `SHARES`, then the middles beside the best, `HALVINGS` times."""

    def play(rate: float, limit: float) -> Candidate:
        return _played(name, policy, quadratic, rate, terms, limit)

    def key(row: Candidate) -> tuple[float, float]:
        return (row.seconds if terms["until"].target else 0.0, row.loss)

    if lr is not None:
        return play(lr, math.inf)
    first, *others = (share * quadratic.largest_rate(math.inf, terms["momentum"]) for share in SHARES)
    best = play(first, PATIENCE[0] * soonest)
    for patience in PATIENCE:
        rates, factor = others, 2.0
        for _ in range(1 + HALVINGS):
            best = min([best, *(play(rate, min(patience * soonest, best.seconds)) for rate in rates)], key=key)
            rates, factor = [best.lr / factor, best.lr * factor], math.sqrt(factor)
        if not terms["until"].target or math.isfinite(best.seconds):
            return best
    return play(best.lr, math.inf)


def _played(
    name: str, policy: Policy | Maker, quadratic: NoisyQuadratic, rate: float, terms: dict[str, Any], limit: float
) -> Candidate:
    """One dry run as a row. With a target it need not go on for more than `limit` seconds."""
    until: Until = terms["until"]
    bounds = [one for one in (until.seconds, limit) if one is not None and math.isfinite(one)]
    bound = replace(until, seconds=min(bounds, default=None)) if until.target else until
    player = policy(rate) if callable(policy) else policy
    run = rehearse(player, quadratic, lr=rate, **{**terms, "until": bound})
    diverged = run.status == "diverged"
    done = not diverged and (not until.target or run.status == "reached")
    steps, examples, seconds = (run.steps, run.examples, run.seconds) if done else (math.inf,) * 3
    loss = math.inf if diverged else run.loss
    return Candidate(name, 0, rate, loss, steps, examples, seconds, run.steps, run.switches, run)
