"""`Federation`: what rounds of federated training leave behind. A `Run`, and what only clients have."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ladle.api.run import Run
from ladle.core.errors import ArgumentError, must
from ladle.core.noise import NoiseScale, estimate
from ladle.federated import Members, Privacy, worth


@dataclass(frozen=True)
class Federation(Run):
    """A finished federation: a `ladle.Run` (predict, evaluate, save, `metrics` with one line a round) of clients.

    - `members`: who they are and which rows each has. `method`: what was done with their answers.
    - `privacy`: None where nothing was hidden.
    """

    members: Members = field(default=Members((), ()), repr=False)
    method: Any = None
    privacy: Privacy | None = None

    def noise(self, since: int = 0, until: int | None = None) -> NoiseScale:
        """The noise scale between clients, in clients: tr of the covariance of their updates over |mean update|^2.

        What a batch is made of is here clients, and what stands for a gradient is what a client's round changed. From
        the rounds `since <= round < until`, counted from 1; for a federation of these clients and no others. Where
        clients are alike the scale is that of their own batches' noise, below one or a few; where each knows other
        classes it is large, and more clients a round are worth their while.

        Raises `ArgumentError` under privacy, which keeps no such numbers.
        """
        if self.privacy is not None:
            why, remedy = "numbers of single rounds would tell of the clients what the noise hides", "privacy=None"
            raise ArgumentError(must("privacy", "be left out to measure clients", self.privacy, why, remedy))
        return estimate(self._moments(since, until), population=len(self.members))

    def worth(self, asked: int, since: int = 0) -> float:
        """What a round of `asked` clients makes of the progress of one of all: see `ladle.federated.worth`."""
        return worth(self.noise(since).value, asked, len(self.members))
