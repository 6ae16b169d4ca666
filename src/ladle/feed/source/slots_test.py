from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ladle.feed.source.slots import Slots

BLOCKS = 12


class Recorder:
    """Decodes block `b` as the number `b` in its slot, counts how often, and sees two threads in one slot."""

    def __init__(self, slots: int) -> None:
        self.memory = np.full(slots, -1)
        self.counts: Counter[int] = Counter()
        self.busy: Counter[int] = Counter()
        self.lock = threading.Lock()
        self.clashes = 0

    def __call__(self, block: int, slot: int) -> str:
        with self.lock:
            self.counts[block] += 1
            self.busy[slot] += 1
            self.clashes += self.busy[slot] > 1
        self.memory[slot] = block
        with self.lock:
            self.busy[slot] -= 1
        return f"note {block}"


def test_blocks_are_decoded_once_while_they_are_kept_and_the_oldest_goes_first():
    decode = Recorder(3)
    slots = Slots(3, BLOCKS, decode)
    for blocks in ([0, 1], [1, 2], [0], [3], [0, 3]):
        with slots.hold(blocks) as held:
            assert sorted(entry.block for entry in held) == sorted(blocks)
            assert {entry.note for entry in held} == {f"note {block}" for block in blocks}
            assert decode.memory[slots.slot[blocks]].tolist() == blocks
    assert decode.counts == {0: 1, 1: 1, 2: 1, 3: 1}
    with slots.hold([1]):
        assert decode.counts[1] == 2


@pytest.mark.parametrize("slots", [3, 4, 7])
def test_many_threads_see_their_blocks_and_only_those(slots):
    decode = Recorder(slots)
    shared = Slots(slots, BLOCKS, decode)

    def work(seed: int) -> bool:
        rng = np.random.default_rng(seed)
        for _ in range(200):
            blocks = rng.choice(BLOCKS, rng.integers(1, 4), replace=False).tolist()
            with shared.hold(blocks):
                if decode.memory[shared.slot[blocks]].tolist() != blocks:
                    return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(work, range(6)))
    assert decode.clashes == 0


def test_two_threads_share_the_work_of_the_same_blocks():
    """Each thread is in the middle of a block when the other is: both decode, none decodes what the other has."""
    meeting, counts = threading.Barrier(2), Counter()

    def decode(block: int, slot: int) -> None:
        counts[block] += 1
        meeting.wait(timeout=30)

    shared = Slots(4, 4, decode)

    def work(_: int) -> None:
        with shared.hold([0, 1, 2, 3]):
            assert counts.total() == 4

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, range(2)))
    assert set(counts.values()) == {1}


def test_a_block_in_use_is_not_given_up():
    decode = Recorder(2)
    slots, entered, leave = Slots(2, BLOCKS, decode), threading.Event(), threading.Event()

    def reader() -> int:
        with slots.hold([0]):
            entered.set()
            assert leave.wait(30)
            return int(decode.memory[slots.slot[0]])

    with ThreadPoolExecutor(2) as pool:
        reading = pool.submit(reader)
        assert entered.wait(30)
        for block in (1, 2, 3):
            with slots.hold([block]):
                pass
        waiting = pool.submit(lambda: slots.hold([4, 5]).__enter__())
        leave.set()
        assert reading.result(30) == 0
        assert len(waiting.result(30)) == 2


def test_a_failure_is_raised_to_all_who_need_the_block_and_tried_again_later():
    broken = {2}

    def decode(block: int, slot: int) -> None:
        if block in broken:
            raise OSError(f"block {block}")

    slots = Slots(3, BLOCKS, decode)

    def work(_: int) -> str:
        try:
            with slots.hold([1, 2, 3]):
                return "fine"
        except OSError as error:
            return str(error)

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(work, range(8))) == {"block 2"}
    broken.clear()
    assert work(0) == "fine"
    with slots.hold([4, 5, 6]):  # All slots came back.
        pass
