"""How a space is searched: all of it, ever fewer for ever longer, or as a model proposes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ladle.search.halving import FACTOR, Level, levels
from ladle.search.optuna import Proposals
from ladle.search.row import Row
from ladle.search.space import Space
from ladle.search.trial import Candidate, Outcome, Stretch, Trial

PROPOSED = 20
"""Candidates of a model-based search where no number is given."""

TrainStretches = Callable[[Sequence[Stretch]], Sequence[Outcome]]
"""Whoever trains stretches of trials: their outcomes, in their order."""

Held = dict[Trial, Outcome]


def grid(space: Space, work: TrainStretches) -> list[Row]:
    """Every candidate for the whole budget."""
    return train(space, work, space.grid, Level(len(space.grid), 1), {})


def halving(space: Space, work: TrainStretches) -> list[Row]:
    """All for a short time, ever fewer for longer. Who diverges at a level is replaced by the next best that is left.

    So one candidate at least reaches the end wherever one can, and as many as the last level has room for.
    """
    sign = -1.0 if space.higher else 1.0
    rows: dict[Candidate, Row] = {}
    waiting, held = space.grid, {}  # The most promising first.
    for level in levels(len(waiting), space.epochs):
        passed: list[Row] = []
        while waiting and len(passed) < level.count:
            room = level.count - len(passed)
            now, waiting = sorted(waiting[:room]), waiting[room:]
            tried = train(space, work, now, level, held)
            rows |= {row.candidate: row for row in tried}
            passed += [row for row in tried if not row.diverged]
        waiting = [row.candidate for row in sorted(passed, key=lambda row: sign * row.score.mean)] + waiting
    return [rows[candidate] for candidate in space.grid]


def model(space: Space, work: TrainStretches, trials: int = PROPOSED) -> list[Row]:
    """`trials` candidates as Optuna proposes them; hopeless ones end early."""
    proposals = Proposals(space.sizes, space.lrs, higher=space.higher, seed=space.seed, factor=FACTOR)
    stages = levels(trials, space.epochs)
    rows: list[Row] = []
    for _ in range(trials):
        ticket, candidate = proposals.ask()
        held: Held = {}
        for number, stage in enumerate(stages):
            (row,) = train(space, work, [candidate], stage, held)
            if row.diverged or row.complete or proposals.hopeless(ticket, FACTOR**number, row.score.mean):
                break
        proposals.tell(ticket, row.score.mean if row.complete and not row.diverged else None)
        rows.append(row)
    return sorted(rows, key=lambda row: row.candidate)


METHODS: Mapping[str, Callable[..., list[Row]]] = {"grid": grid, "halving": halving, "model": model}


def train(space: Space, work: TrainStretches, candidates: Sequence[Candidate], level: Level, held: Held) -> list[Row]:
    """All trials of `candidates` up to a level, each from where `held` has it; `held` then has them there."""
    stretches = [
        Stretch(trial, level.updates(space.updates(candidate.size)), *_left(held, trial), keep=level.divisor > 1)
        for candidate in candidates
        for trial in space.trials_of(candidate)
    ]
    for outcome in work(stretches):
        before = held.get(outcome.trial)
        seconds = outcome.seconds + (before.seconds if before else 0.0)
        held[outcome.trial] = replace(outcome, seconds=seconds)
    return [Row.of(space, candidate, [held[trial] for trial in space.trials_of(candidate)]) for candidate in candidates]


def _left(held: Held, trial: Trial) -> tuple[int, Any]:
    before = held.get(trial)
    return (0, None) if before is None else (before.updates, before.state)
