"""`Neighbours`: seeded neighbour sampling, the same for a node at a position however the batch is cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ladle.core.batch import Rows
from ladle.core.errors import ArgumentError, must
from ladle.core.seed import seed_words
from ladle.core.spec import require_count
from ladle.feed.bijection import host_while, permute, round_keys
from ladle.feed.graph import Graph
from ladle.feed.keys import NEIGHBOURS, for_each, stream


@dataclass(frozen=True)
class Neighbours:
    """Rows of a `Graph` with sampled neighbours, in arrays of one shape; implements `ladle.core.protocols.Collate`.

    Of a node with more than `fanouts[k]` neighbours, that many different ones are drawn, any set of them as likely as
    any other (the first places of a keyed bijection of the degree); of others, all are taken. Which ones is a function
    of `(seed, position, depth, node)`: batch size, micro-batch and host make no difference; later positions draw anew.

    **A tree of fixed shape** (`rungs=None`), for any number of devices and hosts. With `f1, f2 = fanouts`:

        x["levels"] = features [rows, d], [rows, f1, d], [rows, f1, f2, d]          zeros where nothing stands
        x["masks"]  = f32 [rows, f1], [rows, f1, f2]                                1 where something does

    so that one layer of GraphSAGE with mean aggregation is, at every level `k` but the last,
    `h_k <- act(h_k W + ((h_(k+1) * m_k[..., None]).sum(-2) / max(m_k.sum(-1), 1)) V)`.

    **Node sets, each node once** (`rungs=(64, 256, 1024, ...)`), for one process: far fewer features travel where
    neighbourhoods overlap. Sizes are rounded up to a rung; above the last, to a multiple of it.

        x["nodes"]    = i32 [u] different nodes of the micro-batch            x["features"] = [u, d] of each
        x["levels"]   = i32 [rows], [n1], [n2]: places in `nodes` of the nodes of each level
        x["edges"]    = (source i32 [e_k], target i32 [e_k], f32 [e_k]) for each level: `source` counts in level k + 1,
                        `target` in level k, the third is 1 where there is an edge

    A level holds a node once for each row that reached it: rows stay samples of their own. Node arrays do not count
    rows along their first axis, and places in them hold within one process: split over several hosts they are wrong.
    Several devices of one host need rungs that they divide.

    Both have `y` and `node` as `Graph.take` does, and sums for the record: `nodes_k` and `edges_k`, what was sampled at
    level `k`, and with rungs `nodes`, the different ones.

    - `fanouts`: how many neighbours at each depth, the nearest first.

    Raises `ArgumentError` for a fan-out or rung below 1, rungs that do not rise, no fan-out, or a bad seed.

    Source: W. Hamilton, R. Ying, J. Leskovec, "Inductive representation learning on large graphs", NeurIPS 2017.

    >>> graph = Graph.of_edges([(1, 0), (2, 0), (3, 0), (0, 3)], features=np.arange(4.0)[:, None])
    >>> rows = Neighbours(fanouts=(2, 1), seed=0)(graph, np.array([0, 3]), np.array([7, 8]), (), real=2)
    >>> [level.shape for level in rows.data["x"]["levels"]], dict(rows.sums)
    ([(2, 1), (2, 2, 1), (2, 2, 1, 1)], {'nodes_1': 3.0, 'edges_1': 3.0, 'nodes_2': 2.0, 'edges_2': 2.0})
    """

    fanouts: tuple[int, ...] = (10, 5)
    rungs: tuple[int, ...] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "fanouts", tuple(require_count("fanouts", fanout) for fanout in self.fanouts))
        if not self.fanouts:
            why, remedy = "nothing would be sampled", "Stack(), for nodes without neighbours"
            raise ArgumentError(must("fanouts", "hold one number or more", self.fanouts, why, remedy))
        if self.rungs is not None:
            rungs = tuple(require_count("rungs", rung) for rung in self.rungs)
            if not rungs or list(rungs) != sorted(set(rungs)):
                why, remedy = "sizes are rounded up to the next one", "(64, 256, 1024)"
                raise ArgumentError(must("rungs", "be one or more numbers that rise", rungs, why, remedy))
            object.__setattr__(self, "rungs", rungs)
        seed_words(self.seed)

    def extent(self, source: Graph, ids: np.ndarray, position: np.ndarray) -> tuple[int, ...]:
        """`()` for trees; else the rungs of `nodes` and, for each depth, of its level and its edges."""
        if self.rungs is None:
            return ()
        return tuple(_rung(size, self.rungs) for size in _node_sets(self, source, ids, position).sizes)

    def __call__(
        self, source: Graph, ids: np.ndarray, position: np.ndarray, extent: tuple[int, ...], real: int
    ) -> Rows:
        node = source.nodes[ids]
        make = _tree if self.rungs is None else _padded
        x, sums = make(self, source, ids, position, extent, real)
        return Rows({"x": x, **source.answers(node)}, None, sums)


def sampled(
    graph: Graph, node: np.ndarray, position: np.ndarray, depth: int, fanout: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """`(i64[k, fanout] neighbours, bool[k, fanout] where there is one)` of the nodes `node` (`i64[k]`).

    A pure function of each `(seed, position, depth, node)`. Without repeats; 0 where there is none. A negative node
    has no neighbours.

    >>> graph = Graph.of_edges([(1, 0), (2, 0)], np.zeros((3, 1)))
    >>> [part.tolist() for part in sampled(graph, np.array([0, 1]), np.array([5, 6]), 0, 3, seed=0)]
    [[[1, 2, 0], [0, 0, 0]], [[True, True, False], [False, False, False]]]
    """
    degree = np.where(node >= 0, graph.degree[node], 0)
    place = np.tile(np.arange(fanout), (len(node), 1))
    many = np.flatnonzero(degree > fanout)
    if many.size:
        place[many] = _drawn(degree[many], node[many], position[many], depth, fanout, seed)
    there = place < degree[:, None]
    chosen = np.zeros(place.shape, np.int64)
    chosen[there] = graph.indices[(graph.indptr[node][:, None] + place)[there]]
    return chosen, there


def _drawn(
    degree: np.ndarray, node: np.ndarray, position: np.ndarray, depth: int, fanout: int, seed: int
) -> np.ndarray:
    """`i64[k, fanout]` different places below each `degree`."""
    keys = for_each(round_keys(seed_words(seed), np.uint32(0), stream(NEIGHBOURS + depth)), position, node)
    a = np.ceil(np.sqrt(degree)).astype(np.int64)  # Exact: below 2**31 no root that is not whole rounds to one.
    n, a, b = (np.repeat(value, fanout).astype(np.uint32) for value in (degree, a, -(-degree // a)))
    x = np.tile(np.arange(fanout, dtype=np.uint32), len(degree))
    drawn = permute(x, n, a, b, keys=np.repeat(keys, fanout, axis=1), xp=np, while_loop=host_while)
    return drawn.reshape(-1, fanout).astype(np.int64)


def _tree(
    collate: Neighbours, graph: Graph, ids: np.ndarray, position: np.ndarray, extent: tuple[int, ...], real: int
) -> tuple[dict[str, Any], Mapping[str, float]]:
    level, rows, sums = graph.nodes[ids].astype(np.int64), len(ids), {}
    levels, masks = [graph.features.take(level, axis=0)], []
    for depth, fanout in enumerate(collate.fanouts):
        flat = level.reshape(-1)
        chosen, there = sampled(graph, flat, np.repeat(position, flat.size // rows), depth, fanout, collate.seed)
        shape = (*level.shape, fanout)
        features = graph.features.take(chosen.reshape(shape), axis=0)
        features[~there.reshape(shape)] = 0
        levels.append(features)
        masks.append(there.reshape(shape).astype(np.float32))
        level = np.where(there, chosen, -1).reshape(shape)
        count = float(masks[-1][:real].sum())
        sums |= {f"nodes_{depth + 1}": count, f"edges_{depth + 1}": count}
    return {"levels": tuple(levels), "masks": tuple(masks)}, sums


class _NodeSets(NamedTuple):
    """Sampled levels, each node once for each row that reached it.

    - `nodes`: `i64[u]` different nodes. `levels`: places in `nodes`. `edges`: `(source, target)` between levels.
    """

    nodes: np.ndarray
    levels: list[np.ndarray]
    edges: list[tuple[np.ndarray, np.ndarray]]

    @property
    def sizes(self) -> list[int]:
        later = zip(self.levels[1:], self.edges, strict=True)
        return [len(self.nodes), *(size for level, (source, _) in later for size in (len(level), len(source)))]


def _node_sets(collate: Neighbours, graph: Graph, ids: np.ndarray, position: np.ndarray) -> _NodeSets:
    row, node = np.arange(len(ids)), graph.nodes[ids].astype(np.int64)
    levels, edges, count = [node], [], len(graph.degree)
    for depth, fanout in enumerate(collate.fanouts):
        chosen, there = sampled(graph, node, position[row], depth, fanout, collate.seed)
        target = np.repeat(np.arange(len(node)), fanout)[there.reshape(-1)]
        reached, source = np.unique(row[target] * count + chosen[there], return_inverse=True)
        row, node = np.divmod(reached, count)
        levels.append(node)
        edges.append((source, target))
    nodes, places = np.unique(np.concatenate(levels), return_inverse=True)
    return _NodeSets(nodes, np.split(places, np.cumsum([len(level) for level in levels])[:-1]), edges)


def _padded(
    collate: Neighbours, graph: Graph, ids: np.ndarray, position: np.ndarray, extent: tuple[int, ...], real: int
) -> tuple[dict[str, Any], Mapping[str, float]]:
    # Rows of padding are not sampled: they repeat real ones, and `extent` did not count them.
    sets = _node_sets(collate, graph, ids[:real], position[:real])
    features = np.zeros((extent[0], *graph.features.shape[1:]), graph.features.dtype)
    features[: len(sets.nodes)] = graph.features.take(sets.nodes, axis=0)
    seeds = np.resize(sets.levels[0], len(ids)) if real else np.zeros(len(ids))
    levels, edges, sums = [seeds.astype(np.int32)], [], {"nodes": float(len(sets.nodes))}
    for depth, (level, (source, target)) in enumerate(zip(sets.levels[1:], sets.edges, strict=True)):
        nodes, slots = extent[1 + 2 * depth : 3 + 2 * depth]
        levels.append(_filled(level, nodes))
        edges.append((_filled(source, slots), _filled(target, slots), _filled(np.ones(len(source)), slots, np.float32)))
        sums |= {f"nodes_{depth + 1}": float(len(level)), f"edges_{depth + 1}": float(len(source))}
    nodes = _filled(sets.nodes, extent[0])
    return {"nodes": nodes, "features": features, "levels": tuple(levels), "edges": tuple(edges)}, sums


def _filled(values: np.ndarray, size: int, kind: Any = np.int32) -> np.ndarray:
    """`values` with zeros after them, `size` in all."""
    filled = np.zeros(size, kind)
    filled[: len(values)] = values
    return filled


def _rung(size: int, rungs: tuple[int, ...]) -> int:
    return next((rung for rung in rungs if rung >= size), -(-size // rungs[-1]) * rungs[-1])
