"""What `recommend.py` is held against beside the last week: all of the past, and a factorisation of who rated what."""

from __future__ import annotations

from typing import Any

import numpy as np
from recommend_films import Films, recall
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import svds


def peers(films: Films) -> dict[str, float]:
    """Recall of the test users; rank and scale are those that are best for the users of the validation part."""
    table = csr_matrix((np.ones(len(films.rated)), films.rated.T), (films.rated[:, 0].max() + 1, len(films.traits)))
    users, recent = [films.judged(part) for part in (0, 1)], np.log(films.recent + 0.1)
    every = films.unseen(np.asarray(table.sum(0)).ravel(), users[1][0])
    found = {"rated most": float(recall(every, users[1][1]).mean())}
    tried: dict[str, list[tuple[float, float]]] = {"factors": [], "factors and the last week": []}
    for rank in (4, 8, 16, 32, 64):
        factors: Any = svds(table, rank, rng=0)
        left, size, right = factors
        for scale in (0.0, 0.3, 1.0, 3.0, 10.0):
            both = []
            for who, held in users:
                scores = (left[who] * size) @ right
                scores = scores if scale == 0 else scale * scores + recent
                both.append(float(recall(films.unseen(scores, who), held).mean()))
            tried["factors" if scale == 0 else "factors and the last week"].append((both[0], both[1]))
    length = np.sqrt((films.traits**2).sum(1, keepdims=True)) + 1e-6
    kinds = films.traits / length
    for scale in (1.0, 2.0, 3.0, 5.0, 10.0):  # How like the kinds of the films seen, by the cosine.
        both = []
        for who, held in users:
            liked = table[who] @ kinds
            liked = liked / (np.sqrt((liked**2).sum(1, keepdims=True)) + 1e-6)
            both.append(float(recall(films.unseen(scale * liked @ kinds.T + recent, who), held).mean()))
        tried.setdefault("genres, decades and the last week", []).append((both[0], both[1]))
    return found | {name: max(of)[1] for name, of in tried.items()}
