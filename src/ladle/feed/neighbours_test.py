from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ladle.core.cursor import Cursor, Shard
from ladle.core.errors import ArgumentError
from ladle.core.spec import BatchSpec
from ladle.feed.graph import Graph
from ladle.feed.host import HostFeed
from ladle.feed.neighbours import Neighbours, sampled
from ladle.feed.order import Permuted
from ladle.jax.objective import of_functions
from ladle.jax.optimizer import optimizer_named
from ladle.jax.step import CompiledStep

rng = np.random.default_rng(0)
N, WIDTH = 60, 4
X = rng.normal(size=(N, WIDTH)).astype(np.float32)
Y = (np.arange(N) % 3).astype(np.int32)
# A hub of 59 neighbours, many of a few, one (the last) of none.
PAIRS = [(u, v) for u, v in rng.integers(0, N - 1, (180, 2)).tolist() if u != v] + [(u, 0) for u in range(1, N)]
GRAPH = Graph.of_edges(PAIRS, X, Y)
RUNGS = (16, 64, 128)
W, V = rng.normal(size=(2, 2, WIDTH, WIDTH))


def layer(own: np.ndarray, mean: np.ndarray, k: int) -> np.ndarray:
    return np.tanh(own @ W[k] + mean @ V[k])


def of_tree(x: Any) -> np.ndarray:
    """GraphSAGE with mean aggregation, two layers, as the docstring says."""
    levels = list(x["levels"])
    for k in range(2):
        means = [
            (below * mask[..., None]).sum(-2) / np.maximum(mask.sum(-1), 1)[..., None]
            for below, mask in zip(levels[1:], x["masks"], strict=False)
        ]
        levels = [layer(own, mean, k) for own, mean in zip(levels, means, strict=False)]
    return levels[0]


def of_node_sets(x: Any) -> np.ndarray:
    """The same by sums over edges."""
    levels = [x["features"][places] for places in x["levels"]]
    for k in range(2):
        after = []
        for own, below, (source, target, mask) in zip(levels, levels[1:], x["edges"], strict=False):
            total, count = np.zeros((len(own), WIDTH)), np.zeros(len(own))
            np.add.at(total, target, below[source] * mask[:, None])
            np.add.at(count, target, mask)
            after.append(layer(own, total / np.maximum(count, 1)[:, None], k))
        levels = after
    return levels[0]


def of_whole_graph() -> np.ndarray:
    """With every neighbour: by the normalised adjacency matrix, no sampling at all."""
    adjacency = np.zeros((N, N))
    for source, target in PAIRS:
        adjacency[target, source] = 1
    mean = adjacency / np.maximum(adjacency.sum(1), 1)[:, None]
    h = X.astype(np.float64)
    for k in range(2):
        h = layer(h, mean @ h, k)
    return h


def outputs(collate: Neighbours, spec: BatchSpec, start: int = 0, shards: int = 1) -> dict[int, np.ndarray]:
    """Output of each position of one update, put together from micro-batches and shards."""
    feed, found = HostFeed(GRAPH, Permuted(N, 3), collate=collate), {}
    for index in range(shards):
        draw, _ = feed.draw(Cursor(start), spec, Shard(index, shards))
        for batch in draw.micro_batches(0, spec.micro_size):
            values = (of_tree if collate.rungs is None else of_node_sets)(batch.data["x"])
            found |= dict(zip(batch.position[: batch.real].tolist(), values[: batch.real], strict=True))
    return dict(sorted(found.items()))


def test_with_every_neighbour_it_is_the_whole_graph():
    expected = of_whole_graph()
    for rungs in (None, RUNGS):
        feed = HostFeed(GRAPH, Permuted(N, 3), collate=Neighbours((N, N), rungs))
        (batch,) = feed.draw(Cursor(), BatchSpec(20, 20))[0].micro_batches(0, 20)
        found = (of_tree if rungs is None else of_node_sets)(batch.data["x"])
        np.testing.assert_allclose(found, expected[batch.ids], rtol=1e-5, atol=1e-6)


