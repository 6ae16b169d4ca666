from __future__ import annotations

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ladle.core.seen import Seen


@given(st.integers(1, 200), st.data())
def test_every_example_once_is_proved_in_any_order_and_any_parts(n, data):
    ids = np.array(data.draw(st.permutations(range(n))))
    cut = data.draw(st.integers(0, n))
    seen = Seen().add(ids[:cut], 3)
    assert seen.proves(n) is (None if cut < n else True)
    seen = Seen.from_json(json.loads(json.dumps(seen.to_json()))).add(ids[cut:], 3)
    assert seen.proves(n) is True


@given(st.lists(st.integers(0, 30), min_size=1, max_size=31))
def test_anything_else_is_not(ids):
    seen = Seen().add(np.array(ids), 0)
    if len(ids) >= 20:
        assert seen.proves(20) is (sorted(ids) == list(range(20)))


def test_a_new_pass_begins_anew():
    seen = Seen().add(np.arange(7), 0).add(np.arange(5), 1)
    assert (seen.epoch, seen.count, seen.proves(5)) == (1, 5, True)
