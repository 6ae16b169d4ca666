"""`ladle feed-check`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ladle.api.options import TaskOptions
from ladle.cli.arguments import Data
from ladle.cli.common import print_json
from ladle.core.errors import ArgumentError, must


@dataclass(frozen=True)
class FeedCheckVerb:
    """Is the data sound, and are batches read fast enough? Reads and measures; trains nothing."""

    data: Data = field(kw_only=True)
    """Name, file, folder, pattern with *, URL, or file.py:task."""
    size: int = 256
    """Examples per batch."""
    order: Literal["auto", "permuted", "blocks", "sequential"] = "auto"
    """auto: a global shuffle; files in blocks: a shuffle of blocks, and of rows within a few of them."""
    seconds: float = 1.0
    """How long each thing is measured."""
    whole: bool = False
    """Look through every example for NaN and the like, not 100,000 at random."""
    target: str | None = None
    """Target column of a table."""
    json: bool = False
    """One JSON object on standard output and nothing else."""

    def run(self) -> int:
        from ladle.api.feed_check import feed_check

        if not 0 < self.seconds < 600:
            why = "measuring takes some time, and not forever"
            raise ArgumentError(must("seconds", "be above 0 and below 600", self.seconds, why, "--seconds 1"))
        options = TaskOptions(self.data, target=self.target)
        how = {"order": self.order, "seconds": self.seconds, "whole": self.whole, "options": options}
        check = feed_check(self.data, self.size, **how)
        if self.json:
            print_json(check.to_json())
        else:
            print(check)
        return 1 if check.problems else 0
