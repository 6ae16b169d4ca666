from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ladle.core.errors import ArgumentError, DataError, ExampleError
from ladle.feed.packing import _best_fit, _first_fit, pack

sizes = st.lists(st.integers(0, 25), min_size=1, max_size=60).filter(any)
METHODS = ("best", "first", "cut")


@settings(max_examples=60)
@given(sizes, st.integers(1, 20), st.integers(1, 70), st.sampled_from(METHODS), st.integers(0, 3))
@example([0, 1], 1, 1, "best", 0)  # A window of nothing but empty documents.
@example([0, 1], 1, 1, "first", 0)
def test_every_token_is_in_exactly_one_row(lengths, length, window, method, seed):
    plan = pack(lengths, length, window=window, method=method, seed=seed)
    tokens = [[] for _ in lengths]
    for begin, end in pairwise(plan.row.tolist()):
        assert 0 < plan.size[begin:end].sum() <= length
        for piece in range(begin, end):
            tokens[plan.document[piece]] += range(plan.start[piece], plan.start[piece] + plan.size[piece])
    assert [sorted(found) for found in tokens] == [list(range(size)) for size in lengths]
    assert (plan.size > 0).all()
    assert plan.fill == sum(lengths) / (len(plan) * length)
    if method == "cut":
        assert len(plan) == -(-sum(lengths) // length)
    else:
        assert (plan.start % length == 0).all()  # Only what is longer than a row is cut.


def slow(lengths, length, method):
    """The textbook algorithm, item by item: free places of all rows."""
    free: list[int] = []
    for size in sorted(lengths, reverse=True):
        fitting = [row for row in range(len(free)) if free[row] >= size]
        if not fitting:
            free.append(length)
            fitting = [len(free) - 1]
        free[min(fitting, key=lambda row: (free[row], row)) if method == "best" else fitting[0]] -= size
    return free


@settings(max_examples=100)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=60), st.integers(20, 40), st.sampled_from(["best", "first"]))
def test_the_histogram_gives_what_the_algorithm_gives_item_by_item(lengths, length, method):
    values, counts = np.unique(lengths, return_counts=True)
    place = _best_fit if method == "best" else _first_fit
    row = place(values[::-1].tolist(), counts[::-1].tolist(), length)
    assert len(row) == len(lengths)
    free = (length - np.bincount(row, np.repeat(values[::-1], counts[::-1]))).tolist()
    expected = slow(lengths, length, method)
    assert sorted(free) == sorted(expected) if method == "best" else free == expected


def test_log_normal_documents_fill_their_rows():
    lengths = np.clip(np.random.default_rng(0).lognormal(5.5, 0.9, 20_000), 8, 2048).astype(int)
    best, first, cut = (pack(lengths, 2048, method=method) for method in METHODS)
    assert min(best.fill, first.fill) > 0.997
    assert min(best.full, first.full) > 0.9
    assert cut.full > 0.999
    assert best.document.dtype == best.start.dtype == best.size.dtype == np.int32


def test_row_mates_are_drawn_by_the_seed():
    lengths = np.full(64, 4)
    plans = [pack(lengths, 8, seed=seed).document.tolist() for seed in (0, 1, 0)]
    assert plans[0] == plans[2] != plans[1]
    assert plans[0] != sorted(plans[0])


@pytest.mark.parametrize(
    ("error", "make", "message"),
    [
        (ArgumentError, lambda: pack([1], 4, method="worst"), "method must be 'best', 'first' or 'cut'; got 'worst'"),  # type: ignore[arg-type]
        (ArgumentError, lambda: pack([1, -1], 4), "lengths must not be negative; got '-1 for example 1'"),
        (ArgumentError, lambda: pack([], 4), "lengths must be as many whole numbers as there are examples"),
        (ArgumentError, lambda: pack([1], 0), "length must be at least 1; got 0"),
        (ArgumentError, lambda: pack([1], 4, window=0), "window must be at least 1; got 0"),
        (DataError, lambda: pack([0, 0], 4), "documents must hold a token; got '2 empty ones'"),
        (
            ExampleError,
            lambda: pack([1, 9, 8], 4, split=False),
            "documents must have at most 4 tokens; got '9 for document 1 \\(2 such\\)'",
        ),
    ],
    ids=["method", "negative", "none", "length", "window", "empty", "long"],
)
def test_what_cannot_be_packed_is_refused(error, make, message):
    with pytest.raises(error, match=message):
        make()
