from __future__ import annotations

from typing import Any

import pytest

from ladle.report.checks import findings
from ladle.report.fakes_test import compare_json, row
from ladle.report.rules.finding import Finding

SWEEP = [[0.01, 1.0], [0.1, 0.1], [1.0, 1.0]]


def settled(name: str, size: int, loss: float, **more: Any) -> dict[str, Any]:
    """A size whose loss no longer fell, at a rate inside its sweep, with seeds 2 % apart."""
    return row(
        name, size, **{"valid_loss": loss, "lr": 0.1, "lr_sweep": SWEEP, "late_fall": 0.001, "updates": 30} | more
    )


def found(full: dict[str, Any], mini: dict[str, Any], code: str = "small-full", **more: Any) -> Finding:
    compare = compare_json([full, mini], **{"budget": "30 epochs each", "lr": "linear rule from batches of 64"} | more)
    return next(one for one in findings(compare) if one.code == code)


@pytest.mark.parametrize(("loss", "verdict"), [(0.5, "does not"), (0.05, "holds")])
def test_a_settled_comparison_is_resolved(loss: float, verdict: str) -> None:
    made = found(settled("full", 1437, loss), settled("64", 64, 0.1))
    assert made.verdict == verdict and "may have decided" not in made.sentence
    spot = found(settled("full", 1437, loss), settled("64", 64, 0.1), code="sweet-spot")
    assert spot.verdict == {"holds": "does not", "does not": "holds"}[verdict]


@pytest.mark.parametrize("code", ["small-full", "sweet-spot"])
@pytest.mark.parametrize(
    ("beaten", "words"),
    [
        (
            {"late_fall": 0.02},
            "The budget may have decided: at the end of 30 epochs the loss still fell, by 0.0200 at size 1,437 "
            "(30 updates, seeds 0.0160 apart, 0.3000 behind).",
        ),
        ({"late_fall": None}, "no evaluation shows whether the loss still fell at size 1,437."),
        (
            {"lr_sweep": []},
            "The rate may have decided: 0.1 at size 1,437 was not searched for (linear rule from batches of 64).",
        ),
        ({"lr": None}, "that at size 1,437 was not searched for"),
        ({"lr": 1.0}, "1 at size 1,437 is the highest of its sweep."),
        ({"lr": 0.01}, "0.01 at size 1,437 is the lowest of its sweep."),
    ],
    ids=["falls", "unseen", "unsearched", "no rate", "highest", "lowest"],
)
def test_a_size_beaten_by_its_budget_or_its_rate_leaves_the_question_open(code: str, beaten: dict, words: str) -> None:
    full, mini = settled("full", 1437, 0.4, **beaten), settled("64", 64, 0.1)
    made = found(full, mini, code)
    assert made.verdict == "not resolved" and words in made.sentence
    assert "0.4000" in made.sentence and "0.1000" in made.sentence
    # The winner needs neither: more budget and a better rate would only put it further ahead.
    ahead = found(settled("full", 1437, 0.05, **beaten), mini, code)
    assert ahead.verdict == ("holds" if code == "small-full" else "does not")


def test_a_fall_within_the_seeds_range_is_settled() -> None:
    seeds = {"spread": {"valid_loss": [0.39, 0.41]}}
    assert found(settled("full", 1437, 0.4, late_fall=0.019, **seeds), settled("64", 64, 0.1)).verdict == "does not"
    assert found(settled("full", 1437, 0.4, late_fall=0.021, **seeds), settled("64", 64, 0.1)).verdict == "not resolved"


def test_a_pace_that_would_close_the_gap_is_open_whatever_the_seeds() -> None:
    far = {"spread": {"valid_loss": [0.3, 0.5]}}  # a fall of 0.08 is less than they are apart
    assert found(settled("full", 1437, 0.4, late_fall=0.07, **far), settled("64", 64, 0.1)).verdict == "does not"
    made = found(settled("full", 1437, 0.4, late_fall=0.08, **far), settled("64", 64, 0.1))
    assert (
        made.verdict == "not resolved"
        and "by 0.0800 at size 1,437" in made.sentence
        and "0.3000 behind" in made.sentence
    )


def test_both_reasons_are_told_and_many_sizes_are_counted() -> None:
    losers = [settled(str(size), size, 0.5, late_fall=0.3, lr_sweep=[]) for size in (32, 64, 96, 128, 256)]
    (spot,) = (
        one
        for one in findings(compare_json([settled("8", 8, 0.1), *losers], budget="5 epochs each", lr=""))
        if one.code == "sweet-spot"
    )
    assert spot.verdict == "not resolved"
    assert "The budget may have decided" in spot.sentence and "The rate may have decided" in spot.sentence
    assert spot.sentence.count("and 2 more") == 2 and "at size 128" not in spot.sentence
