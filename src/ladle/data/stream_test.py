from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ladle.core.errors import DataError
from ladle.data import streamed
from ladle.feed import Arrays, Nested, Sequences

VALID = {"tokens": np.ones((1, 1), int), "y": np.zeros(1, np.int32)}


class Blocked(Arrays):
    """Counts the blocks that are read."""

    reads_blocks = True
    blocks = np.full(100, 50)
    asked: list[int] = []  # noqa: RUF012

    def take(self, ids: np.ndarray) -> Any:
        self.asked.extend(ids.tolist())
        return super().take(ids)


def test_the_digest_is_of_the_texts_and_not_of_their_shape():
    texts = [streamed(Sequences.of([[k], [k]], y=np.zeros(2, np.int32)), valid=VALID).digest for k in (1, 2, 1)]
    assert texts[0] != texts[1]
    assert texts[0] == texts[2]
    nested = [streamed(Nested.of([[[1, k], [3]], [[4]]], y=np.zeros(2, np.int32)), valid=VALID).digest for k in (1, 2)]
    assert nested[0] != nested[1]


def test_little_of_a_source_in_blocks_is_read_before_a_run():
    source = Blocked({"x": np.zeros((5000, 2), np.float32), "y": np.arange(5000) % 3})
    data = streamed(source, valid=200)
    assert data.outputs == 3
    assert len({id // 50 for id in source.asked}) <= 12


def test_a_validation_part_of_ones_own_leaves_the_source_whole():
    source = Arrays({"x": np.zeros((10, 2)), "y": np.arange(10.0)})
    data = streamed(source, valid={"x": np.zeros((3, 2)), "y": np.zeros(3)}, name="mine")
    assert (data.rows, data.kind, data.name) == (10, "regression", "mine")


def test_classes_may_be_named():
    source = Arrays({"x": np.zeros((10, 2)), "y": np.arange(10) % 2})
    assert streamed(source, valid=2, classes=("no", "yes")).classes == ("no", "yes")
    assert streamed(source, valid=2, classes=5).outputs == 5


def test_rows_that_are_no_dict_are_refused():
    with pytest.raises(DataError, match="source must take rows as a dict"):
        streamed(Arrays(np.arange(10.0)), valid=2)


def test_rows_of_many_lengths_have_no_validation_part_of_their_own_or_are_refused():
    source = Sequences.of([np.arange(n) for n in range(1, 60)], y=np.arange(59) % 3)
    data = streamed(source, valid=0)
    assert (data.rows, data.outputs, list(data.valid)) == (59, 3, ["y"])
    with pytest.raises(DataError, match="valid must be arrays; got .*tokens of many lengths'.*or valid=0"):
        streamed(source, valid=0.1)


def test_without_a_validation_part_classes_are_those_of_all_rows():
    source = Arrays({"x": np.zeros((10, 2)), "y": np.array([0] * 9 + [4])})
    assert streamed(source, valid=0).outputs == 5


def test_what_has_no_rows_to_take_is_refused():
    with pytest.raises(DataError, match="source must have rows to take by number; got 'dict'.*ladle.data.arrays"):
        streamed({"x": np.zeros((9, 2)), "y": np.arange(9)})  # type: ignore[arg-type]


def test_a_validation_part_of_other_lengths_or_objects_is_refused():
    rows = {"x": np.zeros((9, 2)), "y": np.arange(9)}

    class Source:
        def __len__(self):
            return 9

        def take(self, ids):
            return {name: leaf[ids] for name, leaf in rows.items()}

    for valid, said in (
        ({**rows, "y": np.arange(4)}, "valid must have as many rows in every array; got 'x 9, y 4'"),
        ({**rows, "y": np.array([None] * 9)}, "valid 'y' must be an array of numbers"),
        ({**rows, "x": np.ma.array(rows["x"], mask=True)}, "valid 'x' must have a value in every cell"),
    ):
        with pytest.raises(DataError, match=said):
            streamed(Source(), valid=valid)
