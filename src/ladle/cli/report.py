"""`ladle report`."""

from __future__ import annotations

from dataclasses import dataclass

from ladle.cli.arguments import Folders, Page
from ladle.cli.common import print_json
from ladle.cli.folders import require_folder
from ladle.core import record
from ladle.core.errors import ArgumentError, must


@dataclass(frozen=True)
class Report:
    """One self-contained HTML page from run folders or compare folders."""

    folders: Folders
    """Folders that `ladle train` or `ladle compare` wrote."""
    output: Page = None
    """The page; report.html in the first folder where left out."""
    json: bool = False
    """One JSON object on standard output and nothing else."""

    def run(self) -> int:
        from ladle import report

        if not self.folders:
            raise ArgumentError(
                must("DIR", "be given", "nothing", "a report is of a run", "ladle report runs/train-digits-1")
            )
        for folder in self.folders:
            require_folder("DIR", folder, (record.RUN_FILE, record.COMPARE_FILE, record.CRITICAL_FILE))
        page = report.write_report(list(self.folders), self.output)
        if self.json:
            print_json({"report": str(page)})
        else:
            print(f"report {page}")
        return 0
