"""`ladle compare`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from ladle.cli.arguments import Budget, Data
from ladle.cli.common import Common, print_json, rate_from
from ladle.core import record
from ladle.core.duration import Until
from ladle.core.errors import ArgumentError, must


@dataclass
class Compare(Common):
    """Batch sizes side by side: same data, model, seeds, initial parameters and budget. Table, picture, report."""

    data: Data = field(kw_only=True)
    """Name (see `ladle data`), table, .npz/.npy/idx file, or file.py:task."""
    sizes: str = "full,64,1,planned"
    """Batch sizes, joined by commas: numbers, full, planned."""
    epochs: float | None = None
    """Budget of each run in epochs (default 30)."""
    budget: Budget = None
    """Budget of each run in another unit: 60s, "2e6 examples", "5000 steps"; --until is the same."""
    seeds: int = 3
    """Runs per size; the spread is drawn as a band."""
    lr: str = "auto"
    """auto (the optimiser's rule from one reference), sweep (the best of a short sweep per size), or a rate at 64."""
    memory: str | None = None
    """Memory limit for the planned size, such as 2GB."""

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

        sizes = [size for size in self.sizes.replace(" ", "").split(",") if size]
        if self.epochs is not None and self.budget is not None:
            raise ArgumentError(
                must("budget", "be given alone", self.budget, "--epochs is a budget too", "one of the two")
            )
        rate = rate_from(self.lr, words=("auto", "sweep"))
        options = self.options(self.data)
        folder = self.out or record.free_folder("compare", self.data)
        done = compare(
            options.task(),
            sizes=sizes,
            seeds=self.seeds,
            until=self._until(),
            lr=rate if isinstance(rate, float) else ("sweep" if rate == "sweep" else "rule"),
            out=folder,
            memory=self.memory,
            show=not self.json,
            facts={"task": asdict(options)},
        )
        if self.json:
            print_json({"folder": str(folder), "runs": done.facts["runs"]})
        else:
            print(done)
            for finding in done.facts.get("findings", []):
                print(f"{finding['verdict']:>12}  {finding['title']}: {finding['sentence']}")
            print(f"folder  {folder}\npicture {folder / 'curves.png'}\nreport  {folder / 'report.html'}")
        return 0
