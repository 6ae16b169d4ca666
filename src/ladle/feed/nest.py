"""`Nested`: examples that are groups of rows of different length. `Graphs`: examples of nodes and edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from ladle.core.batch import Rows
from ladle.core.errors import ArgumentError, must
from ladle.feed.arrays import Arrays
from ladle.feed.pad import check_weigh, checked_rungs, refuse_long, rung_up
from ladle.feed.source.sequences import (
    Ragged,
    Sequences,
    checked_fields,
    checked_offsets,
    ends,
    gather,
    joined,
    padded,
    spans,
    within,
)


@dataclass(frozen=True, eq=False)
class Groups:
    """Rows of rows: example `i` has the inner rows `offsets[i] .. offsets[i + 1]` of `inner`.

    No tuple: what looks into rows would take it for an array of two.
    """

    inner: Ragged
    offsets: np.ndarray

    def cut(self, groups: int, length: int) -> Groups:
        """The same examples, without the groups beyond `groups`, nor what a group has beyond `length`."""
        count = np.minimum(np.diff(self.offsets), groups)
        kept = spans(self.offsets[:-1], count)
        sizes = np.minimum(self.inner.lengths[kept], length)
        return Groups(Ragged(gather(self.inner.values, self.inner.offsets[kept], sizes), ends(sizes)), ends(count))


@dataclass(frozen=True, eq=False, init=False)
class Nested:
    """Documents of sentences of tokens, or any groups of rows; implements `ladle.core.protocols.Source`.

    - `values`: `[total, ...]`. `inner`: `i64[sentences + 1]`; sentence `j` is `values[inner[j] : inner[j + 1]]`.
      `outer`: `i64[n + 1]`: document `i` has the sentences `outer[i] .. outer[i + 1]`. Both may be empty.
    - `fields`: `[n, ...]`, what a document has one of.

    `take` gives `Groups` as "tokens", and rows of the fields. Raises `DataError` as `Sequences` does.

    >>> source = Nested.of([[[1, 2], [3]], [[4]]], y=np.array([0, 1]))
    >>> source.groups.tolist(), source.longest.tolist(), source.lengths.tolist()
    ([2, 1], [2, 1], [3, 1])
    """

    tokens: Sequences
    outer: np.ndarray
    fields: Arrays | None

    def __init__(self, values: Any, outer: Any, inner: Any, **fields: Any) -> None:
        object.__setattr__(self, "tokens", Sequences(values, checked_offsets("inner", inner, len(np.asarray(values)))))
        object.__setattr__(self, "outer", checked_offsets("outer", outer, len(self.tokens)))
        object.__setattr__(self, "fields", checked_fields(fields, len(self)))

    @classmethod
    def of(cls, documents: Sequence[Sequence[Any]], **fields: Any) -> Nested:
        """From lists of arrays. Raises `DataError` where there is none, or their rows differ in shape."""
        values, inner = joined([sentence for document in documents for sentence in document])
        return cls(values, ends(np.array([len(document) for document in documents])), inner, **fields)

    def __len__(self) -> int:
        return len(self.outer) - 1

    @cached_property
    def groups(self) -> np.ndarray:
        """`i64[n]`, sentences in each document."""
        return np.diff(self.outer)

    @cached_property
    def longest(self) -> np.ndarray:
        """`i64[n]`, tokens in the longest sentence of each document; 0 where it has none."""
        longest, some = np.zeros(len(self), np.int64), self.groups > 0
        if some.any():
            sizes = self.tokens.lengths[: self.outer[-1]]  # Empty documents hold nothing between their neighbours.
            longest[some] = np.maximum.reduceat(sizes, self.outer[:-1][some])
        return longest

    @cached_property
    def lengths(self) -> np.ndarray:
        """`i64[n]`, tokens in each document: what buckets, packs and budgets go by."""
        return np.diff(self.tokens.offsets[self.outer])

    def take(self, ids: np.ndarray) -> dict[str, Any]:
        """Documents `ids` (`i64[k]`)."""
        count = self.groups[ids]
        inner = self.tokens.take(spans(self.outer[ids], count))["tokens"]
        rows = {} if self.fields is None else self.fields.take(ids)
        return {"tokens": Groups(inner, ends(count)), **rows}


@dataclass(frozen=True)
class PadNested:
    """Pads both levels of `Nested` to rungs of their own; implements `ladle.core.protocols.Collate`.

    Gives `tokens` `[rows, S, L, ...]`, `mask` `bool[rows, S, L]` (where there is a token), `group_mask` `bool[rows, S]`
    (where there is a sentence), and the fields. At most `len(groups) * len(rungs)` shapes are compiled.

    - `groups`: sentences a row may have, rising; `rungs`: tokens a sentence may have. By default 8, 12, 16, 24, ... .
      What has more than the last is an `ExampleError` that names the documents.
    - `weigh`: what a row counts for: "rows" (one), "groups" (its sentences), "tokens"; see `ladle.feed.pad.Pad`.

    Counts `tokens` and `token_slots`, as `Pad` does.

    >>> source, ids = Nested.of([[[1, 2], [3]], [[4]]]), np.arange(2)
    >>> pad = PadNested(groups=(2, 4), rungs=(2, 4))
    >>> rows = pad(source, ids, ids, pad.extent(source, ids, ids), real=2)
    >>> rows.data["tokens"].tolist(), rows.data["group_mask"].tolist()
    ([[[1, 2], [3, 0]], [[4, 0], [0, 0]]], [[True, True], [True, False]])
    """

    groups: tuple[int, ...] | None = None
    rungs: tuple[int, ...] | None = None
    value: Any = 0
    weigh: Literal["rows", "groups", "tokens"] = "rows"

    def __post_init__(self) -> None:
        check_weigh(self.weigh, ("rows", "groups", "tokens"))
        _check_ladders(self, "groups", "rungs")

    def extent(self, source: Any, ids: np.ndarray, position: np.ndarray) -> tuple[int, ...]:
        return _rung(source.groups[ids], self.groups), _rung(source.longest[ids], self.rungs)

    def __call__(self, source: Any, ids: np.ndarray, position: np.ndarray, extent: tuple[int, ...], real: int) -> Rows:
        groups, length = extent
        count, longest = source.groups[ids], source.longest[ids]
        _refuse_large(ids, count, self.groups, "groups")
        _refuse_large(ids, longest, self.rungs, "tokens in a group")
        rows = source.take(ids)
        inner = rows["tokens"].inner
        if count.max() > groups or longest.max() > length:  # Only where rows are padding, made of some other row.
            inner, count = rows["tokens"].cut(groups, length).inner, np.minimum(count, groups)
        sizes = padded(inner.lengths, count, groups)  # `i64[rows, groups]`: a level is padded like any row.
        mask = within(sizes, length)
        data = {**rows, "tokens": padded(inner.values, sizes, length, self.value), "mask": mask}
        data["group_mask"] = within(count, groups)
        tokens = sizes.sum(axis=1)
        weight = {"rows": None, "groups": count, "tokens": tokens}[self.weigh]
        sums = {"tokens": float(tokens[:real].sum()), "token_slots": float(mask.size)}
        return Rows(data, None if weight is None else weight.astype(np.float32), sums)


GRAPH_NAMES = ("nodes", "edges", "node_mask", "edge_mask")
"""What `PadGraphs` makes of a graph, beside its fields."""


@dataclass(frozen=True, eq=False)
class Graphs:
    """Many small graphs, each an example; implements `ladle.core.protocols.Source`.

    - `nodes`: features, a `Sequences` with a row for each node of each graph; its fields are what a graph has one of.
    - `edges`: a `Sequences` of `[total, 2]` whole numbers, pairs of nodes counted from 0 within their graph; or of
      `{"tokens": pairs, "bond": [total, ...], ...}`, where an edge has more than its ends.

    Raises `ArgumentError` where both are not of equally many graphs, an edge ends at no node of its graph, or what
    edges have is called as something else of a graph is.

    >>> nodes = Sequences.of([np.ones((3, 4)), np.ones((1, 4))], y=np.array([0, 1]))
    >>> len(Graphs(nodes, Sequences.of([[[0, 1], [1, 2]], np.zeros((0, 2), int)])))
    2
    """

    nodes: Sequences
    edges: Sequences

    def __post_init__(self) -> None:
        if len(self.nodes) != len(self.edges):
            why = "graph i has both"
            raise ArgumentError(must("edges", f"be of {len(self.nodes)} graphs", len(self.edges), why, "one run each"))
        _check_edges(self.edges, self.nodes.lengths)
        taken = {*GRAPH_NAMES, *(self.nodes.fields.tree if self.nodes.fields else ())} & {*self.edges.values}
        if taken:
            why, remedy = "a graph has something of that name", "another name"
            raise ArgumentError(must("edges", "have names of their own", sorted(taken)[0], why, remedy))

    def __len__(self) -> int:
        return len(self.nodes)

    @property
    def lengths(self) -> np.ndarray:
        """`i64[n]`, nodes in each graph."""
        return self.nodes.lengths

    def take(self, ids: np.ndarray) -> dict[str, Any]:
        """Graphs `ids` (`i64[k]`): `Ragged` nodes, edges and what edges have, rows of the fields."""
        nodes, edges = self.nodes.take(ids), self.edges.take(ids)
        return {"nodes": nodes.pop("tokens"), "edges": edges.pop("tokens"), **edges, **nodes}


@dataclass(frozen=True)
class PadGraphs:
    """Pads nodes and edges of small graphs to rungs of their own; implements `ladle.core.protocols.Collate`.

    Gives `nodes` `[rows, n, d]`, `node_mask` `bool[rows, n]`, `edges` `[rows, e, 2]` (padded with node 0: mask what
    they carry), `edge_mask` `bool[rows, e]`, what edges have besides (padded with 0), and the fields. Rungs as in
    `PadNested`. Counts nodes as tokens.

    >>> nodes = Sequences.of([np.ones((3, 4)), np.ones((1, 4))])
    >>> source, ids = Graphs(nodes, Sequences.of([[[0, 1], [1, 2]], np.zeros((0, 2), int)])), np.arange(2)
    >>> pad = PadGraphs(nodes=(4,), edges=(2,))
    >>> rows = pad(source, ids, ids, pad.extent(source, ids, ids), real=2)
    >>> rows.data["nodes"].shape, rows.data["edges"].tolist()
    ((2, 4, 4), [[[0, 1], [1, 2]], [[0, 0], [0, 0]]])
    """

    nodes: tuple[int, ...] | None = None
    edges: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        _check_ladders(self, "nodes", "edges")

    def extent(self, source: Any, ids: np.ndarray, position: np.ndarray) -> tuple[int, ...]:
        return _rung(source.nodes.lengths[ids], self.nodes), _rung(source.edges.lengths[ids], self.edges)

    def __call__(self, source: Any, ids: np.ndarray, position: np.ndarray, extent: tuple[int, ...], real: int) -> Rows:
        nodes, edges = source.nodes.lengths[ids], source.edges.lengths[ids]
        _refuse_large(ids, nodes, self.nodes, "nodes")
        _refuse_large(ids, edges, self.edges, "edges")
        rows = source.take(ids)
        masks = {"node_mask": within(nodes, extent[0]), "edge_mask": within(edges, extent[1])}
        # Graphs that are only padding may have been cut, but never so that an edge leads nowhere.
        inside = np.minimum(rows["edges"].padded(extent[1]), extent[0] - 1)
        besides = {name: rows[name].padded(extent[1]) for name in source.edges.values if name != "tokens"}
        data = {**rows, **besides, "nodes": rows["nodes"].padded(extent[0]), "edges": inside, **masks}
        sums = {"tokens": float(nodes[:real].sum()), "token_slots": float(masks["node_mask"].size)}
        return Rows(data, None, sums)


def _check_ladders(collate: Any, *names: str) -> None:
    for name in names:
        if getattr(collate, name) is not None:
            object.__setattr__(collate, name, checked_rungs(name, getattr(collate, name)))


def _refuse_large(ids: np.ndarray, sizes: np.ndarray, rungs: tuple[int, ...] | None, unit: str) -> None:
    if rungs is not None:
        refuse_long(ids, sizes, rungs[-1], unit, "a longer last rung, or bad='skip'")


def _rung(sizes: np.ndarray, rungs: tuple[int, ...] | None) -> int:
    """The rung of the largest; the last one for what is too large, which is refused by name once rows are made."""
    largest = int(sizes.max())
    return int(rung_up(largest if rungs is None else min(largest, rungs[-1]), rungs))


def _check_edges(edges: Sequences, nodes: np.ndarray) -> None:
    ends_at = gather(edges.values["tokens"], edges.offsets[:-1], edges.lengths)
    if ends_at.ndim != 2 or ends_at.shape[1] != 2 or ends_at.dtype.kind not in "iu":
        got, why = f"shape {ends_at.shape} and type {ends_at.dtype}", "an edge joins two nodes"
        raise ArgumentError(must("edges", "be pairs of whole numbers", got, why, "i64[edges, 2]"))
    outside = (ends_at < 0) | (ends_at >= np.repeat(nodes, edges.lengths)[:, None])
    if outside.any():
        at = int(np.argmax(outside.any(axis=1)))
        graph = int(np.searchsorted(np.cumsum(edges.lengths), at, side="right"))
        got, why = f"{ends_at[at].tolist()} in graph {graph}", f"it has {nodes[graph]} nodes"
        raise ArgumentError(must("edges", "join nodes of their graph", got, why, "nodes counted from 0 in each graph"))
