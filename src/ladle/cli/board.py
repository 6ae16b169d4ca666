"""`ladle board`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ladle.cli.arguments import RunsFolder
from ladle.cli.folders import require_folder
from ladle.core import record
from ladle.core.errors import ArgumentError, must


@dataclass(frozen=True)
class BoardVerb:
    """Every run in a folder, live in a browser: curves while they grow, decisions, plans, searches. Ctrl-C ends it."""

    folder: RunsFolder = Path("runs")
    """Folder in which runs, comparisons and searches lie; it may be empty."""
    port: int = 5006
    """Port on this machine; 0 takes a free one."""
    address: str = "127.0.0.1"
    """Where to listen. Any other than this machine's own lets others read the runs."""

    def run(self) -> int:
        from ladle.api.board import serve_board

        require_folder("DIR", self.folder, (record.RUN_FILE, record.COMPARE_FILE))
        if not 0 <= self.port < 2**16:
            why, remedy = "ports are numbered so", "port=5006"
            raise ArgumentError(must("port", "be from 0 to 65535", self.port, why, remedy))
        serve_board(self.folder, port=self.port, address=self.address, ready=self._ready)
        return 0

    def _ready(self, place: str) -> None:
        print(f"board of {self.folder} at {place} (Ctrl-C ends it)", flush=True)
        if self.address not in ("127.0.0.1", "localhost", "::1"):
            print("whoever can reach this machine can read these runs", flush=True)
