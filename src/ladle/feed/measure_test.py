from __future__ import annotations

import json

import numpy as np
import pytest

from ladle.feed.arrays import Arrays
from ladle.feed.blocks import Blocks
from ladle.feed.host import HostFeed
from ladle.feed.measure import FeedReport, measure
from ladle.feed.order import Permuted
from ladle.feed.pad import Pad
from ladle.feed.source.sequences import Sequences

STAGES = {"order": 1e-8, "read": 1e-6, "collate": 1e-8, "transfer": 1e-8}


def report(**changes) -> FeedReport:
    start = {"stages": STAGES, "rates": {0: 1e5, 1: 1.9e5, 2: 1.95e5}, "example_bytes": 100.0, "batch": 64}
    return FeedReport(**{**start, "measured": 640, **changes})


def test_every_stage_takes_some_time_and_every_rate_is_one():
    found = measure(HostFeed(Arrays({"x": np.zeros((500, 8), np.float32)}), Permuted(500)), 64, seconds=0.01)
    assert list(found.stages) == ["order", "read", "collate", "transfer"]
    assert all(seconds >= 0 for seconds in found.stages.values())
    assert all(np.isfinite(rate) and rate > 0 for rate in found.rates.values())
    assert found.example_bytes == 32
    assert (found.quality, found.padding_fraction, found.memory_bytes) == (1.0, None, None)
    assert json.loads(json.dumps(found.to_json()))["best"] in (0, 1, 2)


def test_padding_and_the_quality_of_a_block_order_are_told():
    documents = Sequences.of([np.arange(n % 7 + 1) for n in range(90)])
    found = measure(HostFeed(documents, Permuted(90), collate=Pad()), 16, seconds=0.01)
    assert found.padding_fraction is not None
    assert 0.2 < found.padding_fraction < 0.7
    blocks = measure(HostFeed(Arrays(np.zeros(100)), Blocks([10] * 10, mix=2)), 16, seconds=0.01)
    assert blocks.quality == pytest.approx(Blocks([10] * 10, mix=2).quality(16))
    assert "batches vary" in str(blocks)


def test_decoding_is_told_from_reading_where_the_source_can():
    class Encoded:
        def __len__(self) -> int:
            return 64

        def fetch(self, ids: np.ndarray) -> list[bytes]:
            return [b""] * len(ids)

        def take(self, ids: np.ndarray) -> np.ndarray:
            return np.linalg.inv(np.eye(60) + ids[:, None, None])[:, 0]

    found = measure(HostFeed(Encoded(), Permuted(64)), 32, seconds=0.02)
    assert found.stages["decode"] > found.stages["read"]
    assert any("Decoding takes" in line for line in found.advice)


def test_the_fewest_readers_that_are_nearly_the_fastest_are_the_best():
    assert report().best == 1
    assert report(rates={0: 1e5, 1: 0.9e5, 2: 0.8e5}).best == 0


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, "Read ahead with 1 reader: 1.9 times"),
        ({"rates": {0: 1e5, 1: 0.9e5}}, "Readers ahead do not help here"),
        ({}, "Reading takes"),
        ({"stages": {**STAGES, "decode": 1e-5}}, "Decoding takes"),
        ({"stages": {**STAGES, "collate": 1e-5}}, "Collating takes"),
        ({"stages": {**STAGES, "transfer": 1e-5}}, "The transfer takes"),
        ({"stages": {**STAGES, "order": 1e-5}}, "The order takes"),
    ],
)
def test_advice_names_the_largest_stage_and_the_readers(changes, says):
    assert any(line.startswith(says) for line in report(**changes).advice)
