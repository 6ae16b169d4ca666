"""What a loader is told when it is made or later: refused where it cannot be, never in vain."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from ladle.core.errors import ArgumentError, DataError
from ladle.feed.loader import Loader
from ladle.feed.loader_names_test import Squares, first


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self) -> Any:
        return iter([(i, i) for i in range(7)])


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"num_workers": 1, "multiprocessing_context": "bad"}, "multiprocessing_context must be known here"),
        ({"num_workers": 1, "multiprocessing_context": object()}, "multiprocessing_context must be known here"),
        ({"num_workers": 1, "prefetch_factor": 0}, "prefetch_factor must be a whole number from 1 on"),
        ({"num_workers": 1, "prefetch_factor": 1.5}, "prefetch_factor must be a whole number from 1 on"),
        ({"generator": 3}, "generator must be a generator of torch or NumPy"),
    ],
)
def test_readers_that_cannot_be_are_named_before_anything_is_read(names: dict[str, Any], said: str):
    for data in (Squares(), Stream()):
        with pytest.raises(ArgumentError, match=said):
            Loader(data, **names)


@pytest.mark.parametrize("sampler", [[0.5, 1], "01", [[0, 1]], [True]])
def test_a_sampler_of_no_whole_numbers_is_named(sampler: Any):
    with pytest.raises(DataError, match="sampler must yield whole numbers"):
        list(Loader(Squares(), sampler=sampler))
    for one in (list(torch.arange(3)), np.arange(3)):
        assert first(Loader(Squares(), 3, sampler=one)) == [[0, 1, 2]]


def failing(number: int) -> None:
    raise RuntimeError(f"worker {number} cannot begin")


def test_a_worker_init_fn_is_called_for_arrays_too():
    for data in (Squares(), {"x": np.arange(4.0)}):
        with pytest.raises(RuntimeError, match="cannot begin"):
            list(Loader(data, 2, num_workers=1, worker_init_fn=failing))


def test_the_number_of_workers_may_be_set_between_passes():
    for data in (Squares(), Stream()):
        loader = Loader(data, 5, to="torch")
        before = first(loader)
        loader.num_workers = 1
        assert loader.num_workers == 1 and copy.copy(loader).num_workers == 1
        loader.set_epoch(0)
        assert first(loader) == before
        with pytest.raises(ArgumentError, match="workers must be"):
            loader.num_workers = -1
        loader.close()


@pytest.mark.parametrize("name", ["dataset", "sampler", "batch_sampler", "collate_fn", "timeout", "generator"])
def test_what_a_loader_is_made_with_is_not_set_in_vain(name: str):
    for data in (Squares(), Stream()):
        with pytest.raises(ArgumentError, match=f"{name} must stay as it is"):
            setattr(Loader(data), name, None)


def test_a_worker_init_fn_may_be_set_between_passes():
    for data in (Squares(), Stream()):
        loader = Loader(data, 5, num_workers=1)
        loader.worker_init_fn = failing
        assert loader.num_workers == 1 and copy.copy(loader).worker_init_fn is failing
        with pytest.raises(RuntimeError, match="cannot begin"):
            list(loader)
        with pytest.raises(ArgumentError, match="worker_init_fn must be a function"):
            loader.worker_init_fn = 3
