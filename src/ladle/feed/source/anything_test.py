from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from ladle.core.errors import ArgumentError, DataError, ExampleError
from ladle.feed.arrays import Arrays
from ladle.feed.source.anything import as_source
from ladle.feed.source.items import Items
from ladle.feed.source.subset import Chosen

IDS = np.array([3, 0, 3, 1])
slow = pytest.mark.slow  # The library takes seconds to import.


def imported(library: str) -> Any:
    """A library, where it is installed; what it warns of while it starts is no matter of ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(library)


def test_arrays_and_sources_pass_as_they_are():
    x = np.arange(5)
    for data in (x, {"x": x}, (x, [1, 2, 3, 4, 5])):
        assert isinstance(as_source(data), Arrays)
    assert np.shares_memory(as_source(x).tree, x)
    source = Arrays(x)
    assert as_source(source) is source


def test_a_path_is_opened(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(5))
    assert as_source(tmp_path / "x.npy").take(IDS).tolist() == as_source(str(tmp_path / "x.npy")).take(IDS).tolist()


def test_other_datasets_are_asked_item_by_item():
    source = as_source([{"x": i} for i in range(5)], threads=2)
    assert isinstance(source, Items)
    assert source.take(IDS)["x"].tolist() == IDS.tolist()


def test_chosen_examples_keep_their_order_and_their_errors():
    chosen = Chosen(Arrays(np.arange(10) * 10), [7, 7, 2, 5])
    assert chosen.take(IDS).tolist() == [50, 70, 50, 70]

    class Faulty(Arrays):
        def take(self, ids):
            raise ExampleError("bad", [7])

    with pytest.raises(ExampleError) as caught:
        Chosen(Faulty(np.arange(10)), [7, 7, 2, 5]).take(np.array([0, 2, 1]))
    assert caught.value.ids == (0, 1)
    with pytest.raises(ArgumentError, match="ids must be in 0 .. 9; got 10"):
        Chosen(Arrays(np.arange(10)), [10])
    with pytest.raises(DataError, match="numbers must choose at least one example; got 0"):
        Chosen(Arrays(np.arange(10)), [])


@pytest.fixture(scope="module")
def torch():
    return imported("torch")


@slow
def test_tensors_are_read_where_they_lie(torch):
    x, y = torch.arange(10.0).reshape(5, 2).requires_grad_(), torch.arange(5)
    source = as_source(torch.utils.data.TensorDataset(x, y))
    assert isinstance(source, Arrays)
    assert source.tree[0].__array_interface__["data"][0] == x.data_ptr()
    assert source.take(IDS)[1].tolist() == IDS.tolist()


@slow
def test_a_subset_of_tensors_is_chosen_rows(torch):
    source = as_source(torch.utils.data.Subset(torch.utils.data.TensorDataset(torch.arange(9)), [8, 6, 4, 2]))
    assert isinstance(source, Chosen)
    assert source.take(IDS)[0].tolist() == [2, 8, 2, 6]


@slow
def test_a_dataset_with_items_of_its_own_is_asked_for_them(torch):
    class Doubled(torch.utils.data.TensorDataset):
        def __getitem__(self, id):
            return {"x": 2 * self.tensors[0][id], "n": torch.ones(2)}

    data = Doubled(torch.arange(5))
    for source in (as_source(data), as_source(torch.utils.data.Subset(data, range(5)))):
        assert isinstance(source, Items)
        assert source.take(IDS)["x"].tolist() == [6, 0, 6, 2]
        assert source.take(IDS)["n"].dtype == np.float32


@slow
def test_streams_of_torch_are_refused(torch):
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter([])

        def __len__(self):
            return 3

    with pytest.raises(ArgumentError, match="got 'Stream'.*try ladle.feed.stream.iterator"):
        as_source(Stream())


@pytest.fixture(scope="module")
def grain():
    return imported("grain")


@slow
def test_a_map_dataset_is_items(grain):
    data = grain.MapDataset.source(list(range(5))).map(lambda x: {"x": x, "both": (x, np.ones(2))})
    rows = as_source(data).take(IDS)
    assert rows["x"].tolist() == IDS.tolist()
    assert rows["both"][1].shape == (4, 2)


@slow
def test_filtered_items_are_named(grain):
    with pytest.raises(ExampleError, match="got 'None'"):
        as_source(grain.MapDataset.source(list(range(5))).filter(lambda x: x != 3)).take(IDS)


@slow
def test_streams_of_grain_are_refused(grain):
    with pytest.raises(ArgumentError, match="ladle.feed.stream.iterator"):
        as_source(grain.MapDataset.source(list(range(5))).to_iter_dataset())


def test_frames_and_columns_are_rows_by_name():
    pd, pa = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"a": [1, 2, 3, 4], "b": [1.0, 2, 3, 4], "w": list("uvuv")}, index=[9, 8, 7, 6])
    frame["t"], frame["kind"] = pd.to_datetime(["2020-01-01"] * 4), pd.Categorical(frame["w"])
    for data in (frame, pa.table(frame.reset_index(drop=True).to_dict("list"))):
        rows = as_source(data).take(IDS)
        assert rows["a"].tolist() == [4, 1, 4, 2] and rows["a"].dtype == np.int64
        assert rows["b"].tolist() == [4.0, 1.0, 4.0, 2.0]
        assert rows["w"].tolist() == rows["kind"].tolist() == ["v", "u", "v", "v"]
        assert rows["t"].dtype.kind == "M"
    for column in (frame["a"], frame["a"].astype("Int64"), pa.array([1, 2, 3, 4]), pd.Index([1, 2, 3, 4])):
        assert as_source(column).take(IDS).tolist() == [4, 1, 4, 2]
    assert as_source({"x": frame[["a", "b"]], "y": (frame["w"],)}).take(IDS)["x"].tolist()[1] == [1.0, 1.0]
    for bad, said in (
        (pd.DataFrame({"a": pd.array([1, None], dtype="Int64")}), "column 'a' of data must .* row 1 "),
        (pd.DataFrame({"a": ["u", 1]}), "column 'a' of data must hold numbers or words; got 'int, str'"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "must have names of their own"),
        (pd.DataFrame(), "data must hold an array"),
        (pd.DataFrame({"a": []}), "at least one example"),
        ({"x": pa.array([[1], [2, 3]])}, "data 'x' must have lists of one length"),
    ):
        with pytest.raises(DataError, match=said):
            as_source(bad)
