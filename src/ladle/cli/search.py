"""`ladle search`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ladle.cli import lists
from ladle.cli.arguments import Unused
from ladle.cli.common import Common, print_json
from ladle.core import record


@dataclass(frozen=True)
class SearchVerb(Common):
    """Batch sizes and learning rates by cross-validation: every size, rate, fold and seed from one compiled program."""

    sizes: str | None = None
    """Batch sizes, joined by commas or spaces; full for all rows that a fold trains on. Where left out: 16,32,64,128,
    as far as there are rows."""
    lr: Unused = "auto"
    lrs: str = "auto"
    """Learning rates, joined by commas or spaces, each used as it is at every size; auto: 0.3, 1 and 3 times the usual
    one."""
    folds: int | None = None
    """Parts of the training rows, each left out once and judged on; classes are spread evenly over them. Where left
    out: 5, or as many as can each hold two classes."""
    seeds: int = 1
    """Runs of each fold, with other initial parameters and orders."""
    until: str = "20 epochs"
    """Budget of each trial: epochs, examples or steps."""
    method: Literal["grid", "halving", "model"] = "grid"
    """grid: all; halving: ever fewer for ever longer, three to the end; model: Optuna proposes, poor ones end early."""
    trials: int | None = None
    """Candidates with --method model (default 20)."""
    metric: str | None = None
    """valid_accuracy, valid_loss, ...: what is judged by, on the fold left out."""
    prefer: Literal["seconds", "updates"] = "seconds"
    """What makes a size the cheapest, among the candidates within one standard error of the best."""
    workers: str = "auto"
    """threads, vmapped, devices, processes, submitit or ray, with a number after a colon: processes:4; or
    "hosts:ssh one,ssh two", a worker for each command."""
    micro_size: int | None = None
    """Examples per forward pass, the one compiled size; chosen where left out."""
    refit: bool = False
    """Train the choice on all training rows, and judge it on the validation rows, which no fold holds."""
    seed: int = 0
    """Seed of the folds, and of proposals."""
    overwrite: bool = False
    """Remove the search that is in --out first."""

    def run(self) -> int:
        from ladle.api.result_folder import require_free
        from ladle.api.search import search
        from ladle.core.record import SEARCH_FILE

        options = self.options()
        folder = self.out or record.free_folder("search", self.data)
        require_free(folder, SEARCH_FILE, self.overwrite)
        found = search(
            options.task(),
            sizes=None if self.sizes is None else lists.sizes("sizes", self.sizes),
            lrs=None if self.lrs == "auto" else lists.rates("lrs", self.lrs),
            folds=self.folds,
            seeds=self.seeds,
            until=self.until,
            method=self.method,
            trials=self.trials,
            metric=self.metric,
            prefer=self.prefer,
            workers=self.workers,
            micro_size=self.micro_size,
            refit=self.refit,
            seed=self.seed,
            out=folder,
            show=not self.json,
            options=options.located(),
            overwrite=self.overwrite,
        )
        self._print(found)
        return 0

    def _print(self, found: Any) -> None:
        from ladle.api.search_result import to_json

        folder = found.folder
        if self.json:
            print_json({"folder": str(folder), **to_json(found)})
            return
        print(found)
        chosen = found.chosen.candidate
        print(f"chosen  --size {chosen.size} --lr {chosen.lr:g}")
        if found.refit is not None:
            final = found.refit.final
            print(f"refit   {found.metric} {final.get(found.metric, float('nan')):.4f} on rows that no fold held")
        print(f"folder  {folder} (search.json)")
