from __future__ import annotations

import dataclasses
import re

import pytest

from ladle.core.explain import BOUNDS, explain
from ladle.core.noise import NoiseScale
from ladle.core.plan import Evidence, Plan

RESOLVED = NoiseScale(812.4, 600.0, 1100.0, "resolved", 0.25, 203.0, 32, 8192, 0.0)
PLAN = Plan(
    size=512,
    micro_size=256,
    lr=0.00226,
    bound="optimum",
    within_5_percent=(250, 640),
    noise=RESOLVED,
    lr_rule="square root",
    reference_size=100,
    reference_lr=1e-3,
    evidence=(
        Evidence("memory_limit_bytes", 2e9, "bytes", "given", "given"),
        Evidence("memory_fixed_bytes", 1e6, "bytes", "predicted", "line"),
        Evidence("memory_per_example_bytes", 1e3, "bytes/example", "predicted", "line"),
        Evidence("largest_micro_size", 1024, "examples", "predicted", "line"),
        Evidence("memory_predicted_bytes", 1.256e6, "bytes", "predicted", "shapes"),
        Evidence("memory_measured_bytes", 1.3e6, "bytes", "measured", "child"),
        Evidence("fixed_seconds", 0.02, "s/update", "measured", "line"),
        Evidence("per_example_seconds", 1e-4, "s/example", "measured", "line"),
        Evidence("knee", 200.0, "examples", "measured", "ratio", 190.0, 211.0),
        Evidence("target_size", 403.0, "examples", "predicted", "closed form", 350.0, 460.0),
        Evidence("examples_per_second", 7180.0, "examples/s", "predicted", "line"),
    ),
    notes=("Mind the gap.",),
)


def test_a_full_plan_line_by_line():
    assert explain(PLAN).splitlines() == [
        "Use batches of 512 examples, each in 2 micro-batches of up to 256.",
        "Why this size: that is where the time to a target is predicted to be smallest.",
        "The ideal size, before limits and rounding, is 403 examples, 95 % interval 350 to 460 (predicted).",
        "Any size from 250 to 640 costs at most 5 % more time (predicted).",
        "Memory: 1 MB + 1 kB per example in a micro-batch (predicted).",
        "The limit is 2 GB (given).",
        "The largest micro-batch that fits: 1,024 (predicted).",
        "The chosen size needs 1.26 MB (predicted); run in a child process it used 1.3 MB (measured).",
        "An update takes 20 ms + 100 us per example (measured).",
        "Half of the highest speed is reached at 200 examples, 95 % interval 190 to 211 (measured).",
        "Speed at the chosen size: 7,180 examples a second (predicted).",
        "Gradient noise scale: 812 examples, 95 % interval 600 to 1,100 (measured): resolved.",
        "Learning rate: 0.00226 (predicted), from 0.001 at size 100 (given).",
        "Why this rate: it grows with the square root of the size, the rule for Adam and its kin.",
        "Note: Mind the gap.",
    ]


def test_every_measured_or_predicted_number_says_so():
    for line in explain(PLAN).splitlines()[2:-1]:
        if re.search(r"\d", line):
            assert re.search(r"\((predicted|measured|given|assumed)", line), line


@pytest.mark.parametrize("bound", BOUNDS)
def test_the_active_bound_is_named(bound):
    text = explain(dataclasses.replace(PLAN, bound=bound))
    assert f"Why this size: {BOUNDS[bound]}." in text
    assert ("5 % more time (predicted)" in text) == (bound != "given" and not bound.startswith("unresolved"))


def test_an_unresolved_noise_scale_gets_honest_words():
    lower = NoiseScale(float("inf"), 1234.0, float("inf"), "lower bound only", 1e-4, 2.0, 32, 8192, 50_000.0)
    text = explain(dataclasses.replace(PLAN, bound="unresolved noise", noise=lower))
    assert "at least 1,230 examples (measured); no upper end" in text and "About 50,000 more examples" in text
    assert "Which other sizes are as good is not known." in text and "ideal size" not in text
    assert "the pilot says nothing reliable" in explain(
        dataclasses.replace(PLAN, bound="unresolved noise", noise=NoiseScale.unknown())
    )


def test_a_given_size_needs_no_evidence():
    plan = Plan(size=64, micro_size=64, lr=0.1, bound="given", within_5_percent=(64, 64), noise=NoiseScale.unknown())
    assert explain(plan).splitlines() == [
        "Use batches of 64 examples, each in one pass of up to 64.",
        "Why this size: you asked for it.",
        "Gradient noise scale: not measured.",
        "Learning rate: 0.1 (given).",
    ]
    assert "<pre>Use batches" in plan._repr_html_()


def test_fewest_examples_has_its_own_words():
    text = explain(dataclasses.replace(PLAN, minimize="examples"))
    assert "over 5 % more examples than the fewest possible" in text and "5 % more examples (predicted)" in text
    unresolved = explain(dataclasses.replace(PLAN, minimize="examples", bound="unresolved noise"))
    assert "surely frugal" in unresolved


def test_constants_moved_by_a_rule_are_shown():
    text = explain(dataclasses.replace(PLAN, lr_rule="half-life", hyper={"b2": 0.995}))
    assert "Optimiser constants by the same rule: b2 = 0.995 (predicted)." in text
