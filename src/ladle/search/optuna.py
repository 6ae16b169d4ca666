"""Candidates proposed by a model of what was seen so far: Optuna's ask-and-tell interface, behind three words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ladle.core.errors import ArgumentError, must
from ladle.search.trial import Candidate


class Proposals:
    """A study of sizes and rates: tree-structured Parzen estimator with pruning by asynchronous successive halving.

    - `sizes`, `lrs`: their smallest and largest are the ends of what is proposed; both on a logarithmic scale.
    - `factor`: see `hopeless`.

    The same seed and the same answers give the same proposals. Raises `ArgumentError` where Optuna is missing.

    Sources: Bergstra et al., NeurIPS 2011 (TPE); Li et al., MLSys 2020 (asynchronous halving); optuna.readthedocs.io,
    "Ask-and-Tell Interface".
    """

    def __init__(self, sizes: Sequence[int], lrs: Sequence[float], *, higher: bool, seed: int, factor: int) -> None:
        optuna = _optuna()
        self.sizes, self.lrs = (min(sizes), max(sizes)), (min(lrs), max(lrs))
        self._pruned = optuna.trial.TrialState.PRUNED
        self._failed = optuna.trial.TrialState.FAIL
        before = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # It tells of every study it makes, on standard error.
        try:
            self.study = optuna.create_study(
                direction="maximize" if higher else "minimize",
                sampler=optuna.samplers.TPESampler(seed=seed % 2**32),
                pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=factor),
            )
        finally:
            optuna.logging.set_verbosity(before)

    def ask(self) -> tuple[Any, Candidate]:
        """The next candidate, and the ticket to report on it with."""
        ticket = self.study.ask()
        size = ticket.suggest_int("size", *self.sizes, log=True)
        return ticket, Candidate(size, ticket.suggest_float("lr", *self.lrs, log=True))

    def hopeless(self, ticket: Any, step: int, value: float) -> bool:
        """Report a reading on the way, after `step` (1, factor, factor^2, ...) shares of the budget. True: give up."""
        ticket.report(value, step)
        return bool(ticket.should_prune())

    def tell(self, ticket: Any, value: float | None) -> None:
        """How a candidate ended: its value, or None where it was given up or diverged."""
        if value is not None:
            self.study.tell(ticket, value)
        else:
            seen = bool(self.study.trials[ticket.number].intermediate_values)
            self.study.tell(ticket, state=self._pruned if seen else self._failed)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        why = "the model of a model-based search is Optuna's"
        remedy = "pip install 'ladle[search]', or method='halving'"
        raise ArgumentError(must("method", "be one that is installed", "model", why, remedy)) from None
    return optuna
