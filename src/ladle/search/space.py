"""What a search tries: every size with every rate, on every fold, from every seed, each for the same budget."""

from __future__ import annotations

from dataclasses import dataclass

from ladle.core.batch import updates_until
from ladle.core.duration import Until
from ladle.search.folds import Folds
from ladle.search.trial import Candidate, Trial


@dataclass(frozen=True)
class Space:
    """All that is tried, and what it is judged by.

    - `sizes`, `lrs`: ascending. `seeds`: runs of each fold. `until`: the budget, in epochs, examples or updates.
    - `metric`: what is read on the fold left out; `higher`: whether more of it is better. `seed`: of proposals.

    >>> from ladle.search.folds import folds_of
    >>> space = Space((4, 8), (0.1, 0.2), folds_of(12, 3, seed=0), 2, Until(epochs=3), "valid_loss", 0)
    >>> space.updates(4), space.updates(8), space.describe()
    (6, 3, '2 sizes x 2 rates x 3 folds x 2 seeds')
    """

    sizes: tuple[int, ...]
    lrs: tuple[float, ...]
    folds: Folds
    seeds: int
    until: Until
    metric: str
    seed: int
    higher: bool = False

    @property
    def grid(self) -> list[Candidate]:
        """All candidates, those with the most updates first: the last ones to end are then short."""
        return [Candidate(size, lr) for size in self.sizes for lr in self.lrs]

    def updates(self, size: int) -> int:
        """Updates of a whole trial at `size`."""
        rows = self.folds.epoch_size
        stop = self.until.stop(rows)
        bounds = [] if stop is None else [updates_until(0, stop, size, rows)]
        return min([*bounds, *([] if self.until.updates is None else [self.until.updates])])

    @property
    def epochs(self) -> float:
        """The budget in epochs, of the size that gets the fewest."""
        rows = self.folds.epoch_size
        return min(self.updates(size) / -(-rows // size) for size in self.sizes)

    @property
    def passes(self) -> int:
        """Passes of the size that makes the most, the begun one counted."""
        return max(-(-self.updates(size) // -(-self.folds.epoch_size // size)) for size in self.sizes)

    def trials_of(self, candidate: Candidate) -> list[Trial]:
        return [Trial(candidate, fold, seed) for fold in range(self.folds.count) for seed in range(self.seeds)]

    def describe(self, proposed: int | None = None) -> str:
        """In words. `proposed`: how many candidates, where they are not those of the grid."""
        grid = f"{len(self.sizes)} sizes x {len(self.lrs)} rates"
        what = grid if proposed is None else f"{proposed} candidates"
        return f"{what} x {self.folds.count} folds x {self.seeds} {'seed' if self.seeds == 1 else 'seeds'}"
