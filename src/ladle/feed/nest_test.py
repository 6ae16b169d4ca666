from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ladle.core.errors import ArgumentError, DataError, ExampleError
from ladle.core.spec import BatchSpec
from ladle.feed.host import HostFeed
from ladle.feed.nest import Graphs, Nested, PadGraphs, PadNested
from ladle.feed.order import Sequential
from ladle.feed.source.sequences import Sequences

sentences = st.lists(st.integers(1, 99), max_size=6)
documents = st.lists(st.lists(sentences, max_size=5), min_size=1, max_size=7).filter(
    lambda found: any(sentence for document in found for sentence in document)
)


@settings(max_examples=60)
@given(documents, st.data())
def test_both_levels_are_padded_to_their_rungs(found, data):
    source = Nested.of(found, id=np.arange(len(found)))
    ids = np.array(data.draw(st.lists(st.integers(0, len(found) - 1), min_size=1, max_size=6)))
    pad = PadNested(groups=(1, 3, 5), rungs=(2, 6), value=-1, weigh="tokens")
    extent = pad.extent(source, ids, ids)
    rows = pad(source, ids, ids, extent, real=1)
    chosen = [found[id] for id in ids]
    most = max(len(document) for document in chosen)
    longest = max((len(sentence) for document in chosen for sentence in document), default=0)
    assert extent == (min(r for r in (1, 3, 5) if r >= most), min(r for r in (2, 6) if r >= longest))
    expected = np.full((len(ids), *extent), -1)
    for at, document in enumerate(chosen):
        for number, sentence in enumerate(document):
            expected[at, number, : len(sentence)] = sentence
    np.testing.assert_array_equal(rows.data["tokens"], expected)
    np.testing.assert_array_equal(rows.data["mask"], expected >= 0)
    assert rows.data["group_mask"].sum(axis=1).tolist() == [len(document) for document in chosen]
    assert rows.data["id"].tolist() == ids.tolist()
    assert rows.weight.tolist() == [sum(map(len, document)) for document in chosen]
    assert rows.sums == {"tokens": sum(map(len, chosen[0])), "token_slots": expected.size}
    assert source.lengths.tolist() == [sum(map(len, document)) for document in found]
    assert source.longest.tolist() == [max(map(len, document), default=0) for document in found]


def test_documents_are_weighed_by_rows_groups_or_tokens():
    source, ids = Nested.of([[[1, 2], [3]], [[4]], []]), np.arange(3)
    weights = [
        PadNested(weigh=weigh)(source, ids, ids, (8, 8), real=3).weight for weigh in ("rows", "groups", "tokens")
    ]
    assert weights[0] is None
    assert [weight.tolist() for weight in weights[1:]] == [[2, 1, 0], [3, 1, 0]]


def test_too_many_groups_or_tokens_are_named():
    source = Nested.of([[[1]], [[1], [2], [3]], [[1] * 9]])
    for pad, message, bad in (
        (PadNested(groups=(2,)), "examples must have at most 2 groups; got '3 groups", 1),
        (PadNested(rungs=(4, 8)), "examples must have at most 8 tokens in a group; got '9 tokens in a group", 2),
    ):
        feed = HostFeed(source, Sequential(3), collate=pad)
        with pytest.raises(ExampleError, match=message) as error:
            list(feed.draw(feed.start(), BatchSpec(3, 3))[0].micro_batches(0, 3))
        assert error.value.ids == (bad,)


def test_rows_that_are_only_padding_are_cut_to_the_extent_of_the_others():
    """A host without rows of its own repeats one, which may be larger than what the others need."""
    source, ids = Nested.of([[[1, 2, 3], [4], [5, 6]]]), np.arange(1)
    data = PadNested()(source, ids, ids, (2, 2), real=0).data
    assert data["tokens"].tolist() == [[[1, 2], [4, 0]]]
    assert data["mask"].tolist() == [[[True, True], [True, False]]]
    graphs = Graphs(Sequences.of([np.ones((3, 1))]), Sequences.of([[[0, 2], [1, 1]]]))
    cut = PadGraphs()(graphs, ids, ids, (2, 1), real=0).data
    assert (cut["edges"].tolist(), cut["nodes"].shape) == ([[[0, 1]]], (1, 2, 1))


