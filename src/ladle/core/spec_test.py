from __future__ import annotations

import json
from dataclasses import asdict
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.core.errors import ArgumentError
from ladle.core.spec import BatchSpec, rung_for, rungs

sizes = st.integers(1, 10**9)


@given(size=sizes, micro_size=sizes)
def test_micro_steps_just_cover_the_batch(size, micro_size):
    steps = BatchSpec(size, micro_size).micro_steps
    assert (steps - 1) * micro_size < size <= steps * micro_size


def test_examples_of_a_call():
    assert BatchSpec(10, 4, updates=3).examples == 30


@pytest.mark.parametrize("name", ["size", "micro_size", "updates", "length"])
@pytest.mark.parametrize(
    "value, message", [(0, "at least 1"), (-3, "at least 1"), (2.5, "whole"), ("8", "whole"), (True, "whole")]
)
def test_a_number_that_counts_nothing_is_refused(name, value, message):
    fields = {"size": 8, "micro_size": 4, name: value}
    with pytest.raises(ArgumentError, match=f"^{name} must be .*{message}"):
        BatchSpec(**fields)


def test_numbers_of_numpy_are_numbers():
    spec = BatchSpec(np.int64(8), np.int32(4), updates=np.uint8(2))
    assert spec == BatchSpec(8, 4, updates=2)
    assert json.loads(json.dumps(asdict(spec)))["size"] == 8
    assert rung_for(np.int64(100), 4096) == 128


@given(largest=st.integers(1, 10**6), smallest=st.integers(1, 64))
def test_the_ladder_climbs_by_at_most_two_to_the_top(largest, smallest):
    ladder = rungs(largest, smallest)
    assert ladder[-1] == largest
    assert all(a < b <= 2 * a for a, b in pairwise(ladder))
    assert all(rung & (rung - 1) == 0 and rung >= smallest for rung in ladder[:-1])


@given(size=st.integers(1, 10**6), largest=st.integers(1, 10**6))
def test_a_rung_holds_the_batch_or_is_the_largest(size, largest):
    rung = rung_for(size, largest)
    assert rung == largest or (size <= rung < 2 * size and rung & (rung - 1) == 0)
    assert rung <= largest
