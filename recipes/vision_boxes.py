"""How boxes around things are judged. A box: centre x, y, width, height."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def overlaps(one: np.ndarray, many: np.ndarray) -> np.ndarray:
    """Intersection over union of a box with each of others."""
    low = np.maximum(one[:2] - one[2:] / 2, many[:, :2] - many[:, 2:] / 2)
    high = np.minimum(one[:2] + one[2:] / 2, many[:, :2] + many[:, 2:] / 2)
    both = np.maximum(high - low, 0).prod(1)
    return both / (one[2:].prod() + many[:, 2:].prod(1) - both)


def apart(scores: np.ndarray, boxes: np.ndarray, *, most: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """The `most` best, best first, without those that overlap a better one by half."""
    left, kept = list(np.argsort(-scores)[:most]), []
    while left:
        kept.append(left[0])
        left = [at for at, shared in zip(left, overlaps(boxes[left[0]], boxes[left]), strict=True) if shared < 0.5]
    return scores[kept], boxes[kept]


def average_precision(found: Sequence[tuple[np.ndarray, np.ndarray]], wanted: Sequence[np.ndarray]) -> float:
    """Area under precision against recall, precision made falling, over the pictures together (VOC 2010).

    - `found`: scores and boxes of each picture, best first. `wanted`: its true boxes; each is found once, from an IoU
      of a half on. NaN where there are none.
    """
    hits = []
    for (scores, boxes), there in zip(found, wanted, strict=True):
        free = np.ones(len(there), bool)
        for score, box in zip(scores, boxes, strict=True):
            shared = overlaps(box, there) * free if len(there) else np.zeros(1)
            best = int(shared.argmax())
            hits.append((score, shared[best] >= 0.5))
            if shared[best] >= 0.5:
                free[best] = False
    right = np.cumsum([hit for _, hit in sorted(hits, key=lambda pair: -pair[0])])
    precision = np.maximum.accumulate((right / np.arange(1, len(right) + 1))[::-1])[::-1]
    count = sum(map(len, wanted))
    return float((precision * np.diff(right, prepend=0)).sum() / count) if count else float("nan")
