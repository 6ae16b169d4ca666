"""`Served`: what a server wants of a model. Also what refuses a request, and rows of many requests as one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np


class Answer(NamedTuple):
    """What a model says of the rows of one request.

    - `predictions`: `[rows]` names of classes or amounts, `[rows, T]` where rows have several.
    - `chances`: `f64[rows, classes]`, None where there are none.
    """

    predictions: np.ndarray
    chances: np.ndarray | None


class Served(Protocol):
    """A model as a server sees it: rows in, answers out.

    - `name`: what it is called in addresses. `classes`: names of the columns of chances.
    - `takes`: the type and shape of one row where inputs are one array, None otherwise.
    """

    @property
    def name(self) -> str: ...

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def takes(self) -> tuple[np.dtype, tuple[int, ...]] | None: ...

    def read(self, rows: Any) -> tuple[Any, int, tuple[str, ...]]:
        """Inputs of one request's rows, a tree of arrays; how many there are; what is to be said of them.

        Raises `DataError` for rows that cannot be read.
        """
        ...

    def compute(self, inputs: Any) -> np.ndarray:
        """Outputs, row by row; always called with as many rows as a rung has."""
        ...

    def answer(self, outputs: np.ndarray) -> Answer:
        """What outputs mean. Raises `DataError` for outputs that are not finite."""
        ...

    def example(self) -> Any:
        """One row as the JSON of a request, to warm and to measure with."""
        ...


class Refused(Exception):
    """A request that is not answered: the status, one sentence, and headers beside it."""

    def __init__(self, status: int, sentence: str, headers: Mapping[str, str] | None = None, why: str = "") -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.headers, self.why = status, sentence, dict(headers or {}), why


def joined(trees: Sequence[Any], rows: int) -> Any:
    """Trees of arrays one after the other, and the last row repeated, up to `rows` rows.

    >>> joined([np.zeros((1, 2)), np.ones((2, 2))], 4)[:, 0].tolist()
    [0.0, 1.0, 1.0, 1.0]
    """
    first = trees[0]
    if isinstance(first, Mapping):
        return {key: joined([tree[key] for tree in trees], rows) for key in first}
    if isinstance(first, tuple):
        made = [joined([tree[at] for tree in trees], rows) for at in range(len(first))]
        return type(first)(*made) if hasattr(first, "_fields") else tuple(made)
    missing = rows - sum(len(tree) for tree in trees)
    parts = [*trees, *([np.repeat(trees[-1][-1:], missing, 0)] if missing else [])]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
