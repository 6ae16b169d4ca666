"""`ladle recur`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from ladle.cli import lists
from ladle.cli.arguments import Rate
from ladle.cli.common import Common, print_json


@dataclass(frozen=True)
class Recur(Common):
    """One run of a job that comes again and again. Picks the size from the earlier runs in --out, which remember.

    Exit code 1 where the target was not reached.
    """

    until: str | None = None
    """A target, and a bound for jobs that do not reach it. Where left out: that of the jobs in --out, or
    "valid_accuracy >= 0.95, 100 epochs", or of amounts "valid_loss <= 0.1, 100 epochs"."""
    sizes: str | None = None
    """Batch sizes: 16..512 for the powers of two between (the default), or numbers joined by commas or spaces."""
    cost: Literal["seconds", "cpu_seconds", "joules"] = "seconds"
    """What a size should save: time or processor time of training, or energy where it is measured."""
    default: int | None = None
    """The size tried first; the one nearest to 64 where left out."""
    beta: float = 2.0
    """A job is stopped at this many times the median cost of the cheapest size."""
    window: int = 0
    """Newest jobs of a size that count; 0 for all. Few follow a change of the job sooner."""
    lr: Rate = "auto"
    """auto, or the rate at batches of 64 that the optimiser's rule carries to each size."""
    country: str | None = None
    """ISO code of three letters, such as CHE: the carbon of its grid beside the energy."""
    seed: int = 0
    """Seed of the draws, and of the first run; every run has another."""

    def run(self) -> int:
        from ladle.api.recur import recur

        options = self.options()
        name = Path(self.data.partition(":")[0]).name.partition(".")[0] or "job"
        folder = self.out or Path("runs") / f"recur-{name}"
        done = recur(
            options.task(),
            folder,
            until=self.until,
            sizes=self._sizes(),
            cost=self.cost,
            default=self.default,
            beta=self.beta,
            window=self.window,
            seed=self.seed,
            country=self.country,
            show=not self.json,
            facts={"task": asdict(options.located())},
        )
        if self.json:
            print_json({"folder": str(done.run.folder), **asdict(done.job), "energy": done.used.to_json()})
        else:
            print(f"size {done.job.size}: {done.job.reason}\n{done}\n{done.used}\nfolder {done.run.folder}")
        return 0 if done.job.reached else 1

    def _sizes(self) -> str | list[int] | None:
        """A range stays a text; a list is read as everywhere."""
        if self.sizes is None or ".." in self.sizes:
            return self.sizes
        return lists.counts("sizes", self.sizes)
