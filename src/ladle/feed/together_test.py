"""A loader in one of several processes: its part is given, or nothing is read."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

import ladle
from ladle.core.errors import ArgumentError
from ladle.feed import Loader


class Stream:
    def __iter__(self):
        return iter([{"i": np.int64(at)} for at in range(8)])


@pytest.fixture(params=["torch.distributed", "jax"])
def two(request, monkeypatch):
    """This process as rank 1 of two."""
    torch = SimpleNamespace(
        is_available=lambda: True, is_initialized=lambda: True, get_rank=lambda: 1, get_world_size=lambda: 2
    )
    jax = SimpleNamespace(
        distributed=SimpleNamespace(is_initialized=lambda: True), process_index=lambda: 1, process_count=lambda: 2
    )
    monkeypatch.setitem(sys.modules, "torch.distributed", torch if "torch" in request.param else None)
    monkeypatch.setitem(sys.modules, "jax", jax)


@pytest.mark.parametrize("data", [{"i": np.arange(8)}, Stream()], ids=["arrays", "stream"])
def test_a_pass_of_one_of_several_is_refused_until_its_part_is_told(two, data):
    loader = Loader(data, 4)
    with pytest.raises(ArgumentError, match=r"shard must be given; .* one of 2 .* try shard=ladle.Shard\(1, 2\)"):
        next(iter(loader))
    every = [value for batch in Loader(data, 4, shard=ladle.Shard()) for value in batch["i"].tolist()]
    own = [Loader(data, 4, shard=ladle.Shard(k, 2), drop_last=True) for k in range(2)]
    parts = [value for loader in own for batch in loader for value in batch["i"].tolist()]
    assert sorted(every) == sorted(parts) == list(range(8))


def test_a_sampler_says_itself_which_part_is_read(two):
    found = [value for batch in Loader({"i": np.arange(8)}, 2, sampler=[1, 3, 5, 7]) for value in batch["i"].tolist()]
    assert found == [1, 3, 5, 7]


def test_one_process_alone_needs_no_part():
    assert len(list(Loader({"i": np.arange(8)}, 4))) == 2
