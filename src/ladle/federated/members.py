"""`Members`: which client has which rows. And three ways to deal the rows of one data set to clients."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ladle.core.errors import ArgumentError, must
from ladle.core.spec import require_count


@dataclass(frozen=True, eq=False)
class Members:
    """The clients of a federation. `rows`: of each the numbers of its rows, `i64[count]`; `names`: what each is called.

    >>> Members((np.array([0, 2]), np.array([1])), ("ann", "bob")).counts.tolist()
    [2, 1]
    """

    rows: tuple[np.ndarray, ...]
    names: tuple[Any, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def counts(self) -> np.ndarray:
        """Rows of each client, `i64[clients]`: counted here, told by nobody."""
        return np.array([len(rows) for rows in self.rows])

    @property
    def share(self) -> np.ndarray:
        """Of each client in the rows of all, `f64[clients]`."""
        return self.counts / self.counts.sum()

    @property
    def digest(self) -> str:
        """Of who has which rows."""
        made = hashlib.sha256(self.counts.astype("<i8").tobytes())
        made.update(np.concatenate(self.rows).astype("<i8").tobytes())
        return made.hexdigest()

    def table(self, multiple: int) -> np.ndarray:
        """`i32[clients, capacity]`: their rows, each filled up with its first to a multiple that all have room in."""
        capacity = -(-int(self.counts.max()) // multiple) * multiple
        made = np.empty((len(self), capacity), np.int32)
        for client, rows in enumerate(self.rows):
            made[client] = rows[0]
            made[client, : len(rows)] = rows
        return made


def members(clients: Any, rows: int) -> Members:
    """`Members` of `clients`, given in one of three ways, of a data set of `rows` rows.

    - a whole number: so many clients with equal shares of the rows (`even`, seed 0).
    - one name or number for each row, such as its speaker or patient: rows of one name are one client's.
    - a sequence of arrays: the numbers of each client's rows. Rows may be left out, and shared.

    Raises `ArgumentError` for a client without rows, no client, and numbers of rows that are not there.

    >>> members(["ann", "bob", "ann"], 3).rows
    (array([0, 2]), array([1]))
    """
    if isinstance(clients, Members):
        clients = clients.rows
    if isinstance(clients, int | np.integer) and not isinstance(clients, bool):
        count = require_count("clients", int(clients))
        if count > rows:
            why = f"client {rows} would be without data"
            raise ArgumentError(must("clients", f"be at most the {rows:,} rows", count, why, f"clients={rows}"))
        clients = even(rows, count)
    listed = list(clients) if isinstance(clients, Sequence | np.ndarray) and not isinstance(clients, str) else None
    if listed is None or not len(listed):
        why, remedy = "a round needs someone who trains", "clients=10, or a name for each row"
        raise ArgumentError(must("clients", "be a number, a name for each row, or rows of each", clients, why, remedy))
    if np.ndim(listed[0]) == 0:
        return _by_name(np.asarray(clients), rows)
    return _by_rows(listed, rows)


def _by_name(names: np.ndarray, rows: int) -> Members:
    if len(names) != rows:
        be, why = f"name a client for each of the {rows:,} training rows", "every row is somebody's"
        raise ArgumentError(must("clients", be, f"{len(names):,} names", why, "the names of the training rows alone"))
    known, which = np.unique(names, return_inverse=True)
    order = np.argsort(which, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(which))[:-1])
    return Members(tuple(parts), tuple(known.tolist()))


def _by_rows(listed: list[Any], rows: int) -> Members:
    parts = []
    for client, part in enumerate(listed):
        numbers = np.asarray(part)
        if numbers.size == 0:
            why, remedy = "a client without data has nothing to train on", f"clients without number {client}"
            raise ArgumentError(must(f"clients[{client}]", "have a row", "none", why, remedy))
        if numbers.dtype.kind not in "iu" or numbers.ndim != 1:
            why, got = "they say which rows are its own", f"{numbers.dtype.name}, shape {numbers.shape}"
            raise ArgumentError(must(f"clients[{client}]", "be whole numbers of rows", got, why, "[0, 1, 2]"))
        if numbers.min() < 0 or numbers.max() >= rows:
            why, bad = f"there are {rows:,} training rows", numbers[(numbers < 0) | (numbers >= rows)][0]
            remedy = f"numbers from 0 to {rows - 1}"
            raise ArgumentError(must(f"clients[{client}]", "be rows that are there", int(bad), why, remedy))
        parts.append(numbers.astype(np.int64))
    return Members(tuple(parts), tuple(range(len(parts))))


def even(rows: int, clients: int, seed: int = 0) -> list[np.ndarray]:
    """All rows, shuffled and dealt to `clients` in shares that differ by one row at most: what any client has is alike.

    >>> [len(part) for part in even(10, 3)]
    [4, 3, 3]
    """
    count = require_count("clients", clients)
    return [np.sort(part) for part in np.array_split(np.random.default_rng(seed).permutation(rows), count)]


def by_class(y: Any, clients: int, each: int = 2, seed: int = 0) -> list[np.ndarray]:
    """Rows dealt so that a client knows few classes: sorted by class, cut into `clients x each` parts, `each` a client.

    The pathological split of McMahan et al. 2017. `y`: `i64[rows]`, the class of each.

    >>> y = np.repeat([0, 1, 2, 3], 10)
    >>> [sorted(set(y[part].tolist())) for part in by_class(y, 4, each=1)]
    [[2], [0], [1], [3]]
    """
    clients, each = require_count("clients", clients), require_count("each", each)
    order = np.argsort(np.asarray(y), kind="stable")
    parts = np.array_split(order, clients * each)
    if not len(parts[-1]):
        be, why = f"be at least {clients * each:,} rows", "a client would be without data"
        raise ArgumentError(must("y", be, len(order), why, f"clients={max(len(order) // each, 1)}"))
    dealt = np.random.default_rng(seed).permutation(clients * each).reshape(clients, each)
    return [np.sort(np.concatenate([parts[number] for number in own])) for own in dealt]


def dirichlet(y: Any, clients: int, alpha: float = 0.5, seed: int = 0) -> list[np.ndarray]:
    """Rows dealt so that each class goes to the clients in shares of a Dirichlet distribution of concentration `alpha`.

    The smaller `alpha`, the fewer classes a client knows, and the more numbers of rows differ. Whoever drew nothing
    gets one row of the largest. Hsu, Qi and Brown, arXiv 1909.06335, 2019 (there a client's classes are drawn).

    - `y`: `i64[rows]`, the class of each.
    """
    labels, rng = np.asarray(y), np.random.default_rng(seed)
    if isinstance(alpha, bool) or not isinstance(alpha, int | float | np.floating) or not alpha > 0:
        raise ArgumentError(must("alpha", "be above 0", alpha, "it is a concentration", "alpha=0.5"))
    if len(labels) < require_count("clients", clients):
        why, remedy = "each client has one at least", f"clients={len(labels)}"
        raise ArgumentError(must("y", f"be at least {clients} rows", len(labels), why, remedy))
    parts: list[list[int]] = [[] for _ in range(clients)]
    for kind in np.unique(labels):
        own = rng.permutation(np.flatnonzero(labels == kind))
        ends = np.round(np.cumsum(rng.dirichlet(np.full(clients, alpha))) * len(own)).astype(int)
        for part, drawn in zip(parts, np.split(own, ends[:-1]), strict=True):
            part.extend(drawn.tolist())
    for part in parts:
        if not part:
            part.append(max(parts, key=len).pop())
    return [np.sort(np.array(part, np.int64)) for part in parts]
