"""`ladle compare`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from ladle.cli import lists
from ladle.cli.arguments import Budget, Rate
from ladle.cli.common import Common, print_json
from ladle.core import record
from ladle.core.duration import Until
from ladle.core.errors import ArgumentError, must


@dataclass(frozen=True)
class Compare(Common):
    """Batch sizes side by side: same data, model, seeds, initial parameters and budget. Table, picture, report."""

    sizes: str | None = None
    """Batch sizes, joined by commas or spaces: numbers, full, planned. Where left out: full,64,1,planned."""
    epochs: float | None = None
    """Budget of each run in epochs (default 30)."""
    budget: Budget = None
    """Budget of each run in another unit: 60s, "2e6 examples", "5000 steps"; --until is the same."""
    seeds: int = 3
    """Runs per size; the spread is drawn as a band."""
    lr: Rate = "auto"
    """auto (the best of those tried at each size), rule (the optimiser's, from its usual rate), or a rate at 64."""
    memory: str | None = None
    """Memory limit for the planned size, such as 2GB."""
    baselines: bool = False
    """Fit scikit-learn's linear model and gradient boosting to the same rows, and say which is better."""
    workers: str | None = None
    """Who trains the runs: devices, processes, "hosts:ssh one,ssh two", submitit or ray; with a number after a colon:
    processes:4. Where left out: this process, one run after the other."""
    overwrite: bool = False
    """Remove the comparison that is in --out first."""

    RATES: ClassVar = ("auto", "rule", "sweep")

    def _until(self) -> Until:
        """The budget of a run. A refusal speaks of the option that was given."""
        option, text = "budget", self.budget
        if text is None:
            option, text = "epochs", f"{30 if self.epochs is None else self.epochs:g} epochs"
        try:
            return Until.parse(text)
        except ArgumentError as error:
            raise ArgumentError(option + str(error).removeprefix("until")) from None

    def run(self) -> int:
        from ladle.api.compare import compare

        if self.epochs is not None and self.budget is not None:
            why, remedy = "--epochs is a budget too", "one of the two"
            raise ArgumentError(must("budget", "be given alone", self.budget, why, remedy))
        options, until = self.options(), self._until()
        folder = self.out or record.free_folder("compare", self.data)
        done = compare(
            options.task(),
            sizes=None if self.sizes is None else lists.sizes("sizes", self.sizes, ("full", "planned")),
            seeds=self.seeds,
            until=until,
            lr=self.lr if self.lr in self.RATES else float(options.lr),
            out=folder,
            overwrite=self.overwrite,
            memory=self.memory,
            baselines=self.baselines,
            workers=self.workers,
            show=not self.json,
            facts={"task": asdict(options.located())},
            options=options.located(),
        )
        self._print(done)
        return 0

    def _print(self, done: Any) -> None:
        folder = done.folder
        if self.json:
            plain = {} if done.baselines is None else {"baselines": done.facts["baselines"]}
            print_json({"folder": str(folder), "runs": done.facts["runs"], **plain})
            return
        print(done)
        for finding in done.facts.get("findings", []):
            print(f"{finding['verdict']:>12}  {finding['title']}: {finding['sentence']}")
        print(f"folder  {folder}\npicture {folder / 'curves.png'}\nreport  {folder / 'report.html'}")
