from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from ladle.core.noise import NoiseScale
from ladle.core.plan import Evidence, Plan
from ladle.core.record import plain
from ladle.core.spec import BatchSpec

PLAN = Plan(
    size=96,
    micro_size=48,
    lr=3e-3,
    bound="optimum",
    within_5_percent=(64, 160),
    noise=NoiseScale(400.0, 300.0, 500.0, "resolved", 0.25, 100.0, 50.0, 6400.0, 1000.0),
    lr_rule="square root",
    reference_size=64,
    reference_lr=2e-3,
    hyper={"b2": 0.995},
    evidence=(Evidence("fixed_seconds", 1e-3, "s", "measured", "fit of 5 sizes", 0.9e-3, 1.1e-3),),
    curves={"memory": [[16, 1000], [32, 2000]]},
    notes=("one", "two"),
)


def test_a_plan_goes_through_json_unchanged():
    written = {**PLAN.to_json(), "ladder": [16, 32]}  # Plans of before held the rungs that fit.
    assert Plan.from_json(json.loads(json.dumps(plain(written)))) == PLAN
    assert Plan.from_json(json.loads(json.dumps(plain(PLAN.to_json()), allow_nan=False))) == PLAN


@pytest.mark.parametrize(
    "noise",
    [NoiseScale(math.inf, 700.0, math.inf, "lower bound only", 0.0, 5.0), NoiseScale(9.0, 1.0, math.inf, "resolved")],
)
def test_what_json_cannot_say_comes_back_as_it_was(noise):
    found = Plan.from_json(
        json.loads(json.dumps(plain(replace(PLAN, noise=noise, lr=None).to_json()), allow_nan=False))
    )
    assert (found.noise.value, found.noise.low, found.noise.high) == (noise.value, noise.low, noise.high)
    assert found.lr is None


def test_an_unknown_noise_scale_stays_unknown():
    noise = Plan.from_json(json.loads(json.dumps(plain(replace(PLAN, noise=NoiseScale.unknown()).to_json())))).noise
    assert (noise.verdict, noise.low, noise.high) == ("unresolved", 0.0, math.inf)
    assert math.isnan(noise.value)


def test_what_a_plan_says():
    assert PLAN.first == BatchSpec(96, 48)
    evidence = PLAN.number("fixed_seconds")
    assert evidence is not None and evidence.source == "measured"
    assert PLAN.number("nothing") is None
    assert PLAN._repr_html_().startswith("<pre>") and PLAN.explain()
