"""What people hand over as data becomes `Data`, or is answered in one sentence that names the call which takes it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import ladle
from ladle.core.errors import DataError
from ladle.data.anything import as_data

X, Y = np.arange(20.0).reshape(10, 2), np.arange(10) % 2


@pytest.mark.parametrize("given", [(X, Y), {"x": X, "y": Y}, {"y": Y.tolist(), "x": X.tolist()}])
def test_arrays_by_any_of_their_names(given):
    data = as_data(given)
    assert data.digest == ladle.data.arrays(X, Y).digest
    assert as_data(data) is data


def test_a_name_or_a_path(tmp_path):
    assert as_data("digits").rows == 1438
    (tmp_path / "t.csv").write_text("a,y\n" + "".join(f"{i},{i % 2}\n" for i in range(20)))
    assert as_data(tmp_path / "t.csv").target == "y" and as_data(str(tmp_path / "t.csv")).kind == "classification"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            pd.DataFrame({"a": [1.0], "b": [2.0]}),
            "got 'DataFrame'; because no column of a frame is known to be the target",
        ),
        ({"images": X, "labels": Y}, "got 'dict'.*ladle.data.arrays"),
        (X, "got 'ndarray'"),
        ((X, Y, Y), "got 'tuple'"),
        (None, "got 'NoneType'"),
        ("digts", "try 'digits'"),
    ],
)
def test_the_rest_is_answered(given, said):
    with pytest.raises(DataError, match=said):
        ladle.Task(ladle.models.linear(2, 2), None, given)
