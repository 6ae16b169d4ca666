"""How much of the progress of a round with all clients one with fewer makes, by the noise scale between clients."""

from __future__ import annotations

from ladle.core.errors import ArgumentError, must


def worth(noise_scale: float, asked: int, clients: int) -> float:
    """The share of the progress of a round of all `clients` that one of `asked` of them makes, from 0 to 1.

        1 / (1 + B (1 / asked - 1 / clients))

    `B` is the noise scale between clients: tr of the covariance of their updates over the square of the mean one. The
    mean of `asked` of them, drawn without replacement, has the variance `tr (1 / asked - 1 / clients)`; with the length
    of step that is best for each, progress falls by that over the square of the mean, as of batches of examples
    (McCandlish et al. 2018, eq. 2.7). So `asked = B` of very many make half. NaN where `B` is, which was not resolved.

    Raises `ArgumentError` for more clients than there are.

    >>> worth(10.0, 10, 10), round(worth(10.0, 10, 10**9), 3)
    (1.0, 0.5)
    """
    if not 1 <= asked <= clients:
        why = "a round asks some of them"
        raise ArgumentError(must("asked", f"lie between 1 and {clients}", asked, why, f"asked={clients}"))
    gap = 1 / asked - 1 / clients
    if gap == 0:
        return 1.0
    return 1 / (1 + noise_scale * gap)
