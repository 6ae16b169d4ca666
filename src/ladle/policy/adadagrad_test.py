from __future__ import annotations

from typing import Any

import pytest

from ladle.core.decision import Progress
from ladle.core.errors import ArgumentError
from ladle.core.moments import Moments
from ladle.policy.adadagrad import AdAdaGrad
from ladle.policy.normtest import NormTest
from ladle.policy.range import Range

SIZES = Range(16, 2048, micro_size=256)


def test_adadagrad_is_the_norm_test_at_eta() -> None:
    sums = Moments.from_pairs([93.0, 92.0, 94.0] * 9, [0.1, 0.11, 0.09] * 9, 12_800)
    reading = {f"noise/{name}": value for name, value in vars(sums).items()}
    policy, test = AdAdaGrad(SIZES, 0.3), NormTest(SIZES, 0.3)
    memory, _ = policy.decide(policy.init(None), Progress())
    ours, theirs = (p.decide(memory, Progress(12_800, reading=reading)) for p in (policy, test))
    assert ours[0] == theirs[0]
    assert ours[1].reason == theirs[1].reason.replace("(norm test)", "(adadagrad)")
    assert AdAdaGrad(SIZES, 0.5, "inner product").traits.needs == ("noise", "projection")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AdAdaGrad(SIZES, test="t"), "test must be 'norm' or 'inner product'"),  # type: ignore[arg-type]
    ],
)
def test_impossible_policies_are_one_clear_line(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
