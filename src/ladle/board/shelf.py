"""What all pages of a board share: the index of runs, and the records that were opened, each read once."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ladle.board.follow import Followed
from ladle.board.index import Entry, Index
from ladle.core.record import METRICS_FILE

EVERY_SECONDS = 0.8
"""The folder is looked through no more often."""

MOST_ROWS = 6_000_000
"""Lines of records that are kept in memory, those of the runs shown aside."""

Outcome = Callable[[Entry, Followed], Sequence[dict[str, Any]]]
"""A plan against what came of it: rows of `name`, `unit`, `predicted`, `actual`, `ratio`, `how`."""


class Shelf:
    """The runs below `root` for any number of pages. `outcome`: holds a run's plan against its record."""

    def __init__(self, root: Path, outcome: Outcome) -> None:
        self.root = root
        self.outcome = outcome
        self.index = Index(root)
        self._looked = -1e9
        self._records: OrderedDict[str, Followed] = OrderedDict()
        self._outcomes: dict[str, tuple[tuple[int, float], Sequence[dict[str, Any]]]] = {}

    def refresh(self) -> None:
        """Look through the folder, unless that was done a moment ago."""
        now = time.monotonic()
        if now - self._looked >= EVERY_SECONDS:
            self._looked = now
            self.index.refresh()

    def record(self, entry: Entry) -> Followed:
        """The record of a run, as far as it was read."""
        found = self._records.pop(entry.name, None) or Followed(entry.folder / METRICS_FILE)
        self._records[entry.name] = found
        return found

    def forget(self, shown: set[str]) -> None:
        """Let go of records that nobody looks at, longest unused first, where all together are many lines."""
        rows = sum(one.rows.count for one in self._records.values())
        for name in list(self._records):
            if rows <= MOST_ROWS:
                return
            if name not in shown:
                rows -= self._records.pop(name).rows.count

    def held(self, entry: Entry) -> Sequence[dict[str, Any]]:
        """The run's plan against its record; worked out again where either changed and all of it is read."""
        record = self.record(entry)
        now = (record.version if entry.status != "running" else record.version // 20, entry.changed)
        known = self._outcomes.get(entry.name)
        if known is None or (record.done and known[0] != now):
            known = now, self.outcome(entry, record) if record.done else ()
            if record.done:
                self._outcomes[entry.name] = known
        return known[1]
