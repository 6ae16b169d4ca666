"""Which batch size a job that comes again and again should try next: a bandit over sizes (Zeus, You et al. 2023).

1. Two rounds of walking from the default size down, then up, each way until a size misses the target. The second
   round starts from the cheapest size of the first and walks over the sizes that reached the target in it.
2. Thompson sampling: a mean cost is drawn for each size from what its trials leave possible, and the lowest draw is
   tried.

Zeus takes the variance of two runs for the true one, so that two runs that happen to agree are trusted without limit
and the better size may never be tried again. Here the variance is unknown as well, which makes the posterior of the
mean a Student t. And a size that missed the target once may have had a bad day: a miss is an observation of how often
it misses, so it comes back, ever more rarely. Zeus stops a job at a multiple of the cheapest one ever, which sinks with
every lucky job until usual ones are stopped; here it is a multiple of what the cheapest size usually costs.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ladle.core.errors import ArgumentError, must
from ladle.core.seed import seed_words
from ladle.core.spec import require_count

PRIOR_SD = 0.3
"""Before any job ran twice: runs of one size are believed to differ by 30 % in cost."""

PRIOR_WEIGHT = 1.0
"""How many degrees of freedom that belief is worth."""

LARGEST_LOG = 600.0
"""Draws of a Student t with one degree of freedom have no bound; their exponential has."""


@dataclass(frozen=True)
class JobCost:
    """One job: its `size`, what it `cost` (> 0, in any unit that is kept to), and whether it `reached` the target."""

    size: int
    cost: float
    reached: bool

    def __post_init__(self) -> None:
        require_count("size", self.size)
        if not 0 < self.cost < math.inf:
            raise ArgumentError(must("cost", "be positive", self.cost, "a job costs something", "a measured cost"))


@dataclass(frozen=True)
class StudentT:
    """What `count` values say of their mean: `mean + scale * t` with `dof` degrees of freedom.

    - `sd`: of one value, as far as it is known. `dof` inf: it is known, and t is normal.
    """

    mean: float
    sd: float
    count: int
    dof: float

    @property
    def scale(self) -> float:
        return self.sd / math.sqrt(self.count)

    def draw(self, rng: np.random.Generator) -> tuple[float, float]:
        """A mean of the values and a variance of one of them that may be the true ones.

        variance ~ dof sd^2 / chi^2(dof),  mean ~ N(mean, variance / count); the mean alone is then the Student t.
        """
        variance = self.sd**2 * (1.0 if math.isinf(self.dof) else self.dof / float(rng.chisquare(self.dof)))
        return float(rng.normal(self.mean, math.sqrt(variance / self.count))), variance


def student(
    values: Sequence[float] | np.ndarray, *, prior_sd: float = PRIOR_SD, prior_weight: float = PRIOR_WEIGHT
) -> StudentT:
    """Posterior of the mean of normal `values` whose variance is unknown too.

    Normal-inverse-gamma with no prior knowledge of the mean, and `prior_weight` degrees of freedom of the variance
    `prior_sd`^2:  dof = w + n - 1,  s^2 = (w prior_sd^2 + sum (x - mean)^2) / dof,  scale = s / sqrt(n).
    Weight 0 is the t interval of every textbook (n >= 2); weight inf is a variance that is known.

    >>> student([1.0, 2.0, 3.0], prior_weight=0)
    StudentT(mean=2.0, sd=1.0, count=3, dof=2)
    >>> student([1.0, 2.0, 3.0], prior_sd=0.5, prior_weight=math.inf)
    StudentT(mean=2.0, sd=0.5, count=3, dof=inf)
    """
    x = np.asarray(values, np.float64)
    mean, dof = float(x.mean()), prior_weight + len(x) - 1
    if dof <= 0:
        raise ArgumentError(must("values", "be two or more without a prior", len(x), "one has no spread", "a prior"))
    spread = float(((x - mean) ** 2).sum())
    variance = prior_sd**2 if math.isinf(dof) else (prior_weight * prior_sd**2 + spread) / dof
    return StudentT(mean, math.sqrt(variance), len(x), dof)


@dataclass(frozen=True)
class Pick:
    """The size to try, and why in words. `draws`: the cost drawn for each size, where sizes were drawn."""

    size: int
    reason: str
    draws: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Bandit:
    """Picks sizes from trials. Remembers nothing: the same trials lead to the same pick.

    - `sizes`: ascending. `default`: where the walk starts, one of them.
    - `rounds`: of walking. `beta`: a job is stopped at `beta` times the median cost of the cheapest size.
    - `window`: trials of a size that count, the newest; 0 for all. Few follow a drift of the job sooner.

    >>> bandit = Bandit((16, 32, 64), default=32)
    >>> bandit.pick([]).size, bandit.pick([JobCost(32, 1.0, True)]).size
    (32, 16)
    """

    sizes: tuple[int, ...]
    default: int
    rounds: int = 2
    beta: float = 2.0
    window: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for size in self.sizes:
            require_count("sizes", size)
        if not self.sizes or list(self.sizes) != sorted(set(self.sizes)):
            why = "a walk goes from one to the next"
            raise ArgumentError(must("sizes", "be different and ascending", self.sizes, why, "16,32,64"))
        if self.default not in self.sizes:
            raise ArgumentError(
                must("default", "be one of the sizes", self.default, "it is tried first", str(self.sizes[0]))
            )
        if not self.beta > 1:
            why = "a job must be allowed to cost more than the cheapest"
            raise ArgumentError(must("beta", "be above 1", self.beta, why, "2"))
        if self.rounds < 0 or self.window < 0:
            why = "they count walks and trials"
            raise ArgumentError(
                must("rounds and window", "not be negative", (self.rounds, self.window), why, "2 and 0")
            )
        seed_words(self.seed)

    def pick(self, trials: Sequence[JobCost]) -> Pick:
        """The size for the next job after `trials`, oldest first; those of other sizes are left out."""
        known = [trial for trial in trials if trial.size in self.sizes]
        return self._walk(known) or self._untried(known) or self._thompson(known)

    def limit(self, trials: Sequence[JobCost]) -> float:
        """The cost at which the next job is stopped: `beta` times the lowest median of a size that reached the target.

        `inf` while nothing is known. Doubled for each miss since the target was last reached: where the job itself
        became dearer, every size would miss for ever.

        >>> bandit = Bandit((16, 32), default=16)
        >>> bandit.limit([JobCost(16, 3.0, True)]), bandit.limit([JobCost(16, 3.0, True), JobCost(32, 6.0, False)])
        (6.0, 12.0)
        """
        known = [trial for trial in trials if trial.size in self.sizes]
        costs = [[trial.cost for trial in self._recent(known, size) if trial.reached] for size in self.sizes]
        cheapest = min((statistics.median(one) for one in costs if one), default=math.inf)
        misses = next((i for i, trial in enumerate(reversed(known)) if trial.reached), len(known))
        return self.beta * cheapest * 2.0 ** min(misses, 60)

    def _recent(self, trials: Sequence[JobCost], size: int) -> list[JobCost]:
        return [trial for trial in trials if trial.size == size][-self.window :]

    def _walk(self, trials: Sequence[JobCost]) -> Pick | None:
        """The next step of the walk, or None once it is over."""
        of_size = {size: [trial for trial in trials if trial.size == size] for size in self.sizes}
        start, kept = self.default, self.sizes
        for number in range(self.rounds):
            reached: list[JobCost] = []
            down, up = [size for size in kept if size <= start], [size for size in kept if size > start]
            for way, path in (("down", down[::-1]), ("up", up)):
                for size in path:
                    if len(of_size[size]) <= number:
                        return Pick(size, f"round {number + 1} of {self.rounds}, walking {way} from {start}")
                    if not of_size[size][number].reached:
                        break
                    reached.append(of_size[size][number])
            if not reached:
                return None
            start = min(reached, key=lambda trial: trial.cost).size
            kept = tuple(sorted(trial.size for trial in reached))
        return None

    def _untried(self, trials: Sequence[JobCost]) -> Pick | None:
        """A size that the walk did not come to, once its neighbour towards the default has reached the target.

        Where no size has, the untried one nearest to the default.
        """
        tried = {trial.size for trial in trials}
        reached = {trial.size for trial in trials if trial.reached}
        place = self.sizes.index(self.default)
        for index, size in sorted(enumerate(self.sizes), key=lambda one: abs(one[0] - place)):
            if size in tried:
                continue
            nearer = self.sizes[index + (1 if index < place else -1)] if index != place else None
            if not reached or nearer in reached:
                return Pick(size, "not tried yet" if reached else "no size has reached the target yet")
        return None

    def _thompson(self, trials: Sequence[JobCost]) -> Pick:
        rng = np.random.default_rng((self.seed, len(trials)))
        tried = sorted({trial.size for trial in trials})
        draws = {size: self._draw(trials, size, rng) for size in tried}
        size = min(draws, key=lambda one: draws[one])
        return Pick(size, f"cheapest of {len(draws)} draws from what is known of each size", draws)

    def _draw(self, trials: Sequence[JobCost], size: int, rng: np.random.Generator) -> float:
        """A mean cost of reaching the target with `size`, misses on the way included, that its trials leave possible.

        Costs are drawn as logarithms: they are positive, and their spread is a share of them. What is paid in the long
        run is their mean exp(m + s^2 / 2), not the median exp(m); at most `beta` medians, since a dearer job is stopped
        and is a miss. With a chance p of reaching the target, (1 - p) / p jobs miss before one does;
        p ~ Beta(1 + reached, missed).
        """
        recent = self._recent(trials, size)
        costs = [math.log(trial.cost) for trial in recent if trial.reached]
        missed = [trial.cost for trial in recent if not trial.reached]
        elsewhere = [math.log(trial.cost) for trial in trials if trial.reached] or [math.log(t.cost) for t in trials]
        prior = StudentT(float(np.mean(elsewhere)), max(PRIOR_SD, float(np.std(elsewhere))), 1, PRIOR_WEIGHT)
        mean, variance = (student(costs) if costs else prior).draw(rng)
        log_cost = mean + min(variance / 2, math.log(self.beta))
        cost = math.exp(min(max(log_cost, -LARGEST_LOG), LARGEST_LOG))
        if not missed:
            return cost
        chance = max(float(rng.beta(1 + len(costs), len(missed))), 1e-9)
        return cost + (1 - chance) / chance * float(np.mean(missed))
