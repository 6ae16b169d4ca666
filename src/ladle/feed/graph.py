"""`Graph`: nodes with features, and their neighbours in compressed rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ladle.core.errors import ArgumentError, DataError, must

NODES = 2**31
"""Largest number of nodes and of edges."""


@dataclass(frozen=True, eq=False)
class Graph:
    """A graph whose examples are some of its nodes; implements `ladle.core.protocols.Source`.

    The neighbours of node `v` are `indices[indptr[v] : indptr[v + 1]]`: where its messages come from. Nothing is copied
    that has the right type; memory-mapped features stay on disk until rows are taken.

    - `indptr`: `i64[nodes + 1]`; `indices`: `[edges]`, nodes. `Graph.of_edges` makes both from pairs.
    - `features`: `[nodes, ...]`. `labels`: `[nodes, ...]` or None.
    - `nodes`: `i64[n]`, which nodes are the examples (those of the training part); all by default.

    A row of example `i`, node `v = nodes[i]`: `x = features[v]`, `y = labels[v]` where there are labels, `node = v`.
    With `ladle.feed.neighbours.Neighbours` as collate, sampled neighbours come along.

    Raises `DataError` where these do not fit together.

    >>> graph = Graph.of_edges([(0, 1), (2, 1), (1, 3)], features=np.eye(4), nodes=[1, 3])
    >>> graph.neighbours(1).tolist(), graph.degree.tolist(), len(graph)
    ([0, 2], [0, 2, 0, 1], 2)
    >>> graph.take(np.array([1]))["node"].tolist()
    [3]
    """

    indptr: Any = field(repr=False)
    indices: Any = field(repr=False)
    features: Any = field(repr=False)
    labels: Any = field(default=None, repr=False)
    nodes: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name, kind in (("indptr", np.int64), ("indices", None), ("features", None), ("labels", None)):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, np.asarray(value, kind))
        every = np.arange(max(len(self.indptr) - 1, 0)) if self.nodes is None else np.asarray(self.nodes)
        object.__setattr__(self, "nodes", every)
        _check(self)

    @classmethod
    def of_edges(
        cls, edges: Any, features: Any, labels: Any = None, *, nodes: Any = None, undirected: bool = False
    ) -> Graph:
        """The graph of `(from, to)` pairs, `[edges, 2]`; each pair counts once however often it is given.

        `undirected`: every pair stands for both directions.

        >>> Graph.of_edges([(0, 1), (0, 1), (2, 1)], np.zeros((3, 1)), undirected=True).degree.tolist()
        [1, 2, 1]
        """
        count = len(features)
        pairs = np.asarray(edges)
        if pairs.size == 0:
            pairs = np.zeros((0, 2), np.int64)
        if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
            got = f"an array of shape {pairs.shape} and type {pairs.dtype}"
            raise DataError(must("edges", "be pairs of nodes", got, "each goes from one node to one", "[(0, 1)]"))
        _check_nodes("edges", pairs, count)
        source, target = pairs.astype(np.int64).T
        if undirected:
            source, target = np.concatenate([source, target]), np.concatenate([target, source])
        target, source = np.divmod(np.unique(target * count + source), count)
        indptr = np.concatenate([[0], np.cumsum(np.bincount(target, minlength=count))])
        return cls(indptr, source.astype(np.int32), features, labels, nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    @cached_property
    def degree(self) -> np.ndarray:
        """`i64[nodes]`: how many neighbours each node has."""
        return np.diff(self.indptr)

    def neighbours(self, node: int) -> np.ndarray:
        """Where the messages of one node come from, in ascending order if made by `of_edges`."""
        return self.indices[self.indptr[node] : self.indptr[node + 1]]

    def take(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        """The examples `ids` (`i64[k]`), without neighbours."""
        node = self.nodes[ids]
        return {"x": self.features.take(node, axis=0), **self.answers(node)}

    def answers(self, node: np.ndarray) -> dict[str, np.ndarray]:
        """`y` (where there are labels) and `node` (`i32[k]`) of some nodes."""
        labels = {} if self.labels is None else {"y": self.labels.take(node, axis=0)}
        return {**labels, "node": node.astype(np.int32)}


def _check(graph: Graph) -> None:
    count = len(graph.indptr) - 1
    if graph.indptr.ndim != 1 or not 1 <= count < NODES or len(graph.indices) >= NODES:
        got, why = f"{count} nodes and {len(graph.indices)} edges", "node numbers are computed in 32 bits"
        raise DataError(
            must("graph", f"have 1 to {NODES - 1} nodes and fewer edges than that", got, why, "a part of it")
        )
    if graph.indptr[0] != 0 or graph.indptr[-1] != len(graph.indices) or (np.diff(graph.indptr) < 0).any():
        why, remedy = "row v of `indices` is indptr[v] .. indptr[v + 1]", "Graph.of_edges(edges, features)"
        be = f"rise from 0 to the {len(graph.indices)} edges"
        raise DataError(must("indptr", be, [int(graph.indptr[0]), int(graph.indptr[-1])], why, remedy))
    for name in ("features", "labels"):
        value = getattr(graph, name)
        if value is not None and (value.ndim == 0 or len(value) != count or value.dtype == object):
            got, why = f"an array of shape {value.shape} and type {value.dtype}", "each node has its own"
            raise DataError(must(name, f"be numbers for each of the {count} nodes", got, why, f"{name}[nodes]"))
    _check_nodes("indices", graph.indices, count)
    if graph.nodes.ndim != 1 or not len(graph.nodes):
        got, why = f"an array of shape {graph.nodes.shape}", "they are the examples"
        raise ArgumentError(must("nodes", "be one or more nodes", got, why, "np.flatnonzero(is_training)"))
    _check_nodes("nodes", graph.nodes, count)


def _check_nodes(name: str, values: np.ndarray, count: int) -> None:
    if values.dtype.kind not in "iu":
        why, remedy = "nodes are whole numbers from 0", "numbers, not a mask"
        raise DataError(must(name, "hold node numbers", str(values.dtype), why, remedy))
    bad = values[(values < 0) | (values >= count)]
    if bad.size:
        got, why = f"{bad[0]} ({bad.size} such)", f"there are {count} nodes"
        raise DataError(must(name, f"hold nodes from 0 to {count - 1}", got, why, "features for every node"))
