from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ladle.policy.segments import Segment, follow


@given(
    starts=st.sets(st.integers(1, 10_000), max_size=8),
    sizes=st.lists(st.integers(1, 4096), min_size=9, max_size=9),
    examples=st.integers(0, 12_000),
)
def test_follow_agrees_with_a_slow_reading_of_the_table(starts: set[int], sizes: list[int], examples: int) -> None:
    table = [Segment(start, size) for start, size in zip([0, *sorted(starts)], sizes, strict=False)]
    size, stop = 0, None
    for segment in table:
        if segment.start <= examples:
            size = segment.size
        elif stop is None:
            stop = segment.start
    _, decision = follow(table, None, examples=examples, micro_size=64, kind="test")
    assert (decision.spec.size, decision.stop) == (size, stop)
