from __future__ import annotations

from typing import Any

import pytest

from ladle.core.errors import ArgumentError
from ladle.core.scaling.coupling import Coupling
from ladle.policy.adascale import AdaScale
from ladle.policy.ahead import coupling_of, largest_of, rate_size_of, require_policy, require_reach, within
from ladle.policy.goodput import Goodput
from ladle.policy.laws_test import POLICIES
from ladle.policy.range import Range
from ladle.policy.retreat import Retreating
from ladle.policy.steps import Steps
from ladle.policy.utilisation import Utilisation

SIZES = Range(32, 1024, micro_size=256)
SDE = Coupling("sde", 32, {"b1": 0.9}, optimizer="adam")
"""Has no answer from ten times 32 on."""


@pytest.mark.parametrize("name", POLICIES)
def test_the_largest_size_of_every_policy_is_known(name: str) -> None:
    policy, _, largest, _ = POLICIES[name]
    assert largest_of(policy) == largest


def test_the_rate_belongs_to_the_first_size_unless_the_policy_says_otherwise() -> None:
    assert rate_size_of(Retreating(AdaScale(Steps(((0, 256),), 256), base=32)), 256) == 32
    assert rate_size_of(Steps(((0, 256),), 256), 256) == 256


@pytest.mark.parametrize("name", POLICIES)
def test_limits_end_with_the_pass_and_sizes_asked_for_do_not(name: str) -> None:
    policy, smallest, largest, _ = POLICIES[name]
    assert within(policy, 2 * largest) == policy
    asked = name.split(",")[0] in ("constant", "steps", "one step", "geometric", "late", "adascale", "retreating steps")
    if smallest < largest and name != "measured":  # Its sizes are doublings.
        known = largest_of(within(policy, largest - 1))
        assert known == (largest if asked or name.startswith("warmup") else largest - 1)


def test_a_policy_of_the_users_need_not_say() -> None:
    class Own:
        table = ((0, 8),)

    assert largest_of(Own()) is None and coupling_of(Own()) == "none"


def test_the_coupling_is_that_of_the_policy_that_sets_the_size() -> None:
    assert coupling_of(Retreating(Goodput(SIZES, coupling=SDE))) is SDE
    assert coupling_of(POLICIES["grow"][0]) == "none"


@pytest.mark.parametrize("make", [lambda p: p, Retreating, lambda p: AdaScale(p, 32)])
def test_a_rule_without_an_answer_at_an_end_of_the_range_is_refused_before_it_is_met(make: Any) -> None:
    with pytest.raises(ArgumentError, match=r"kappa \* \(1 - b1\) must be below 1"):
        require_reach(make(Utilisation(SIZES, coupling=SDE)), 32)
    require_reach(make(Utilisation(Range(32, 256, 256), coupling=SDE)), 32)
    require_reach(make(Steps(((0, 32), (9, 64)), 64, coupling=SDE)), 32)


def test_text_is_no_policy() -> None:
    with pytest.raises(ArgumentError, match="policy must have methods init and decide; got 'constant'"):
        require_policy("constant")
