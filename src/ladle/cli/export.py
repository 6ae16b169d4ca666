"""`ladle export`."""

from __future__ import annotations

from dataclasses import dataclass

from ladle.cli.arguments import ModelFolder, NewFolder
from ladle.cli.common import print_json


@dataclass(frozen=True)
class ExportVerb:
    """A trained model as a program (StableHLO or torch.export) for others without ladle; checked bit for bit."""

    folder: ModelFolder
    """Folder that run.save or `ladle train` wrote."""
    out: NewFolder
    """Folder to write."""
    model: str | None = None
    """file.py:task, for a saved model that is not built in."""
    overwrite: bool = False
    """Remove the export that is in OUT first."""
    json: bool = False
    """One JSON object on standard output and nothing else."""

    def run(self) -> int:
        from ladle.api.load import load

        made = load(self.folder, model=self.model)
        folder = made.export(self.out, overwrite=self.overwrite)
        if self.json:
            print_json({"folder": str(folder), "model": made.description["model"]["name"]})
        else:
            print(f"{made.description['model']['name']}: written, read again, equal bit for bit\nfolder {folder}")
        return 0
