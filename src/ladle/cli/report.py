"""`ladle report`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ladle.cli.arguments import Folders, Page
from ladle.cli.common import print_json
from ladle.cli.folders import require_folder
from ladle.core import record
from ladle.core.errors import ArgumentError, RunError, must


@dataclass(frozen=True)
class Report:
    """One self-contained HTML page from run folders or compare folders."""

    folders: Folders
    """Folders that `ladle train` or `ladle compare` wrote."""
    output: Page = None
    """The page; report.html in the first folder where left out."""
    to: str | None = None
    """Send the runs to trackers instead of writing a page: tensorboard, mlflow, wandb, trackio, joined by commas."""
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
        if self.to is not None:
            return self._send(self.to)
        page = report.write_report(list(self.folders), self.output)
        drawn = [made for folder in self.folders if (made := self._drawn(folder)) is not None]
        if self.json:
            print_json({"report": str(page), "pictures": [str(one) for one in drawn]})
        else:
            print("\n".join([f"report {page}", *(f"picture {one}" for one in drawn)]))
        return 0

    def _drawn(self, folder: Path) -> Path | None:
        """answers.png in `folder`, where there is something to draw and it may be written there."""
        from ladle import report

        try:
            return report.write_answers(folder)
        except RunError:  # The page is elsewhere then (-o), and has the picture too.
            return None

    def _send(self, names: str) -> int:
        """Send every run in the folders; files of trackers lie beside the folders."""
        from ladle.api.sending import runs_in, send, trackers

        self._require_no_page()
        ways = [(folder, trackers(names, folder.absolute().parent)) for folder in self.folders]
        sent = []
        for folder, kinds in ways:
            for run in runs_in(folder):
                for one in kinds:
                    send(run, one)
                sent.append(str(run))
        if self.json:
            print_json({"sent": sent, "to": names.split(",")})
        else:
            print("\n".join(f"sent {run} to {names}" for run in sent))
        return 0

    def _require_no_page(self) -> None:
        if self.output is not None:
            why, remedy = "runs are sent, and no page is written", "leaving one of the two out"
            raise ArgumentError(must("output", "be left out with --to", str(self.output), why, remedy))
