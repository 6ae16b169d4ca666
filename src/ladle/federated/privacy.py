"""`Privacy`: updates of clients clipped, noise added, and what that guarantees, by the accountant of a library."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ladle.core.errors import ArgumentError, must


@dataclass(frozen=True)
class Privacy:
    """Differential privacy of whole clients: nobody can tell surely whether a client took part.

    - `clip`: the largest norm of a client's update; a longer one is shortened to it.
    - `noise`: the noise multiplier z: normal noise of standard deviation `z clip` is added to the sum of the updates.
    - `delta`: the chance by which the guarantee may fail, well below one over the number of clients.

    The server moves by `(sum of clipped updates + noise) / (expected clients of a round)`. Clients come to a round each
    by itself with one chance, and all weigh the same: with weights by counts one client could move the sum by more.
    McMahan et al., "Learning differentially private recurrent language models" (arXiv 1710.06963, 2018), with a fixed
    denominator.

    The guarantee is for whoever sees the models and the record, and does not know the run's seed, which makes the
    noise: it is a secret, and JAX's generator is not one of cryptography. Validation rows are the server's own.

    Raises `ArgumentError` for numbers that cannot be.
    """

    clip: float
    noise: float
    delta: float = 1e-5

    def __post_init__(self) -> None:
        for name, least in (("clip", False), ("noise", True)):
            value = getattr(self, name)
            good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if not good or value < 0 or (value == 0 and not least):
                be, why = f"be a number {'from' if least else 'above'} 0", "updates are bounded, then hidden in noise"
                raise ArgumentError(must(name, be, value, why, f"{name}=1.0"))
        if not isinstance(self.delta, int | float) or not 0 < self.delta < 1:
            raise ArgumentError(must("delta", "lie between 0 and 1", self.delta, "it is a chance", "delta=1e-5"))

    def epsilon(self, rounds: int, rate: float) -> float:
        """The epsilon of (epsilon, delta) after `rounds` rounds with sampling rate `rate`: Opacus's `RDPAccountant`.

        Infinite without noise, 0 before the first round. Raises `ArgumentError` where Opacus is not installed.

        >>> Privacy(clip=1.0, noise=0.0).epsilon(10, 0.1)
        inf
        """
        if rounds == 0:
            return 0.0
        if self.noise == 0:
            return math.inf
        accountant = accountant_of()()
        accountant.history = [(self.noise, rate, rounds)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # That another order might give a smaller bound: it is one.
            return float(accountant.get_epsilon(self.delta))


@lru_cache(1)
def accountant_of() -> Any:
    """Opacus's accountant of Rényi differential privacy. Raises `ArgumentError` where it is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # What it says of its own imports is not the user's.
            from opacus.accountants import RDPAccountant  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "opacus":
            raise
        why, remedy = "Opacus is not installed, and its accountant tells epsilon", "pip install 'ladle[privacy]'"
        raise ArgumentError(must("privacy", "have an accountant", None, why, remedy)) from None
    return RDPAccountant