@given(st.integers(1, 25), st.integers(1, 4), st.integers(0, 2 * N))
@settings(max_examples=15)
def test_a_sample_is_the_same_however_the_batch_is_cut(micro_size, shards, start):
    """And in both forms."""
    whole = outputs(Neighbours((4, 3), seed=5), BatchSpec(30, 30), start)
    cut = outputs(Neighbours((4, 3), seed=5), BatchSpec(30, micro_size), start, shards)
    sets = outputs(Neighbours((4, 3), RUNGS, seed=5), BatchSpec(30, micro_size), start, shards)
    for other in (cut, sets):
        assert list(other) == list(whole)
        np.testing.assert_allclose(list(other.values()), list(whole.values()), rtol=1e-5, atol=1e-6)


def test_samples_are_new_for_each_position_depth_seed_and_node():
    hub = np.zeros(1, np.int64)

    def chosen(position: int = 7, depth: int = 0, seed: int = 1, node: np.ndarray = hub) -> tuple[int, ...]:
        return tuple(sampled(GRAPH, node, np.array([position]), depth, 5, seed)[0][0].tolist())

    found = [chosen(), chosen(8), chosen(7 + 2**32), chosen(depth=1), chosen(seed=2), chosen(seed=2**32 + 1)]
    assert len(set(found)) == len(found)
    assert chosen() == found[0]


def test_neighbours_are_different_ones_and_all_where_they_are_few():
    node = np.arange(N)
    for fanout in (1, 3, 10, 59, 60):
        chosen, there = sampled(GRAPH, node, 100 + node, 0, fanout, 3)
        assert (there.sum(1) == np.minimum(GRAPH.degree, fanout)).all()
        for v in range(N):
            own = chosen[v][there[v]].tolist()
            assert len(set(own)) == len(own)
            assert set(own) <= set(GRAPH.neighbours(v).tolist())


@pytest.mark.parametrize(("degree", "fanout"), [(3, 1), (7, 3), (12, 5), (59, 10)])
def test_every_neighbour_and_every_pair_is_as_likely_as_any_other(degree, fanout):
    """Chi-square over positions, in units of its spread."""
    graph, trials = Graph.of_edges([(u, 0) for u in range(1, degree + 1)], np.zeros((degree + 1, 1))), 20_000
    chosen, _ = sampled(graph, np.zeros(trials, np.int64), np.arange(trials), 0, fanout, 11)
    share = fanout / degree
    seen = np.bincount(chosen.ravel() - 1, minlength=degree)
    # Without repeats: the counts of one trial are hypergeometric, their sum is fixed.
    statistic = ((seen - trials * share) ** 2).sum() / (trials * share * (1 - share)) * (degree - 1) / degree
    assert abs(statistic - (degree - 1)) < 4 * np.sqrt(2 * (degree - 1))
    if fanout > 1:
        first = np.minimum(chosen[:, 0], chosen[:, 1]) * (degree + 1) + np.maximum(chosen[:, 0], chosen[:, 1])
        _, pairs = np.unique(first, return_counts=True)
        possible = degree * (degree - 1) // 2
        expected = trials / possible
        unseen = possible - len(pairs)
        statistic = ((pairs - expected) ** 2).sum() / expected + unseen * expected
        assert abs(statistic - (possible - 1)) < 4 * np.sqrt(2 * (possible - 1))


def test_shapes_are_the_fanouts_or_rungs_and_sums_are_sizes():
    spec, shapes = BatchSpec(30, 8), set()
    tree = HostFeed(GRAPH, Permuted(N, 1), collate=Neighbours((4, 3)))
    for batch in tree.draw(Cursor(), spec)[0].micro_batches(0, 8):
        x = batch.data["x"]
        assert [level.shape for level in x["levels"]] == [(8, WIDTH), (8, 4, WIDTH), (8, 4, 3, WIDTH)]
        assert [mask.shape for mask in x["masks"]] == [(8, 4), (8, 4, 3)]
        assert batch.sums["edges_1"] == np.minimum(GRAPH.degree[batch.ids[: batch.real]], 4).sum()
        assert batch.sums["nodes_2"] == x["masks"][1][: batch.real].sum()
        assert not x["levels"][2][x["masks"][1] == 0].any()
    sets = HostFeed(GRAPH, Permuted(N, 1), collate=Neighbours((4, 3), RUNGS))
    for batch in sets.draw(Cursor(), spec)[0].micro_batches(0, 8):
        x, sums = batch.data["x"], batch.sums
        shapes |= {
            len(x["nodes"]),
            len(x["features"]),
            *map(len, x["levels"][1:]),
            *(len(one[0]) for one in x["edges"]),
        }
        used = int(sums["nodes"])
        assert len(set(x["nodes"][:used].tolist())) == used
        np.testing.assert_array_equal(x["features"][:used], X[x["nodes"][:used]])
        np.testing.assert_array_equal(x["nodes"][x["levels"][0]], batch.ids)
        assert [one[2].sum() for one in x["edges"]] == [sums["edges_1"], sums["edges_2"]]
        assert sums["nodes_2"] <= sums["edges_2"]
        np.testing.assert_array_equal(batch.data["y"], Y[batch.ids])
    assert shapes <= set(RUNGS)


