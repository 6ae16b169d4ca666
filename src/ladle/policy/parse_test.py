from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.core.decision import Progress
from ladle.core.errors import ArgumentError
from ladle.policy.adadagrad import AdAdaGrad
from ladle.policy.adascale import AdaScale
from ladle.policy.cabs import CABS
from ladle.policy.constant import Constant
from ladle.policy.divebatch import DiveBatch
from ladle.policy.forms import EXAMPLES
from ladle.policy.geometric import Geometric
from ladle.policy.goodput import Goodput
from ladle.policy.grow_instead_of_decay import GrowInsteadOfDecay
from ladle.policy.inner_product import InnerProduct
from ladle.policy.late_switch import LateSwitch
from ladle.policy.measured_warmup import MeasuredWarmup
from ladle.policy.noise_follow import NoiseFollow
from ladle.policy.normtest import NormTest
from ladle.policy.parse import parse_steps, policy_from_text
from ladle.policy.plateau import Plateau
from ladle.policy.range import Range
from ladle.policy.retreat import Retreating
from ladle.policy.seesaw import Seesaw
from ladle.policy.steps import Steps
from ladle.policy.utilisation import Utilisation
from ladle.policy.warmup import Warmup

SIZES = Range(32, 1024, micro_size=256)


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
        ("seesaw 64 x2 at 10ep 20ep max 2048", Seesaw(64, 2.0, (10_000, 20_000), 2048, 256)),
        ("late 64->1024 at 80ep", LateSwitch(64, 1024, (80_000,), 256)),
        ("late 64 -> 1K at 8e4, 90ep", LateSwitch(64, 1000, (80_000, 90_000), 256)),
        ("measured 64..1024 0:100 1e6:400", MeasuredWarmup(64, 1024, ((0, 100), (1_000_000, 400)), 256)),
        ("noise 32..1024", NoiseFollow(SIZES)),
        ("Noise x0.5 32..1K from 64 every 2ep most x4", NoiseFollow(Range(32, 1000, 256, 64, 4.0, 2000), 0.5)),
        ("noise 32..1K every 2ep from 64", NoiseFollow(Range(32, 1000, 256, 64, every=2000))),
        ("goodput 32..1024 MOST x4 from 64 every 500 examples", Goodput(Range(32, 1024, 256, 64, 4.0, 500))),
        ("norm test 32..1024", NormTest(SIZES)),
        ("norm test unbiased 0.9 32..1024", NormTest(SIZES, 0.9, "unbiased")),
        ("norm test 0.9 unbiased 32..1024", NormTest(SIZES, 0.9, "unbiased")),
        ("inner product 32..1024", InnerProduct(SIZES)),
        ("cabs 32..1024 lr 0.05", CABS(SIZES, 0.05)),
        ("cabs 32..1024 lr 5e-2", CABS(SIZES, 0.05)),
        ("adascale 32->300", AdaScale(Constant(300, 256), 32)),
        ("goodput 32..1024", Goodput(SIZES)),
        ("divebatch 32..1024", DiveBatch(SIZES)),
        ("divebatch 0.1 32..1024", DiveBatch(SIZES, 0.1)),
        ("adadagrad 0.1 32..1024", AdAdaGrad(SIZES, 0.1)),
        ("utilisation 32..1024", Utilisation(SIZES)),
        ("plateau 64 x2 patience 3 max 1024", Plateau(64, 1024, 256)),
        (
            "plateau 64 x1.5 patience 5 max 1024 on valid_accuracy",
            Plateau(64, 1024, 256, 1.5, 5, "valid_accuracy"),
        ),
        ("noise 32..1024, retreat", Retreating(NoiseFollow(SIZES))),
        ("0:64, 10ep:128 retreat 0.8", Retreating(Steps(((0, 64), (10_000, 128)), 256), 0.8)),
    ],
)
def test_texts_and_what_they_mean(text: str, policy: Any) -> None:
    assert parsed(text) == policy


