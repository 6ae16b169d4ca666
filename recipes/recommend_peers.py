"""What `recommend.py` is held against: how much a film is rated, and a factorisation of who rated what."""

from __future__ import annotations

from typing import Any

import numpy as np
from recommend_films import Films, recall
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import svds


def peers(films: Films) -> dict[str, float]:
    """What needs no training run: how much a film is rated, and a factorisation of who rated what; with both."""
    table = csr_matrix((np.ones(len(films.rated)), films.rated.T), (films.rated[:, 0].max() + 1, len(films.traits)))
    parts = {part: (*films.judged(part), films.seen(films.judged(part)[0])) for part in (0, 1)}
    recent, every = np.log(films.recent + 0.1), np.asarray(table.sum(0)).ravel()

    def judged(scores: Any, part: int) -> float:
        users, held, seen = parts[part]
        rows = np.broadcast_to(scores(users), (len(users), len(films.traits))).astype(np.float32)
        rows[np.nonzero(seen)[0], seen[seen > 0] - 1] = -np.inf
        return recall(rows, held)

    found = {"rated most": judged(lambda _: every, 1), "rated most in the last week": judged(lambda _: recent, 1)}
    for name, base, scales in (("factors", 0.0, (1.0,)), ("factors and the last week", recent, (3.0, 10.0, 30.0))):
        tried = []
        for rank in (4, 8, 16, 32, 64):
            left, size, right = svds(table, rank, random_state=0)
            for scale in scales:
                scores = lambda users, a=left * size * scale, b=right, base=base: a[users] @ b + base  # noqa: E731
                tried.append((judged(scores, 0), judged(scores, 1)))
        found[name] = max(tried)[1]  # The rank and the scale that are best for the users of the other half.
    return found