def test_above_the_last_rung_sizes_are_multiples_of_it():
    feed = HostFeed(GRAPH, Permuted(N, 1), collate=Neighbours((10, 10), (7,)))
    (batch,) = feed.draw(Cursor(), BatchSpec(30, 30))[0].micro_batches(0, 30)
    sizes = [len(part) for part in (batch.data["x"]["nodes"], *batch.data["x"]["levels"][1:])]
    assert all(size % 7 == 0 and size > 7 for size in sizes)


def test_a_graph_without_edges_is_its_nodes():
    graph = Graph.of_edges([], X)
    for rungs in (None, RUNGS):
        feed = HostFeed(graph, Permuted(N), collate=Neighbours((2, 2), rungs))
        (batch,) = feed.draw(Cursor(), BatchSpec(5, 5))[0].micro_batches(0, 5)
        assert (batch.sums["nodes_1"], batch.sums["edges_2"]) == (0, 0)
        found = (of_tree if rungs is None else of_node_sets)(batch.data["x"])
        zero = np.zeros((5, WIDTH))
        np.testing.assert_allclose(found, layer(layer(X[batch.ids], zero, 0), zero, 1), rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"fanouts": ()}, "fanouts must hold one number or more"),
        ({"fanouts": (3, 0)}, "fanouts must be at least 1"),
        ({"rungs": ()}, "rungs must be one or more numbers that rise"),
        ({"rungs": (8, 8)}, "rungs must be one or more numbers that rise"),
        ({"rungs": (0, 8)}, "rungs must be at least 1"),
        ({"seed": -1}, "seed must be a whole number"),
    ],
)
def test_what_cannot_be_is_refused(options, says):
    with pytest.raises(ArgumentError, match=says):
        Neighbours(**options)


def test_both_forms_give_the_same_gradient_cut_or_whole():
    """Through the compiled step, from the host: one layer with mean aggregation, softmax over three classes."""

    def init(key: Any) -> Any:
        return {"own": jnp.asarray(W[0][:, :3], jnp.float32), "mean": jnp.asarray(V[0][:, :3], jnp.float32)}

    def outputs_of(params: Any, x: Any) -> Any:
        if "masks" in x:
            (own, below), (mask,) = x["levels"], x["masks"]
            total, count = (below * mask[..., None]).sum(1), mask.sum(1)
        else:
            own, below = (x["features"][places] for places in x["levels"])
            ((source, target, mask),) = x["edges"]
            total = jax.ops.segment_sum(below[source] * mask[:, None], target, len(own))
            count = jax.ops.segment_sum(mask, target, len(own))
        return own @ params["own"] + (total / jnp.maximum(count, 1)[:, None]) @ params["mean"]

    def loss(params: Any, batch: Any) -> Any:
        chances = jax.nn.log_softmax(outputs_of(params, batch["x"]))
        return -jnp.take_along_axis(chances, batch["y"][:, None], axis=1)[:, 0]

    found = []
    for collate, micro_size in ((Neighbours((3,)), 20), (Neighbours((3,), RUNGS), 10)):
        feed, spec = HostFeed(GRAPH, Permuted(N, 3), collate=collate), BatchSpec(20, micro_size)
        step = CompiledStep(of_functions(init, loss), optimizer_named("sgd"))
        state, _ = step(step.init(0, {"lr": 1.0}), feed.draw(Cursor(), spec)[0], spec, 1.0)
        found.append(np.concatenate([np.asarray(leaf).ravel() for leaf in jax.tree.leaves(state.params)]))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5, atol=1e-6)
