from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from ladle.baselines.fits import MOST_LEVELS, WIDEST, columns, fitted
from ladle.core.errors import ArgumentError

linear_model = pytest.importorskip("sklearn.linear_model")


def of(x: Any, y: Any) -> dict[str, Any]:
    return {"x": x, "y": np.asarray(y)}


def test_ridge_is_its_closed_form_with_weights():
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(60, 3)).astype(np.float32), rng.uniform(0.5, 2, 60).astype(np.float32)
    y = (x @ [1.0, -2.0, 0.5] + 0.1 * rng.normal(size=60)).astype(np.float32)
    linear, boosting = fitted(of(x, y), x[:5], 0, weight)
    w = weight / 1.0
    middle, level = w @ x / w.sum(), w @ y / w.sum()
    beta = np.linalg.solve((x - middle).T * w @ (x - middle) + np.eye(3), (x - middle).T * w @ (y - level))
    np.testing.assert_allclose(linear.answers, (x[:5] - middle) @ beta + level, rtol=1e-4, atol=1e-5)
    assert boosting.answers is not None and boosting.answers.shape == (5,)


def test_codes_are_categories_for_both_and_new_ones_are_taken():
    """The amount depends on the level alone, in no order: what read codes as numbers would not find it."""
    rng = np.random.default_rng(1)
    amounts = rng.permutation(20).astype(np.float32)
    codes = rng.integers(0, 20, (2000, 1)).astype(np.int32)
    x = {"numbers": np.zeros((2000, 1), np.float32), "codes": codes}
    asked = {"numbers": np.zeros((21, 1), np.float32), "codes": np.arange(21)[:, None]}
    for one in fitted(of(x, amounts[codes[:, 0]]), asked, 0):
        assert one.answers is not None
        np.testing.assert_allclose(one.answers[:20], amounts, atol=0.6)
        assert np.isfinite(one.answers).all()


def test_rare_levels_beyond_what_boosting_tells_apart_count_as_missing():
    codes = np.concatenate([np.repeat(np.arange(300), 2), np.arange(300, 310)])[:, None].astype(np.int32)
    x = {"numbers": np.zeros((len(codes), 0), np.float32), "codes": codes}
    boosting = fitted(of(x, codes[:, 0] % 2), x, 2)[1]
    assert boosting.answers is not None and f"the {MOST_LEVELS} most frequent levels" in boosting.note


def test_a_class_without_a_training_row_keeps_a_chance_of_zero():
    x = np.array([[0.0], [1.0]] * 20, np.float32)
    for one in fitted(of(x, [0, 2] * 20), x[:2], 3):
        assert one.answers is not None and one.answers.shape == (2, 3)
        assert (one.answers[:, 1] == 0).all()
        np.testing.assert_allclose(one.answers.sum(1), 1)


def test_what_is_left_out_says_why():
    wide = np.zeros((4, WIDEST + 1), np.float32)
    wide[:, 0] = [0, 1, 0, 1]
    linear, boosting = fitted(of(wide, [0, 1, 0, 1]), wide, 2)
    assert linear.answers is not None and boosting.left_out.startswith("a row has 1,001 numbers")
    assert fitted(of(wide[:, :2], [0, 1, 0, 1]), wide[:, :2], 101)[1].left_out.startswith("there are 101 classes")
    alone = fitted(of(wide[:, :2], [0, 0, 0, 0]), wide[:, :2], 2)[0]
    assert alone.left_out.startswith("scikit-learn refused: ")


def test_images_are_flattened():
    assert columns(np.zeros((2, 4, 4, 1)))[0].shape == (2, 16)


def test_without_scikit_learn_one_sentence(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ArgumentError, match=r"have scikit-learn.*try pip install 'ladle\[baselines\]'"):
        fitted(of(np.zeros((4, 1), np.float32), [0, 1, 0, 1]), np.zeros((1, 1)), 2)
