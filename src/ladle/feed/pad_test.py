from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ladle.core.cursor import Cursor, Shard
from ladle.core.errors import ArgumentError, ExampleError
from ladle.core.spec import BatchSpec
from ladle.feed.arrays import Arrays
from ladle.feed.host import HostFeed
from ladle.feed.order import Permuted, Sequential
from ladle.feed.pad import Pad, length_rungs, rung_up
from ladle.feed.source.sequences import Sequences

lists = st.lists(st.lists(st.integers(1, 99), max_size=20), min_size=1, max_size=12).filter(any)


def made(documents, pad, ids):
    source, ids = Sequences.of(documents, id=np.arange(len(documents))), np.asarray(ids)
    return pad(source, ids, ids, pad.extent(source, ids, ids), len(ids))


@given(lists, st.data())
def test_rows_are_padded_to_the_rung_of_the_longest(documents, data):
    ids = data.draw(st.lists(st.integers(0, len(documents) - 1), min_size=1, max_size=8))
    rows = made(documents, Pad(rungs=(2, 5, 30), value=-1), ids)
    longest = max(len(documents[id]) for id in ids)
    length = min(rung for rung in (2, 5, 30) if rung >= longest)
    assert rows.data["tokens"].tolist() == [documents[id] + [-1] * (length - len(documents[id])) for id in ids]
    assert rows.data["mask"].sum(axis=1).tolist() == [len(documents[id]) for id in ids]
    assert (rows.data["mask"] == (rows.data["tokens"] >= 0)).all()
    assert rows.data["id"].tolist() == ids
    assert rows.sums == {"tokens": sum(len(documents[id]) for id in ids), "token_slots": len(ids) * length}
    assert rows.weight is None


def test_rungs_are_doublings_and_the_middles():
    assert length_rungs(64) == (8, 12, 16, 24, 32, 48, 64)
    assert length_rungs(5) == (5,)
    assert length_rungs(11, smallest=1) == (1, 2, 3, 4, 6, 8, 11)
    sizes = np.arange(0, 300)
    found = rung_up(sizes)
    assert (found >= sizes).all() and set(found) <= {8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384}
    assert [int(rung_up(size)) for size in sizes] == found.tolist()
    assert (found[9:] < 1.5 * sizes[9:]).all()


def test_longest_is_the_last_rung():
    assert Pad(longest=20).rungs == (8, 12, 16, 20)
    assert Pad(rungs=(4, 9)).longest == 9
    assert Pad(rungs=(4, 9), longest=6).longest == 6


def test_too_long_rows_are_named_and_may_be_left_out_or_cut():
    documents = [[1], [2] * 7, [3] * 4, [4] * 9]
    with pytest.raises(ExampleError, match="examples must have at most 5 tokens; got '9 tokens \\(2 such") as error:
        made(documents, Pad(longest=5), [0, 1, 3])
    assert error.value.ids == (1, 3)
    cut = made(documents, Pad(rungs=(4, 8), longest=5, truncate=True, weigh="tokens"), [0, 1, 3])
    assert cut.data["tokens"].tolist() == [[1] + [0] * 7, [2] * 5 + [0] * 3, [4] * 5 + [0] * 3]
    assert cut.data["mask"].sum(axis=1).tolist() == cut.weight.tolist() == [1, 5, 5]
    feed = HostFeed(Sequences.of(documents), Sequential(4), collate=Pad(longest=5), bad="skip")
    (batch,) = feed.draw(feed.start(), BatchSpec(4, 4))[0].micro_batches(0, 4)
    assert batch.bad == (1, 3)
    assert batch.weight.tolist() == [1, 0, 1, 0]


DOCUMENTS = [np.random.default_rng(i).integers(1, 99, 1 + i * i % 23) for i in range(37)]


@settings(max_examples=25)
@given(st.integers(1, 40), st.integers(1, 16), st.sampled_from([1, 2, 3]), st.sampled_from(["tokens", "targets"]))
def test_weighed_by_tokens_the_mean_is_over_tokens(size, micro_size, shards, weigh):
    """Each row's loss is its own mean; the batch's is that over all tokens, however it is cut."""
    feed = HostFeed(Sequences.of(DOCUMENTS), Permuted(len(DOCUMENTS), 3), collate=Pad(weigh=weigh))
    total = weights = 0.0
    draws = [feed.draw(Cursor(5), BatchSpec(size, micro_size), Shard(i, shards))[0] for i in range(shards)]
    for batch in (batch for draw in draws for batch in draw.micro_batches(0, micro_size)):
        mask = batch.data["mask"] if weigh == "tokens" else batch.data["mask"][:, 1:]
        losses = np.sqrt(batch.data["tokens"][:, -mask.shape[1] :]) * mask
        means = losses.sum(axis=1) / np.maximum(mask.sum(axis=1), 1)
        total += float((batch.weight * means).sum())
        weights += float(batch.weight.sum())
    ids = feed.order.ids(5, min(size, len(DOCUMENTS) - 5))
    own = np.concatenate([DOCUMENTS[id][0 if weigh == "tokens" else 1 :] for id in ids])
    assert weights == len(own)
    if len(own):
        assert total / weights == pytest.approx(np.sqrt(own).mean(), rel=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Pad(rungs=(4, 4)), "rungs must rise; got \\(4, 4\\)"),
        (lambda: Pad(rungs=()), "rungs must rise; got \\(\\)"),
        (lambda: Pad(rungs=(0, 4)), "rungs must be at least 1; got 0"),
        (lambda: Pad(rungs=(4, 8), longest=9), "rungs must reach 9; got \\(4, 8\\)"),
        (lambda: Pad(longest=0), "longest must be at least 1; got 0"),
        (lambda: Pad(weigh="sentences"), "weigh must be one of rows, tokens, targets; got 'sentences'"),  # type: ignore[arg-type]
        (
            lambda: Pad().extent(Arrays({"x": np.arange(3)}), np.arange(2), np.arange(2)),
            "source must have lengths; got 'Arrays'",
        ),
    ],
    ids=["level", "none", "zero", "short", "longest", "weigh", "lengths"],
)
def test_what_cannot_be_padded_is_refused(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()
