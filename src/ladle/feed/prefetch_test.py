"""What reading ahead adds to the laws of every feed (`laws_test.py`): it changes nothing, and it is bounded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ladle.core.batch import Batch
from ladle.core.cursor import Cursor, Shard
from ladle.core.errors import ExampleError
from ladle.core.spec import BatchSpec
from ladle.feed.arrays import Arrays
from ladle.feed.host import HostFeed
from ladle.feed.loader import Loader
from ladle.feed.order import Permuted
from ladle.feed.prefetch import PrefetchedFeed

N = 60
FEED = HostFeed(Arrays({"id": np.arange(N)}), Permuted(N, 2))


def read(feed: Any, cursor: Cursor, spec: BatchSpec) -> tuple[list[tuple[list[int], list[float]]], Cursor]:
    draw, after = feed.draw(cursor, spec)
    batches = [batch for update in range(spec.updates) for batch in draw.micro_batches(update, spec.micro_size)]
    return [(batch.ids.tolist(), batch.weight.tolist()) for batch in batches], after


@given(
    specs=st.lists(
        st.builds(BatchSpec, size=st.integers(1, 40), micro_size=st.integers(1, 15)), min_size=1, max_size=8
    ),
    back=st.integers(0, 7),
    workers=st.integers(0, 3),
)
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
def test_sizes_may_change_and_a_run_may_go_back(specs, back, workers):
    """A batch that was read for another size, or beyond a checkpoint, is thrown away; what is read is as without."""
    ahead, cursors = PrefetchedFeed(FEED, workers=workers, depth=3), [Cursor()]
    for spec in specs:
        expected = read(FEED, cursors[-1], spec)
        assert read(ahead, cursors[-1], spec) == expected
        cursors.append(expected[1])
    cursor = cursors[min(back, len(cursors) - 1)]
    assert read(ahead, cursor, specs[0]) == read(FEED, cursor, specs[0])
    ahead.close()


def test_steady_training_misses_nothing_that_was_read_ahead():
    ahead, cursor = PrefetchedFeed(FEED, workers=2), Cursor()
    for _ in range(30):
        _, cursor = read(ahead, cursor, BatchSpec(7, 3))
    assert ahead.ahead.missed == 0
    ahead.close()


class Damaged:
    """Examples 7 and 31 cannot be read."""

    def __len__(self) -> int:
        return N

    def take(self, ids: np.ndarray) -> Any:
        bad = [int(id) for id in np.unique(ids) if id in (7, 31)]
        if bad:
            raise ExampleError(f"examples {bad} are damaged", bad)
        return {"id": ids}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("hosts", [1, 3])
def test_damaged_examples_are_left_out_with_their_ids_and_hosts_stay_in_step(workers, hosts):
    feed = HostFeed(Damaged(), Permuted(N, 2), bad="skip")
    seen, bad, steps = [], set(), set()
    for host in range(hosts):
        ahead, cursor, count = PrefetchedFeed(feed, workers=workers), Cursor(), 0
        while cursor.drawn < N:
            draw, cursor = ahead.draw(cursor, BatchSpec(16, 4), Shard(host, hosts))
            batches: list[Batch] = list(draw.micro_batches(0, 4))
            count += len(batches)
            for batch in batches:
                good = batch.weight > 0
                seen += batch.ids[good].tolist()
                bad |= set(batch.bad)
                assert not set(batch.data["id"].tolist()) & {7, 31}
                assert batch.sums.get("bad", 0) == sum(id in (7, 31) for id in batch.ids[: batch.real])
        steps.add(count)
        ahead.close()
    assert sorted(seen) == [id for id in range(N) if id not in (7, 31)]
    assert bad == {7, 31}
    assert len(steps) == 1


class Confused(Damaged):
    """Names an example that nobody asked for."""

    def take(self, ids: np.ndarray) -> Any:
        raise ExampleError("something is damaged", [N + 1])


@pytest.mark.parametrize("read_all", [lambda: list(Loader(Confused(), 8, bad="skip")), None], ids=["loader", "feed"])
def test_an_error_that_names_none_of_the_examples_asked_for_is_raised(read_all):
    """Leaving out what it names would change nothing, for ever."""
    feed = HostFeed(Confused(), Permuted(N, 2), bad="skip")
    with pytest.raises(ExampleError, match="something is damaged"):
        read_all() if read_all else read(feed, Cursor(), BatchSpec(8, 8))


def test_without_leave_a_damaged_example_ends_the_run_with_its_id():
    ahead, cursor = PrefetchedFeed(HostFeed(Damaged(), Permuted(N, 2)), workers=2), Cursor()
    with pytest.raises(ExampleError, match="are damaged") as caught:
        while True:
            _, cursor = read(ahead, cursor, BatchSpec(8, 8))
    assert set(caught.value.ids) <= {7, 31}
    ahead.close()


def test_a_batch_of_damaged_examples_alone_still_has_a_shape():
    feed = HostFeed(Damaged(), Permuted(N, 2), bad="skip")
    position = int(np.flatnonzero(Permuted(N, 2).ids(0, N) == 7)[0])
    draw, _ = feed.draw(Cursor(position), BatchSpec(1, 2))
    (batch,) = draw.micro_batches(0, 2)
    assert batch.weight.tolist() == [0, 0]
    assert batch.bad == (7,)


@pytest.mark.slow
def test_processes_read_the_same_batches():
    ahead, cursor = PrefetchedFeed(FEED, workers=2, processes=True), Cursor()
    for _ in range(9):
        expected = read(FEED, cursor, BatchSpec(7, 4))
        assert read(ahead, cursor, BatchSpec(7, 4)) == expected
        cursor = expected[1]
    ahead.close()