def test_graphs_are_padded_in_nodes_and_edges():
    nodes = Sequences.of([np.full((n, 2), float(n)) for n in (3, 1, 2)], y=np.array([5, 6, 7]))
    source = Graphs(nodes, Sequences.of([[[0, 1], [2, 0]], np.zeros((0, 2), int), [[1, 1]]]))
    ids, pad = np.array([2, 0, 1]), PadGraphs(nodes=(4,), edges=(1, 2))
    rows = pad(source, ids, ids, pad.extent(source, ids, ids), real=2)
    assert rows.data["nodes"].shape == (3, 4, 2)
    assert rows.data["node_mask"].sum(axis=1).tolist() == [2, 3, 1]
    assert (rows.data["nodes"][..., 0] > 0).tolist() == rows.data["node_mask"].tolist()
    assert rows.data["edges"].tolist() == [[[1, 1], [0, 0]], [[0, 1], [2, 0]], [[0, 0], [0, 0]]]
    assert rows.data["edge_mask"].tolist() == [[True, False], [True, True], [False, False]]
    assert rows.data["y"].tolist() == [7, 5, 6]
    assert rows.sums == {"tokens": 5.0, "token_slots": 12.0}
    assert source.lengths.tolist() == [3, 1, 2]


def test_what_edges_have_travels_with_them():
    edges = Sequences({"tokens": np.array([[0, 1], [1, 0], [1, 1]]), "bond": np.array([3, 4, 5])}, [0, 2, 3])
    source, ids = Graphs(Sequences.of([np.ones((2, 1)), np.ones((2, 1))]), edges), np.array([1, 0])
    pad = PadGraphs(nodes=(2,), edges=(3,))
    rows = pad(source, ids, ids, pad.extent(source, ids, ids), real=2)
    assert rows.data["bond"].tolist() == [[5, 0, 0], [3, 4, 0]]
    assert rows.data["edges"].tolist() == [[[1, 1], [0, 0], [0, 0]], [[0, 1], [1, 0], [0, 0]]]


NODES = Sequences.of([np.ones((2, 1)), np.ones((1, 1))])


@pytest.mark.parametrize(
    ("error", "make", "message"),
    [
        (DataError, lambda: Nested(np.arange(4), [0, 3], [0, 1, 4]), "outer must stay within 0 to 2; got '0 to 3'"),
        (DataError, lambda: Nested(np.arange(4), [0, 2], [0, 3, 1]), "inner must never fall"),
        (DataError, lambda: Nested(np.arange(4), [0, 2], [0, 1, 4], y=[1, 2]), "fields must have 1 rows; got 2"),
        (DataError, lambda: Nested.of([[], []]), "documents must be arrays whose rows are alike"),
        (ArgumentError, lambda: PadNested(groups=(3, 2)), "groups must rise; got \\(3, 2\\)"),
        (ArgumentError, lambda: PadNested(weigh="words"), "weigh must be one of rows, groups, tokens"),  # type: ignore[arg-type]
        (ArgumentError, lambda: PadGraphs(edges=(0,)), "edges must be at least 1; got 0"),
        (ArgumentError, lambda: Graphs(NODES, Sequences.of([[[0, 1]]])), "edges must be of 2 graphs; got 1"),
        (
            ArgumentError,
            lambda: Graphs(NODES, Sequences.of([[[0, 1]], [[0, 1]]])),
            "edges must join nodes of their graph; got '\\[0, 1\\] in graph 1'; because it has 1 nodes",
        ),
        (ArgumentError, lambda: Graphs(NODES, Sequences.of([[0], [0]])), "edges must be pairs of whole numbers"),
        (
            ArgumentError,
            lambda: Graphs(NODES, Sequences({"tokens": [[0, 1], [0, 0]], "nodes": [1, 2]}, [0, 1, 2])),
            "edges must have names of their own; got 'nodes'",
        ),
    ],
    ids="outer inner fields empty groups weigh edges count joins pairs names".split(),
)
def test_what_cannot_be_nested_is_refused(error, make, message):
    with pytest.raises(error, match=message):
        make()
