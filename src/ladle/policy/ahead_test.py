from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from ladle.core.errors import ArgumentError
from ladle.core.scaling.coupling import Coupling
from ladle.core.traits import Traits, traits_of
from ladle.policy.adascale import AdaScale
from ladle.policy.ahead import directed, rate_size_of, require_policy, require_reach, within
from ladle.policy.cabs import CABS
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
def test_the_limits_of_every_policy_are_known(name: str) -> None:
    policy, smallest, largest, _ = POLICIES[name]
    assert (traits_of(policy).smallest, traits_of(policy).largest) == (smallest, largest)


def test_the_rate_belongs_to_the_first_size_unless_the_policy_says_otherwise() -> None:
    assert rate_size_of(Retreating(AdaScale(Steps(((0, 256),), 256), base=32)), 256) == 32
    assert rate_size_of(Steps(((0, 256),), 256), 256) == 256


@pytest.mark.parametrize("name", POLICIES)
def test_limits_end_with_the_pass_and_sizes_asked_for_do_not(name: str) -> None:
    policy, smallest, largest, _ = POLICIES[name]
    assert within(policy, 2 * largest) == policy
    asked = name.split(",")[0] in ("constant", "steps", "one step", "geometric", "late", "adascale", "retreating steps")
    if smallest < largest and name != "measured":  # Its sizes are doublings.
        known = traits_of(within(policy, largest - 1)).largest
        assert known == (largest if asked or name.startswith("warmup") else largest - 1)


SILENT = Traits()


@dataclass(frozen=True)
class Growing:
    """Has the fields that others have, and says of none of them what it is for."""

    first: int = 8
    largest: int = 64
    most: int = 64
    metric: str = "valid_accuracy"
    higher: bool | None = None
    inner: str = "text"
    traits: Traits = SILENT


def test_only_a_field_that_is_declared_is_set_anew() -> None:
    assert within(Growing(), 20) == Growing() and directed(Growing(), lambda metric: True) == Growing()
    said = Growing(traits=Traits(("valid_accuracy",), 8, 64, limit="most", direction="higher"))
    assert within(said, 20) == replace(said, most=20) and within(said, 7) == within(said, 64) == said
    assert directed(said, lambda metric: metric == "valid_accuracy") == replace(said, higher=True)
    assert directed(replace(said, higher=False), lambda metric: True) == replace(said, higher=False)


def test_a_policy_of_the_users_need_not_say() -> None:
    class Own:
        table = ((0, 8),)

    assert traits_of(Own()) == Traits() and rate_size_of(Own(), 8) == 8
    require_reach(Own(), 8)


def test_the_coupling_is_that_of_the_policy_that_sets_the_size() -> None:
    assert traits_of(Retreating(Goodput(SIZES, coupling=SDE))).coupling is SDE
    assert traits_of(POLICIES["grow"][0]).coupling == "none"


def test_a_policy_that_wraps_declares_what_the_one_within_does_and_its_own() -> None:
    assert traits_of(CABS(SIZES, lr=0.1)) == Traits(("noise",), 32, 1024, made_for=("sgd",), lr=0.1, limit="sizes")
    wrapped = traits_of(Retreating(AdaScale(CABS(SIZES, lr=0.1), base=16)))
    assert wrapped == Traits(("noise", "memory"), 32, 1024, rate_size=16, made_for=("sgd",), lr=0.1, inner="inner")


@pytest.mark.parametrize("make", [lambda p: p, Retreating, lambda p: AdaScale(p, 32)])
def test_a_rule_without_an_answer_at_an_end_of_the_range_is_refused_before_it_is_met(make: Any) -> None:
    with pytest.raises(ArgumentError, match=r"kappa \* \(1 - b1\) must be below 1"):
        require_reach(make(Utilisation(SIZES, coupling=SDE)), 32)
    require_reach(make(Utilisation(Range(32, 256, 256), coupling=SDE)), 32)
    require_reach(make(Steps(((0, 32), (9, 64)), 64, coupling=SDE)), 32)


def test_text_is_no_policy() -> None:
    with pytest.raises(ArgumentError, match="policy must have methods init and decide; got 'constant'"):
        require_policy("constant")


def test_what_a_policy_of_ones_own_declares_beside_its_traits_is_not_overlooked():
    class Own:
        needs = ("noise",)

        def init(self, plan):
            return None

        def decide(self, memory, progress):
            raise AssertionError

    with pytest.raises(ArgumentError, match=r"declare needs in its traits; got 'Own'.*ladle.Traits\(needs="):
        require_policy(Own())
