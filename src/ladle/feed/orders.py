"""Which order a word means for some source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ladle.core.errors import ArgumentError, must, nearest
from ladle.core.foreign import as_array
from ladle.core.protocols import Order, Source
from ladle.feed.blocks import Blocks
from ladle.feed.order import Permuted, Sequential
from ladle.feed.stratified import Stratified

ORDERS = ("permuted", "sequential", "stratified")
"""Orders that need no more than the data. `Weighted` also needs weights, so it has no name."""

WORDS = ("auto", "blocks", *ORDERS)


def order_of(order: str | Order | Callable[[int], Order], source: Source, seed: int = 0, labels: Any = None) -> Order:
    """The order over `source` that a word, a function `seed -> order` or an order itself stands for.

    "auto" is a global shuffle, or "blocks" where the source reads whole blocks at a time (`reads_blocks`).
    Raises `ArgumentError` for another word, or "stratified" without labels.

    >>> from ladle.feed.arrays import Arrays
    >>> order_of("auto", Arrays(np.arange(4)), seed=1)
    Permuted(n=4, seed=1)
    """
    if not isinstance(order, str):
        return order(seed) if callable(order) and not hasattr(order, "ids") else order  # type: ignore[return-value]
    if order not in WORDS:
        raise ArgumentError(must("order", "be a known name", order, "ladle knows these", nearest(order, WORDS)))
    if order == "auto":
        order = "blocks" if getattr(source, "reads_blocks", False) else "permuted"
    if order == "blocks":
        if not hasattr(source, "blocks"):
            why = f"{type(source).__name__} has no blocks that are read at once"
            raise ArgumentError(must("order", "be of a source in blocks", order, why, "'permuted'"))
        return Blocks.of(source, seed)
    if order == "stratified":
        if labels is None:
            why = "classes are kept in proportion by them"
            raise ArgumentError(must("labels", "be given with order='stratified'", None, why, "labels=y"))
        return order_named(order, as_array(labels, "labels"), seed)
    return Sequential(len(source)) if order == "sequential" else Permuted(len(source), seed)


def order_named(name: str, labels: np.ndarray, seed: int) -> Order:
    """The order of that name over as many examples as there are `labels`. Raises `ArgumentError`.

    >>> order_named("sequential", np.zeros(4), seed=0).ids(3, 3).tolist()
    [3, 0, 1]
    """
    if name not in ORDERS:
        why = "ladle knows these (a function `seed -> order` may be any other)"
        raise ArgumentError(must("order", "be a known name", name, why, nearest(str(name), ORDERS)))
    if name == "stratified":
        if labels.dtype.kind == "f":
            why = "amounts have no classes to keep in proportion"
            raise ArgumentError(must("order", "be of classes", name, why, "'permuted'"))
        return Stratified(labels, seed)
    return Sequential(len(labels)) if name == "sequential" else Permuted(len(labels), seed)
