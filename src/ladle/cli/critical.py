"""`ladle critical`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from ladle.cli import lists
from ladle.cli.arguments import Data, Rate
from ladle.cli.common import Common, print_json
from ladle.cli.folders import require_data
from ladle.core import record
from ladle.core.beside import folders_beside
from ladle.core.errors import ArgumentError, must


@dataclass(frozen=True)
class CriticalVerb(Common):
    """The critical batch size, measured: by branches of a run at several sizes, or by steps to a target."""

    data: Data
    """Folder of a `ladle train` run; with --steps-to a data set, file, or file.py:task."""
    factors: str | None = None
    """Branches: multiples of the run's batch size, ascending from 1, joined by commas or spaces. Where left out:
    1,2,4,8,16, as far as there are rows."""
    examples: str = "1 epoch"
    """Branches: how far each one goes; a number, or "2 epochs"."""
    rule: Literal["linear", "square root"] | None = None
    """Branches: how the rate follows the size; the optimiser's usual rule where left out."""
    micro_size: int | None = None
    """Examples per forward pass; the run's own for branches, chosen for steps to a target, where left out."""
    seeds: int | None = None
    """Branches: data orders, 3 where left out; the first is the run's own. Steps to a target: runs per rate, 1."""
    margin: float = 0.01
    """Branches: the loss by which a size may be worse and still count as harmless."""
    steps_to: str | None = None
    """Measure steps to this target instead: valid_loss=0.4, or valid_accuracy=0.95."""
    sizes: str | None = None
    """Steps to a target: batch sizes, joined by commas or spaces. Where left out: 8,16,32,64,128,256, as far as there
    are rows."""
    until: str = "100 epochs"
    """Steps to a target: what a size may spend on each try."""
    lr: Rate = "auto"
    """Steps to a target: auto, or the rate at 64 that each sweep of rates begins around."""
    base: float | None = None
    """Steps to a target: the size from which the 20 % definition scales; the smallest where left out."""

    def run(self) -> int:
        folder = self.out or record.free_folder("critical", self.data)
        found = self._branches(folder) if self.steps_to is None else self._steps(folder)
        if self.json:
            print_json({**found.to_json(), "folder": str(folder)})
        else:
            print(f"{found}\nfolder  {folder}\npicture {folder / 'critical.png'}")
        return 0

    def _branches(self, folder: Path) -> Any:
        from ladle.api.critical_branches import SEEDS, measure
        from ladle.api.request import Request

        self._require_run()
        self._require_untouched([one.name for one in fields(Common) if one.name not in ("data", "out", "json")])
        self._require_untouched(["sizes", "until", "lr", "base"])
        factors = None if self.factors is None else lists.counts("factors", self.factors)
        how = {"factors": factors, "rule": self.rule, "micro_size": self.micro_size}
        how |= {"seeds": SEEDS if self.seeds is None else self.seeds, "margin": self.margin}
        require_data(Request.of_folder(Path(self.data)).task, Path(self.data))
        return measure(self.data, examples=self.examples, out=folder, show=not self.json, **how)

    def _steps(self, folder: Path) -> Any:
        from ladle.api.critical_steps import measure_steps

        assert self.steps_to is not None
        self._require_untouched(["factors", "examples", "rule", "margin"])
        task = self.options().task()
        how = {"seeds": 1 if self.seeds is None else self.seeds, "until": self.until, "micro_size": self.micro_size}
        how |= {"sizes": None if self.sizes is None else lists.sizes("sizes", self.sizes), "base": self.base}
        return measure_steps(task, self.steps_to, out=folder, show=not self.json, **how)

    def _require_run(self) -> None:
        """Refuse what is no folder: a data set wants a target, a slip of the pen the run that is meant."""
        if Path(self.data).is_dir():
            return
        why, target = "branches begin at its newest checkpoint", "--steps-to valid_loss=0.4 for a data set"
        near = folders_beside(Path(self.data), "", (record.RUN_FILE,)) if not Path(self.data).exists() else ""
        raise ArgumentError(must("DATA", "be a run folder", self.data, why, f"{near}, or {target}" if near else target))

    def _require_untouched(self, names: list[str]) -> None:
        """Refuse options of the other way to measure: they would be left unused without a word."""
        for one in fields(self):
            if one.name in names and getattr(self, one.name) != one.default:
                option = "--" + one.name.replace("_", "-")
                why = "a run folder says itself what was trained" if self.steps_to is None else "it is for branches"
                remedy = "--steps-to" if self.steps_to is None else "a run folder"
                raise ArgumentError(must(option, "be left out here", getattr(self, one.name), why, remedy))