def test_every_example_shown_is_right() -> None:
    kinds = [type(parsed(text)) for text in EXAMPLES]
    assert len(set(kinds)) == len(kinds) == 19


@pytest.mark.parametrize("text", ["0:64 10ep:128", "geometric 32..1024 x2 every 2 epochs", "warmup 8->64 over 1ep"])
def test_the_coupling_is_handed_on(text: str) -> None:
    assert parsed(text, coupling="linear").coupling == "linear"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "none of the known forms"),
        ("linear", "'linear' is none of the known kinds: constant, geometric"),
        ("noise", "none of the known forms"),
        ("noise 1024..32", "largest must be at least smallest=1024, not 32"),
        ("noise 32..1024 from 16", "first must lie in 32 to 1024, not 16"),
        ("noise x0 32..1024", "scale must be above 0"),
        ("noise 32..1024 from 64 from 32", "'from' is given twice"),
        ("noise 32..1024 max 64", "behind the range may stand 'from 64', 'every 2ep', 'most x4'"),
        ("noise 32..1024 most x1", "most must lie in 2 to 1e+06, not 1.0"),
        ("norm test 0 32..1024", "theta must be above 0"),
        ("cabs 16..2048", "has to be given as a number"),
        ("adascale 256->32", "256 is scaled up, and 32 is smaller"),
        ("plateau 64 x2 patience 0 max 1024", "patience must be at least 1, not 0"),
        ("plateau 64 x2 patience 1.5 max 1024", "'1.5' is no whole number"),
        ("plateau 64 x2 patience 3 max 1024 on loss", "metric must begin with valid_ or train_, not 'loss'"),
        ("seesaw 64 x2 at 20ep 10ep max 2048", "boundaries must ascend"),
        ("late 64->32 at 1ep", "last must be at least first=64, not 32"),
        ("late 64->128 at 0", "at must ascend"),
        ("measured 64..1024 0:100 0:400", "position 0 is given twice"),
        ("0:64 1e6 tokens:128", "'1e6 tokens' counts tokens and rows have no length here"),
        ("0:64 1e6:128, tokens", "'0' counts tokens and rows have no length here"),
        ("noise 32..1024, retreat 2", "share must be above 0 and at most 1, not 2.0"),
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


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("nois 32..1024", "noise 32..1024"),
        ("norm-test 0.5 32..1024", "norm test 0.5 32..1024"),
        ("normtest 32..1024", "norm test 0.5 32..1024"),
        ("utilization 32..1024", "utilisation 32..1024"),
        ("sea-saw 64 x2", "seesaw 64 x2 at 10ep 20ep max 2048"),
        ("Good 32..1024", "goodput 32..1024"),
    ],
)
def test_the_nearest_kind_is_shown(text: str, right: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        parsed(text)
    assert str(caught.value).endswith(f"try {right!r}")


def test_tokens_are_examples_of_a_length() -> None:
    table = ((0, 768), (1_000_000, 1536), (2_000_000, 3072))
    assert parse_steps("0:768 2B tokens:1536 4e9 tokens:3072", length=2000) == table
    assert parse_steps("0:768 2B:1536 4B:3072 tokens", length=2000) == table
    assert parsed("late 64->1024 at 8e6 tokens", length=100).at == (80_000,)


def test_a_rate_that_the_policy_sets_itself_is_not_coupled() -> None:
    for text in ("late 64->1024 at 80ep", "plateau 64 x2 patience 3 max 1024", "adadagrad 32..1024"):
        assert parsed(text, coupling="linear").coupling == "none"
    assert parsed("noise 32..1024", coupling="linear").coupling == "linear"
    assert parsed("divebatch 32..1024").coupling == "linear"
    assert parsed("cabs 32..1024", lr=0.2).lr == 0.2


def test_utilisation_is_told_how_many_cores_there_are() -> None:
    assert parsed("utilisation 32..1024", cores=2) == Utilisation(SIZES, cores=2)


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
        assert policy.decide(policy.init(None), Progress())[1].spec.size >= 1
