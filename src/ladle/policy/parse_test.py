from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.errors import ArgumentError
from ladle.policy.constant import Constant
from ladle.policy.parse import EXAMPLES, parse_steps, policy_from_text
from ladle.policy.schedule import Geometric, GrowInsteadOfDecay, Steps, Warmup


def parsed(text: str, **options: Any) -> Any:
    return policy_from_text(text, **{"size": 100, "micro_size": 256, "epoch_size": 1000, **options})


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("constant", Constant(100, 128)),
        (" Constant ", Constant(100, 128)),
        ("0:64", Steps(((0, 64),), 256)),
        ("0:64 10ep:128", Steps(((0, 64), (10_000, 128)), 256)),
        ("0:64, 1e6:128,2.5M:1K", Steps(((0, 64), (1_000_000, 128), (2_500_000, 1000)), 256)),
        ("0:64 1.1M:128 3B:256", Steps(((0, 64), (1_100_000, 128), (3_000_000_000, 256)), 256)),
        ("0 : 64  500 examples : 128  2 epochs:256", Steps(((0, 64), (500, 128), (2000, 256)), 256)),
        ("0ep:64 0.5ep:128", Steps(((0, 64), (500, 128)), 256)),
        ("geometric 32..1024 x2 every 2 epochs", Geometric(32, 1024, 2.0, 2000, 256)),
        ("GEOMETRIC 32 .. 1K x1.5 every 5e3", Geometric(32, 1000, 1.5, 5000, 256)),
        ("grow 64 x5 at 10ep 20ep max 2048", GrowInsteadOfDecay(64, 5.0, (10_000, 20_000), 2048, 256)),
        ("grow 64 x2.5 at 500, 1.5 epochs max 2K", GrowInsteadOfDecay(64, 2.5, (500, 1500), 2000, 256)),
        ("warmup 8->64 over 1ep", Warmup(8, 64, 1000, 256)),
        ("warmup 8 -> 64 over 500 examples", Warmup(8, 64, 500, 256)),
    ],
)
def test_texts_and_what_they_mean(text: str, policy: Any) -> None:
    assert parsed(text) == policy


def test_every_example_shown_is_right() -> None:
    kinds = [type(parsed(text)) for text in EXAMPLES]
    assert kinds == [Constant, Steps, Geometric, GrowInsteadOfDecay, Warmup]


@pytest.mark.parametrize("text", ["0:64 10ep:128", "geometric 32..1024 x2 every 2 epochs", "warmup 8->64 over 1ep"])
def test_the_coupling_is_handed_on(text: str) -> None:
    assert parsed(text, coupling="linear").coupling == "linear"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "none of the known forms"),
        ("linear", "none of the known forms"),
        ("64", "none of the known forms"),
        ("0:64 128", "none of the known forms"),
        ("0:64;10:128", "none of the known forms"),
        ("0:-64", "none of the known forms"),
        ("-5:64", "none of the known forms"),
        ("0:64 5m2:3", "none of the known forms"),
        ("constant 64", "none of the known forms"),
        ("geometric 32..1024", "none of the known forms"),
        ("grow 64 x5 max 2048", "none of the known forms"),
        ("warmup 8->64", "none of the known forms"),
        ("0:1e9999999999", "none of the known forms"),
        ("10:64", "the table begins at 0"),
        ("0:64 0:128", "position 0 is given twice"),
        ("0:64 1ep:128 1000:256", "position 1,000 is given twice"),
        ("0:64 20ep:128 10ep:256", "position 10,000 comes after 20,000"),
        ("0:0", "a batch of 0"),
        ("0:64 5:0.0", "a batch of 0"),
        ("0:64.5", "'64.5' is no whole number"),
        ("0:64 0.5:7", "'0.5' is no whole number"),
        ("0:64 1e400:7", "more examples than can be counted"),
        ("geometric 32..16 x2 every 5", "last must be at least first=32, not 16"),
        ("geometric 32..64 x1 every 5", "growth must be a number from 1.01 to 1000, not 1.0"),
        ("geometric 32..64 x2 every 0", "every must be at least 1, not 0"),
        ("warmup 8->4 over 1ep", "target must be at least first=8, not 4"),
        ("warmup 8->64 over 0ep", "over must be at least 1, not 0"),
        ("grow 64 x5 at 20ep 10ep max 2048", "boundaries must ascend"),
        ("grow 64 x5 at 10ep max 32", "largest must be at least first=64, not 32"),
    ],
)
def test_a_wrong_text_is_one_line_that_shows_a_right_one(text: str, why: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        parsed(text)
    message = str(caught.value)
    assert message.startswith(f"schedule must say how the batch size goes; got {text!r}; because ")
    assert why in message
    assert any(repr(example) in message for example in EXAMPLES)
    assert "\n" not in message


def test_the_right_text_shown_is_of_the_kind_that_was_meant() -> None:
    with pytest.raises(ArgumentError, match="try 'warmup 8->64 over 1ep'$"):
        parsed("warmup 8->64")


def test_epochs_need_an_epoch() -> None:
    with pytest.raises(ArgumentError, match="'10ep' counts epochs and these data have none"):
        parsed("0:64 10ep:128", epoch_size=None)
    with pytest.raises(ArgumentError, match="schedule must .* counts epochs"):
        parse_steps("0:64 10ep:128")


def test_wrong_options_are_not_blamed_on_the_text() -> None:
    with pytest.raises(ArgumentError, match="^micro_size must be at least 1"):
        parsed("constant", micro_size=0)
    with pytest.raises(ArgumentError, match="cubic") as caught:
        parsed("0:64", coupling="cubic")
    assert not str(caught.value).startswith("schedule")


@given(
    starts=st.sets(st.integers(1, 10**15), max_size=6),
    sizes=st.lists(st.integers(1, 10**6), min_size=7, max_size=7),
)
def test_a_table_written_out_is_read_back(starts: set[int], sizes: list[int]) -> None:
    steps = tuple(zip([0, *sorted(starts)], sizes, strict=False))
    assert parse_steps(" ".join(f"{start}:{size}" for start, size in steps)) == steps


@given(st.text(alphabet="0123456789:.,ekmbpxovrgwat->< ", max_size=30))
def test_any_text_is_a_policy_or_one_error(text: str) -> None:
    try:
        policy = parsed(text)
    except ArgumentError as error:
        assert str(error).startswith("schedule must")
    else:
        assert isinstance(policy, Constant | Steps | Geometric | GrowInsteadOfDecay | Warmup)
