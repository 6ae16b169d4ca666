"""`ladle recur`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from ladle.cli.arguments import Data
from ladle.cli.common import Common, print_json, rate_from


@dataclass
class Recur(Common):
    """One run of a job that comes again and again. Picks the size from the earlier runs in --out, which remember.

    Exit code 1 where the target was not reached.
    """

    data: Data = field(kw_only=True)
    """Name (see `ladle data`), table, .npz/.npy/idx file, or file.py:task."""
    until: str = "valid_accuracy >= 0.95, 100 epochs"
    """A target, and a bound for jobs that do not reach it."""
    sizes: str = "16..512"
    """Batch sizes: 16..512 for the powers of two between, or numbers joined by commas."""
    cost: Literal["seconds", "cpu_seconds", "joules"] = "seconds"
    """What a size should save: time or processor time of training, or energy where it is measured."""
    default: int | None = None
    """The size tried first; the one nearest to 64 where left out."""
    beta: float = 2.0
    """A job is stopped at this many times the median cost of the cheapest size."""
    window: int = 0
    """Newest jobs of a size that count; 0 for all. Few follow a change of the job sooner."""
    lr: str = "auto"
    """auto, or the rate at batches of 64 that the optimiser's rule carries to each size."""
    country: str | None = None
    """ISO code of three letters, such as CHE: the carbon of its grid beside the energy."""
    seed: int = 0
    """Seed of the draws, and of the first run; every run has another."""

    def run(self) -> int:
        from ladle.api.recur import recur

        rate = rate_from(self.lr, words=("auto",))
        options = self.options(self.data, rate if isinstance(rate, float) else None)
        name = Path(self.data.partition(":")[0]).name.partition(".")[0] or "job"
        folder = self.out or Path("runs") / f"recur-{name}"
        done = recur(
            options.task(),
            folder,
            until=self.until,
            sizes=self.sizes,
            cost=self.cost,
            default=self.default,
            beta=self.beta,
            window=self.window,
            seed=self.seed,
            country=self.country,
            facts={"task": asdict(options)},
        )
        if self.json:
            print_json({"folder": str(done.run.folder), **asdict(done.job), "energy": done.used.to_json()})
        else:
            print(f"size {done.job.size}: {done.job.reason}\n{done}\n{done.used}\nfolder {done.run.folder}")
        return 0 if done.job.reached else 1
