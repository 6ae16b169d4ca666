from __future__ import annotations

import pickle

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ladle.core.cursor import Cursor, Shard
from ladle.core.errors import ArgumentError
from ladle.core.spec import BatchSpec
from ladle.feed.host import HostFeed
from ladle.feed.order import Permuted
from ladle.feed.pack import Packed, Weighed, next_tokens
from ladle.feed.pad import Pad
from ladle.feed.source.sequences import Sequences

sizes = st.lists(st.integers(0, 25), min_size=1, max_size=40).filter(any)
METHODS = ("best", "first", "cut")


def sequences(lengths):
    """Every token is its own number, so that a row says where it comes from."""
    return Sequences(np.arange(1, sum(lengths) + 1, dtype=np.int32), np.cumsum([0, *lengths]))


@settings(max_examples=60)
@given(sizes, st.integers(1, 20), st.sampled_from(METHODS), st.data())
def test_rows_are_those_of_a_slow_reference(lengths, length, method, data):
    packed = Packed(sequences(lengths), length, method=method)
    ids = np.array(data.draw(st.lists(st.integers(0, len(packed) - 1), min_size=1, max_size=6)))
    rows, plan, offsets = packed.take(ids), packed.plan, packed.sequences.offsets
    for at, id in enumerate(ids):
        tokens, segment, position = [], [], []
        for number, piece in enumerate(range(plan.row[id], plan.row[id + 1]), start=1):
            start, size = offsets[plan.document[piece]] + plan.start[piece], plan.size[piece]
            tokens += range(start + 1, start + size + 1)
            segment += [number] * size
            position += range(size)
        free = [0] * (length - len(tokens))
        assert rows["tokens"][at].tolist() == tokens + free
        assert rows["segment"][at].tolist() == segment + free
        assert rows["position"][at].tolist() == position + free
        assert packed.documents(int(id)).tolist() == plan.document[plan.row[id] : plan.row[id + 1]].tolist()
    assert {array.dtype for array in rows.values()} == {np.dtype(np.int32)}


@settings(max_examples=30)
@given(sizes, st.integers(1, 20), st.integers(1, 50), st.sampled_from(METHODS))
def test_all_rows_together_hold_every_token_once(lengths, length, window, method):
    packed = Packed(sequences(lengths), length, window=window, method=method)
    rows = packed.take(np.arange(len(packed)))
    tokens = rows["tokens"][rows["segment"] > 0]
    assert sorted(tokens.tolist()) == list(range(1, sum(lengths) + 1))
    assert packed.fill == (rows["segment"] > 0).mean()
    assert not rows["tokens"][rows["segment"] == 0].any()


def test_other_values_are_packed_likewise_and_keep_their_types():
    values = {"tokens": np.arange(6, dtype=np.uint16), "vector": np.arange(12, dtype=np.float32).reshape(6, 2)}
    rows = Packed(Sequences(values, [0, 2, 6]), length=8).take(np.array([0]))
    assert rows["tokens"].tolist() == [[2, 3, 4, 5, 0, 1, 0, 0]]
    assert rows["vector"].shape == (1, 8, 2)
    assert rows["vector"][0, :6, 0].tolist() == [4, 6, 8, 10, 0, 2]
    assert not rows["vector"][0, 6:].any()
    assert (rows["tokens"].dtype, rows["vector"].dtype) == (np.uint16, np.float32)


def test_rows_longer_than_all_data_are_padded():
    rows = Packed(Sequences.of([[7]]), length=300).take(np.array([0, 0]))
    assert rows["tokens"].sum(axis=1).tolist() == [7, 7]


def test_a_packed_source_travels_between_processes():
    packed = Packed(sequences([3, 5, 2]), 5)
    again = pickle.loads(pickle.dumps(packed))
    np.testing.assert_array_equal(again.take(np.array([1]))["tokens"], packed.take(np.array([1]))["tokens"])


LENGTHS = [int(n) for n in np.random.default_rng(0).integers(0, 30, 90)]


@settings(max_examples=25)
@given(st.integers(1, 60), st.integers(1, 9), st.sampled_from([1, 2, 3]))
def test_weighed_by_targets_the_loss_is_the_mean_over_all_targets_of_whole_documents(size, micro_size, shards):
    """Packed or padded, cut in any way: documents never predict each other, each target counts the same."""
    whole = sequences(LENGTHS)
    means = []
    for source, collate in ((Packed(whole, 32), Weighed("targets")), (whole, Pad(weigh="targets"))):
        feed = HostFeed(source, Permuted(len(source), 3), collate=collate)
        total, weights, cursor = 0.0, 0.0, Cursor()
        while cursor.drawn < len(source):
            spec, start = BatchSpec(size, micro_size), cursor
            for index in range(shards):
                draw, cursor = feed.draw(start, spec, Shard(index, shards))
                for batch in draw.micro_batches(0, micro_size):
                    segment = batch.data.get("segment", batch.data.get("mask"))
                    target, mask = next_tokens(batch.data["tokens"], segment)
                    loss = np.where(mask, np.sin(batch.data["tokens"] + 2.0 * target), 0)
                    total += float((batch.weight * loss.sum(axis=1) / np.maximum(mask.sum(axis=1), 1)).sum())
                    weights += float(batch.weight.sum())
        means.append((total / weights, weights))
    firsts = np.concatenate([np.arange(a + 1, a + n) for a, n in zip(whole.offsets, LENGTHS, strict=False) if n])
    expected = np.sin(firsts + 2.0 * (firsts + 1)).mean()
    assert means[0][1] == means[1][1] == len(firsts)
    np.testing.assert_allclose([mean for mean, _ in means], expected, rtol=1e-5)


def test_next_tokens_in_either_library_and_with_a_mask():
    segment = np.array([[1, 1, 2, 3, 3, 0, 0], [1, 1, 1, 1, 1, 1, 1]], np.int32)
    tokens = np.arange(1, 15, dtype=np.int32).reshape(2, 7)
    target, mask = next_tokens(tokens, segment)
    assert target.tolist() == [[2, 0, 0, 5, 0, 0, 0], [9, 10, 11, 12, 13, 14, 0]]
    assert mask.tolist() == (target > 0).tolist()
    assert (target.dtype, mask.dtype) == (np.int32, np.bool_)
    for found, expected in zip(next_tokens(jnp.array(tokens), jnp.array(segment), jnp), (target, mask), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert next_tokens(tokens[:, :1], segment[:, :1])[1].tolist() == [[False], [False]]
    as_mask = next_tokens(jnp.array(tokens), jnp.array(segment > 0), jnp)[1]
    assert as_mask.sum(axis=1).tolist() == [4, 6]


@pytest.mark.parametrize(
    ("weigh", "weight"), [("rows", None), ("tokens", [6, 4]), ("targets", [4, 3])], ids=["rows", "tokens", "targets"]
)
def test_rows_are_weighed_by_what_is_in_them(weigh, weight):
    packed = Packed(sequences([5, 1, 4]), 6)
    ids = np.arange(2)
    rows = Weighed(weigh)(packed, ids, ids, Weighed(weigh).extent(packed, ids, ids), real=1)
    assert (rows.weight if weight is None else rows.weight.tolist()) == weight
    assert rows.sums == {"tokens": 6.0, "token_slots": 12.0}


def test_an_unknown_weight_is_refused():
    with pytest.raises(ArgumentError, match="weigh must be one of rows, tokens, targets; got 'words'"):
        Weighed("words")  # type: ignore[arg-type]
