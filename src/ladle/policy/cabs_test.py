from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ladle.core.decision import Progress
from ladle.core.errors import ArgumentError, RunError
from ladle.core.moments import Moments
from ladle.policy.cabs import CABS
from ladle.policy.range import Range

SIZES = Range(16, 2048, micro_size=256)


def test_cabs_on_half_the_square_of_theta() -> None:
    # l = |theta - x|^2 / 2 with E x = 0 and a small variance: G = theta, L = |theta|^2 / 2 but for the noise.
    lr, theta, variance = 0.1, np.array([3.0, 4.0]), 50.0
    sums = Moments.from_pairs([variance] * 8, [theta @ theta] * 8, 512)
    policy = CABS(SIZES, lr)
    assert policy.asked(sums, 0.5 * theta @ theta, lr).value == pytest.approx(lr * variance / 12.5)
    assert policy.asked(sums, 0.0, lr).value > SIZES.largest
    with pytest.raises(RunError, match=r"train_loss must not be negative; got -0\.1"):
        policy.asked(sums, -0.1, lr)


def test_cabs_goes_by_the_rate_in_force() -> None:
    """Where a run tells its rate, that one counts: a schedule lowers it, and the size with it."""
    sums = {f"noise/{name}": value for name, value in vars(Moments.from_pairs([50.0] * 8, [1.0] * 8, 512)).items()}
    asked = {}
    for lr in (None, 0.05):
        reading = {**sums, "train_loss": 0.1, **({} if lr is None else {"lr": lr})}
        policy = CABS(SIZES, lr=0.1)
        _, decision = policy.decide(policy.init(None), Progress(512, reading=reading))
        asked[lr] = decision.inputs["asked"]
    assert asked == {None: pytest.approx(50.0), 0.05: pytest.approx(25.0)}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CABS("16..64", 0.1), "sizes must be a ladle.policy.Range"),  # type: ignore[arg-type]
        (lambda: CABS(SIZES, 0.0), "lr must be above 0"),
    ],
)
def test_impossible_policies_are_one_clear_line(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
