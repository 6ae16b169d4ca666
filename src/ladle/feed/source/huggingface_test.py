from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest

from ladle.core.errors import ArgumentError, DataError, ExampleError
from ladle.feed.source.anything import as_source
from ladle.feed.source.huggingface import HuggingFace

pytestmark = pytest.mark.slow  # It takes seconds to import.

IDS = np.array([3, 0, 3, 1])
TYPES = {"x": np.float32, "y": np.int64, "image": np.uint8, "fixed": np.int8, "flag": np.bool_, "deep": np.int64}


@pytest.fixture(scope="module")
def datasets():
    with warnings.catch_warnings():  # What it warns of while it starts is no matter of ours.
        warnings.simplefilter("ignore")
        return pytest.importorskip("datasets")


@pytest.fixture(scope="module")
def whole(datasets):
    n, draw = 30, np.random.default_rng(0)
    feature = {"x": datasets.Sequence(datasets.Value("float32")), "y": datasets.ClassLabel(names=["a", "b"])}
    feature |= {
        "image": datasets.Array2D((2, 3), "uint8"),
        "fixed": datasets.Sequence(datasets.Value("int8"), length=2),
    }
    feature |= {
        "flag": datasets.Value("bool"),
        "deep": datasets.Sequence(datasets.Sequence(datasets.Value("int64"))),
    }
    columns = {
        "x": draw.random((n, 4), np.float32), "y": np.arange(n) % 2, "flag": np.arange(n) % 3 == 0,
        "image": draw.integers(0, 255, (n, 2, 3)).astype(np.uint8),
        "fixed": draw.integers(0, 9, (n, 2)).astype(np.int8), "deep": np.arange(4 * n).reshape(n, 2, 2).tolist(),
    }  # fmt: skip
    return datasets.Dataset.from_dict(columns, features=datasets.Features(feature))


@pytest.mark.parametrize("how", ["whole", "shuffled", "pieces", "shuffled pieces", "columns", "range", "elsewhere"])
def test_rows_are_those_of_its_numpy_format(datasets, whole, how):
    pieces = datasets.concatenate_datasets([whole, whole.select(range(5, 12)), whole.select(range(3))])
    data = {
        "whole": whole,
        "shuffled": whole.shuffle(seed=1),
        "pieces": pieces,
        "shuffled pieces": pieces.shuffle(seed=1),
        "columns": whole.select_columns(["flag", "x"]),
        "range": whole.select(range(4, 20)),
        "elsewhere": pieces.shuffle(seed=2),
    }[how]
    source = as_source(data)
    assert isinstance(source, HuggingFace)
    if how == "elsewhere":  # A later release keeps its table in another place: the dataset itself is asked.
        object.__setattr__(source, "_pieces", None)
    drawn = np.random.default_rng(1).integers(0, len(data), 20)
    for ids in (drawn, drawn[:1], drawn[:0]):
        rows, expected = pickle.loads(pickle.dumps(source)).take(ids), data.with_format("numpy")[ids]
        assert list(rows) == data.column_names
        for name in rows:
            assert rows[name].shape[1:] == source.take(np.array([0]))[name].shape[1:]
            if len(ids):
                np.testing.assert_array_equal(rows[name], expected[name])
            assert rows[name].dtype == TYPES[name]


def test_columns_that_were_formatted_away_stay_away(whole):
    assert list(as_source(whole.with_format("numpy", columns=["y"])).take(IDS)) == ["y"]


def test_text_is_refused_with_what_can_be_read(datasets):
    data = datasets.Dataset.from_dict({"text": ["a"], "y": [1]})
    with pytest.raises(DataError, match="column 'text' must hold numbers or lists of them; got 'string'.*'y'"):
        as_source(data)


@pytest.mark.parametrize(
    "column", [[1, 2, 3, None], [[1], [2], [3], [None]], [[1], [2], [3], None]], ids=["number", "element", "list"]
)
def test_missing_numbers_are_named(datasets, column):
    with pytest.raises(ExampleError, match="column 'x' of example 3 must hold numbers; got None") as caught:
        as_source(datasets.Dataset.from_dict({"x": column})).take(np.array([1, 3, 0]))
    assert caught.value.ids == (3,)


def test_lists_of_several_lengths_are_refused(datasets):
    data = datasets.Dataset.from_dict({"x": [[[1], [2]], [[3], [4]], [[5], [6, 7]]]})
    with pytest.raises(
        DataError, match="column 'x' must have lists of one length; got '1 in example 1, 2 in example 2'"
    ):
        as_source(data).take(np.array([1, 0, 2]))


def test_splits_and_streams_are_refused(datasets, whole):
    with pytest.raises(ArgumentError, match='data must be one data set; .*try one of them, data."train".'):
        as_source(datasets.DatasetDict({"train": whole}))
    with pytest.raises(ArgumentError, match="ladle.feed.stream.iterator"):
        as_source(whole.to_iterable_dataset())
    with pytest.raises(DataError, match="dataset must hold at least one example"):
        as_source(whole.select([]))
