"""`ladle search`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ladle.cli.arguments import Data
from ladle.cli.common import Common, print_json
from ladle.core import record
from ladle.core.errors import ArgumentError, must


@dataclass
class SearchVerb(Common):
    """Batch sizes and learning rates by cross-validation: every size, rate, fold and seed from one compiled program."""

    data: Data = field(kw_only=True)
    """Name (see `ladle data`), table, .npz/.npy file, or file.py:task."""
    sizes: str = "16,32,64,128"
    """Batch sizes, joined by commas; full for all rows that a fold trains on."""
    lrs: str = "auto"
    """Learning rates, joined by commas, each used as it is at every size; auto: 0.3, 1 and 3 times the usual one."""
    folds: int = 5
    """Parts of the training rows, each left out once and judged on; classes are spread evenly over them."""
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
    """threads, vmapped, processes, submitit or ray; with a number after a colon: processes:4."""
    micro_size: int | None = None
    """Examples per forward pass, the one compiled size; chosen where left out."""
    refit: bool = False
    """Train the choice on all training rows, and judge it on the validation rows, which no fold holds."""
    seed: int = 0
    """Seed of the folds, and of proposals."""

    def run(self) -> int:
        from ladle.api.search import SEARCH_FILE, search
        from ladle.api.search_result import to_json

        options = self.options(self.data)
        folder = self.out or record.free_folder("search", self.data)
        record.require_new(folder, "another --out")
        found = search(
            options.task(),
            sizes=_listed(self.sizes),
            lrs=None if self.lrs == "auto" else [_number(text) for text in _listed(self.lrs)],
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
            options=options,
        )
        if self.json:
            print_json({"folder": str(folder), **to_json(found)})
            return 0
        print(found)
        chosen = found.chosen.candidate
        print(f"chosen  --size {chosen.size} --lr {chosen.lr:g}")
        if found.refit is not None:
            final = found.refit.final
            print(f"refit   {found.metric} {final.get(found.metric, float('nan')):.4f} on rows that no fold held")
        print(f"folder  {folder} ({SEARCH_FILE})")
        return 0


def _listed(text: str) -> list[str]:
    return [part for part in text.replace(" ", "").split(",") if part]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ArgumentError(
            must("lrs", "be positive numbers", text, "a rate says how far to step", "--lrs 1e-3,1e-2")
        ) from None
