from __future__ import annotations

import numpy as np
import pytest

from ladle.core.errors import ArgumentError, DataError
from ladle.data.target import infer


@pytest.mark.parametrize(
    ("y", "kind", "classes"),
    [
        ([0, 1, 1], "classification", ("0", "1")),
        ([10, 9, 10], "classification", ("9", "10")),
        ([True, False], "classification", ("False", "True")),
        (["b", "a", "b"], "classification", ("a", "b")),
        (np.array([b"b", b"a"]), "classification", ("a", "b")),
        (np.array(["b", "a"], object), "classification", ("a", "b")),
        (np.arange(20), "classification", tuple(str(n) for n in range(20))),
        (np.arange(21), "regression", ()),
        ([0.0, 1.0], "regression", ()),
        (np.array([[0.5], [1.5]], np.float16), "regression", ()),
    ],
)
def test_rule(y: object, kind: str, classes: tuple[str, ...]) -> None:
    target = infer(y)
    assert (target.kind, target.classes) == (kind, classes)
    assert target.values.dtype == (np.int32 if classes else np.float64) and target.values.ndim == 1
    assert target.note.startswith(f"Task: {kind} of y")


def test_class_numbers_point_into_classes() -> None:
    target = infer(["dog", "cat", "dog"])
    assert [target.classes[code] for code in target.values] == ["dog", "cat", "dog"]


def test_kind_overrules_the_rule() -> None:
    assert infer([0, 1, 2], kind="regression").values.tolist() == [0, 1, 2]
    assert infer([2.0, 5.0, 2.0], kind="classification").classes == ("2", "5")
    assert infer(np.repeat(np.arange(50), 2), kind="classification").classes[-1] == "49"
    assert "that was asked for" in infer([0, 1, 2], kind="regression").note


def test_note_names_the_remedy() -> None:
    assert "kind='regression'" in infer([0, 1]).note
    assert "kind='classification'" in infer([0.5, 1.0]).note


@pytest.mark.parametrize(
    ("y", "kind", "message"),
    [
        ([0.5, 1.0], "classification", "whole numbers or words; got 0.5"),
        (["a", "b"], "regression", "numbers for regression; got 'a'"),
        ([str(n) for n in range(30)], None, "repeat its classes; got '30 distinct values in 30 rows'"),
        (np.arange(30), "classification", "repeat its classes.*kind='regression'"),
        (["a", "a"], None, "at least two classes; got 'a'"),
        ([1, None], None, "hold one type"),
    ],
)
def test_what_cannot_be_a_target(y: object, kind: str | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        infer(y, kind=kind)


def test_unknown_kind_offers_the_nearest() -> None:
    with pytest.raises(ArgumentError, match=r"got 'classify'.*try 'classification'"):
        infer([0, 1], kind="classify")
