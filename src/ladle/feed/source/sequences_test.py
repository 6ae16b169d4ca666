from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.core.errors import DataError
from ladle.feed.source import sequences
from ladle.feed.source.sequences import Ragged, Sequences, gather, spans

lists = st.lists(st.lists(st.integers(0, 99), max_size=9), min_size=1, max_size=12).filter(any)


@given(lists, st.data())
def test_documents_come_back_as_they_were_put_in(documents, data):
    source = Sequences.of(documents, id=np.arange(len(documents)))
    ids = np.array(data.draw(st.lists(st.integers(0, len(documents) - 1), min_size=1, max_size=8)))
    rows = source.take(ids)
    tokens = rows["tokens"]
    assert [tokens.values[a:b].tolist() for a, b in zip(tokens.offsets, tokens.offsets[1:], strict=False)] == [
        documents[id] for id in ids
    ]
    assert rows["id"].tolist() == ids.tolist()
    assert source.lengths.tolist() == [len(document) for document in documents]
    assert len(source) == len(documents)


@pytest.mark.parametrize("block", [1, 3, 8192])
@pytest.mark.parametrize("long", [0, 128])
@pytest.mark.parametrize("shape", [(), (2,)], ids=["numbers", "vectors"])
def test_runs_are_gathered_alike_in_any_blocks(monkeypatch, block, long, shape):
    monkeypatch.setattr(sequences, "_BLOCK", block)
    monkeypatch.setattr(sequences, "_LONG", long)
    values = np.random.default_rng(0).integers(0, 99, (40, *shape), dtype=np.uint16)
    starts, sizes = np.array([0, 30, 5, 5, 39, 7]), np.array([4, 0, 9, 1, 1, 0])
    expected = np.concatenate([values[a : a + n] for a, n in zip(starts, sizes, strict=True)])
    found = gather(values, starts, sizes)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == values.dtype
    assert gather(values, starts[:0], sizes[:0]).shape == (0, *shape)
    assert gather(values, np.array([38]), np.array([200])).shape == (200, *shape)  # Beyond the end: the last, again.


def test_spans_of_nothing_are_nothing():
    assert spans(np.array([3, 4]), np.array([0, 0])).tolist() == []


def test_a_memory_mapped_file_is_read_where_it_lies(tmp_path):
    values = np.arange(1000, dtype=np.uint16)
    values.tofile(tmp_path / "tokens.bin")
    source = Sequences(np.memmap(tmp_path / "tokens.bin", np.uint16, "r"), np.arange(0, 1001, 10))
    found = source.take(np.array([99, 0]))["tokens"]
    assert found.values.tolist() == [*range(990, 1000), *range(10)]
    assert found.values.dtype == np.uint16
    assert isinstance(source.values["tokens"].base, np.memmap)


def test_tokens_may_have_several_values_and_vectors():
    source = Sequences({"word": np.arange(5), "tag": np.arange(10.0).reshape(5, 2)}, [0, 2, 5])
    rows = source.take(np.array([1]))
    assert rows["word"].values.tolist() == [2, 3, 4]
    assert rows["tag"].padded(4).shape == (1, 4, 2)


def test_offsets_need_not_begin_at_zero_nor_end_at_the_end():
    assert Sequences(np.arange(9), [2, 4, 5]).take(np.arange(2))["tokens"].values.tolist() == [2, 3, 4]


def test_rows_are_cut_and_padded():
    ragged = Ragged(np.arange(6), np.array([0, 4, 4, 6]))
    assert len(ragged) == 3
    assert ragged.padded(3, value=-1).tolist() == [[0, 1, 2], [-1, -1, -1], [4, 5, -1]]
    assert ragged.cut(4) is ragged


def test_a_source_travels_between_processes():
    source = Sequences(np.arange(6), [0, 1, 6], y=np.array([1, 2]))
    again = pickle.loads(pickle.dumps(source))
    assert again.take(np.array([1]))["tokens"].values.tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sequences(np.arange(3), [0, 2, 1]), "offsets must never fall; got '2 and then 1 at example 1'"),
        (lambda: Sequences(np.arange(3), [0, 4]), "offsets must stay within 0 to 3; got '0 to 4'"),
        (lambda: Sequences(np.arange(3), [-1, 2]), "offsets must stay within 0 to 3; got '-1 to 2'"),
        (lambda: Sequences(np.arange(3), [0]), "offsets must be at least two whole numbers in a row"),
        (lambda: Sequences(np.arange(3), [0.0, 2.0]), "type float64"),
        (lambda: Sequences(np.arange(3), [[0, 1], [2]]), "offsets must be at least two whole numbers in a row"),
        (lambda: Sequences(np.arange(3), [[0, 1]]), "shape \\(1, 2\\)"),
        (lambda: Sequences(np.arange(3), [0, 1, 3], y=np.arange(3)), "fields must have 2 rows; got 3"),
        (lambda: Sequences(np.arange(3), [0, 3], mask=np.arange(1)), "fields must not be called 'mask'"),
        (lambda: Sequences(np.arange(3), [0, 3], tokens=np.arange(1)), "fields must not be called 'tokens'"),
        (lambda: Sequences({"a": np.arange(3), "b": np.arange(4)}, [0, 3]), "equally many rows"),
        (lambda: Sequences(np.array([None]), [0, 1]), "be an array of numbers"),
        (lambda: Sequences.of([]), "documents must be arrays whose rows are alike; got '0 documents'"),
        (lambda: Sequences.of([[], []]), "documents must be arrays whose rows are alike; got '2 documents'"),
        (lambda: Sequences.of([1, 2]), "documents must be arrays whose rows are alike"),
        (lambda: Sequences.of([np.ones((1, 2)), np.ones((1, 3))]), "documents must be arrays whose rows are alike"),
    ],
    ids=lambda value: value.split(";")[0] if isinstance(value, str) else "",
)
def test_what_cannot_be_sequences_is_refused(make, message):
    with pytest.raises(DataError, match=message):
        make()
