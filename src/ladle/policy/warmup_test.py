from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.core.batch import batch_ends
from ladle.core.decision import Progress
from ladle.core.errors import ArgumentError
from ladle.policy.grow_instead_of_decay import GrowInsteadOfDecay
from ladle.policy.warmup import Warmup


def size_at(policy: Any, examples: int) -> int:
    return policy.decide(None, Progress(examples))[1].spec.size


def updates(policy: Any, end: int, epoch_size: int) -> list[tuple[int, int]]:
    """(position, size asked for) of every update from 0 to `end`."""
    memory, examples, made = policy.init(None), 0, []
    while examples < end:
        memory, decision = policy.decide(memory, Progress(examples))
        made.append((examples, decision.spec.size))
        examples = int(batch_ends(examples, decision.spec.size, 1, epoch_size)[0])
    return made


def test_warmup_by_hand() -> None:
    # line(n) = 3 + 97 n / 9700 = 3 + n / 100
    policy = Warmup(3, 100, over=9700, micro_size=64)
    hand = {
        0: 3,
        99: 3,
        100: 4,
        499: 4,
        500: 8,
        1299: 8,
        1300: 16,
        2900: 32,
        6099: 32,
        6100: 64,
        9699: 64,
        9700: 100,
        10**9: 100,
    }
    assert {examples: size_at(policy, examples) for examples in hand} == hand


@given(first=st.integers(1, 50), rise=st.integers(0, 200), over=st.integers(1, 5000), examples=st.integers(0, 6000))
def test_warmup_by_example_is_the_line_rounded_down(first: int, rise: int, over: int, examples: int) -> None:
    policy = Warmup(first, first + rise, over, micro_size=64, by="example")
    assert size_at(policy, examples) == min(first + rise, first + rise * examples // over)


def test_a_ramp_ends_at_the_configured_number_of_consumed_samples() -> None:
    # NVIDIA-NeMo/Megatron-Bridge#2609: 100 iterations at 16, ramp from 8 over 160 samples. Counted in iterations
    # the run ends at 1440 samples and a rate schedule over 1600 never completes. Counted in samples:
    end, decay_at = 100 * 16, 1200
    made = updates(Warmup(8, 16, over=160, micro_size=16), end, epoch_size=10**6)
    assert [size for _, size in made] == [8] * 20 + [16] * 90
    assert made[-1] == (end - 16, 16)
    # and what is told to happen at 1200 samples happens there, ramp or no ramp
    policy = GrowInsteadOfDecay(8, 2, (160, decay_at), largest=16, micro_size=16)
    made = updates(policy, end, epoch_size=10**6)
    factors = {position: policy.decide(None, Progress(position))[1].lr_factor for position, _ in made}
    assert min(position for position, factor in factors.items() if factor == 0.5) == decay_at
    assert sum(size for _, size in made) == end


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Warmup(64, 32, 10, 1), "target must be at least first=64"),
        (lambda: Warmup(8, 32, 0, 1), "over must be at least 1"),
        (lambda: Warmup(8, 32, 10, 1, by="line"), "by must be 'rung' or 'example'"),  # type: ignore[arg-type]
    ],
)
def test_impossible_schedules_are_one_clear_line(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
