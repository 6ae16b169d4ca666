"""Detectors are pure: what they are told again, they answer again, also from JSON; and they are river's own."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from ladle.core.errors import ArgumentError
from ladle.online.detector import OPTIONS, Detector, Told, spread

kinds = pytest.mark.parametrize("kind", OPTIONS)
RNG = np.random.default_rng(0)
ERRORS = [*RNG.binomial(20, 0.1, 120) / 20, *RNG.binomial(20, 0.5, 80) / 20]
"""Errors of batches of 20; they rise after the 120th."""


def drifts(detector: Detector, restored: bool) -> tuple[list[int], list[Told]]:
    told, found, memories = Told(), [], []
    for place, error in enumerate(ERRORS):
        told = Told.from_json(json.loads(json.dumps(told.to_json()))) if restored and place % 9 == 0 else told
        told, drifted = detector.tell(told, error, 20)
        memories.append(told)
        found += [place] * drifted
    return found, memories


@kinds
def test_a_drift_is_found_soon_and_what_is_restored_stands_where_it_stood(kind: str):
    detector = Detector(kind)
    found, memories = drifts(detector, restored=False)
    assert found and 120 <= found[0] <= 140
    again, restored = drifts(detector, restored=True)
    assert again == found and restored == memories


@kinds
def test_an_old_memory_that_is_asked_again_answers_the_same(kind: str):
    detector = Detector(kind)
    _, memories = drifts(detector, restored=False)
    for place in (50, 119, 125):
        assert detector.tell(memories[place - 1], ERRORS[place], 20)[0] == memories[place]


def test_adwin_is_told_what_river_would_be():
    from river import drift  # pyright: ignore[reportMissingImports]

    river, place, theirs = drift.ADWIN(grace_period=10, min_window_length=5), 0, None
    for place, error in enumerate(ERRORS):
        if any([river.update(one) or river.drift_detected for one in spread(error, 20)]):
            theirs = place
            break
    assert theirs is not None and drifts(Detector("adwin"), restored=False)[0][0] == theirs


def test_a_memory_has_an_end_and_nothing_depends_on_who_kept_it():
    detector, told = Detector("kswin"), Told()
    for place in range(500):
        told, _ = detector.tell(told, float(place % 2))
        assert len(told.batches) < detector.most == 200


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (("ddm",), "drift must be a known detector"),
        (("adwin", {"alpha": 1}), "drift must have known options"),
        (("kswin", {"alpha": 7}), "drift must have usable options"),
    ],
)
def test_what_is_no_detector_is_refused(how, says):
    with pytest.raises(ArgumentError, match=says):
        Detector(*how)


def test_without_river_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "river", None)
    with pytest.raises(ArgumentError, match=r"pip install 'ladle\[online\]'"):
        Detector()
