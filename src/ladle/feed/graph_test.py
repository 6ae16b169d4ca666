from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.core.errors import ArgumentError, DataError
from ladle.feed.graph import Graph

N = 12
PAIRS = st.lists(st.tuples(st.integers(0, N - 1), st.integers(0, N - 1)), max_size=60)
FEATURES = np.arange(3.0 * N).reshape(N, 3)


@given(PAIRS, st.booleans())
def test_rows_are_where_messages_come_from(pairs, undirected):
    graph = Graph.of_edges(pairs, FEATURES, undirected=undirected)
    wanted = [set() for _ in range(N)]
    for source, target in pairs:
        wanted[target].add(source)
        if undirected:
            wanted[source].add(target)
    assert [graph.neighbours(v).tolist() for v in range(N)] == [sorted(one) for one in wanted]
    assert graph.degree.tolist() == [len(one) for one in wanted]


def test_examples_are_the_nodes_that_were_named():
    labels = np.arange(N) % 3
    graph = Graph.of_edges([(0, 1)], FEATURES, labels, nodes=[7, 3, 9])
    rows = graph.take(np.array([2, 0, 2]))
    assert len(graph) == 3
    assert (rows["node"].tolist(), rows["y"].tolist()) == ([9, 7, 9], [0, 1, 0])
    np.testing.assert_array_equal(rows["x"], FEATURES[[9, 7, 9]])
    assert set(Graph.of_edges([], FEATURES).take(np.arange(2))) == {"x", "node"}


def test_compressed_rows_are_taken_as_they_are():
    indices = np.array([1, 2, 0], np.int32)
    graph = Graph([0, 2, 3, 3], indices, FEATURES[:3])
    assert graph.indices is indices
    assert [graph.neighbours(v).tolist() for v in range(3)] == [[1, 2], [0], []]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Graph([0], [], np.zeros((0, 1))), "graph must have 1 to"),
        (lambda: Graph([0, 2], [0], np.zeros((1, 1))), "indptr must rise from 0 to the 1 edges; got .0, 2."),
        (lambda: Graph([0, 2, 1], [0], np.zeros((2, 1))), "indptr must rise"),
        (lambda: Graph([1, 1], [0], np.zeros((1, 1))), "indptr must rise"),
        (lambda: Graph([0, 1], [1], np.zeros((1, 1))), "indices must hold nodes from 0 to 0; got '1 .1 such"),
        (lambda: Graph([0, 1], [0.0], np.zeros((1, 1))), "indices must hold node numbers"),
        (lambda: Graph([0, 1], [0], np.zeros((2, 1))), "features must be numbers for each of the 1 nodes"),
        (lambda: Graph([0, 1], [0], np.zeros((1, 1)), [1, 2]), "labels must be numbers for each of the 1 nodes"),
        (lambda: Graph([0, 1], [0], np.zeros((1, 1)), nodes=[]), "nodes must be one or more nodes"),
        (lambda: Graph([0, 1], [0], np.zeros((1, 1)), nodes=[-1]), "nodes must hold nodes from 0 to 0"),
        (lambda: Graph([0, 1], [0], np.zeros((1, 1)), nodes=[True]), "nodes must hold node numbers.*not a mask"),
        (lambda: Graph.of_edges([(0, 1, 2)], FEATURES), "edges must be pairs of nodes"),
        (lambda: Graph.of_edges([(0.5, 1)], FEATURES), "edges must be pairs of nodes"),
        (lambda: Graph.of_edges([(0, N)], FEATURES), f"edges must hold nodes from 0 to {N - 1}; got '{N} "),
    ],
)
def test_what_does_not_fit_together_is_refused(make, says):
    with pytest.raises((ArgumentError, DataError), match=says):
        make()
