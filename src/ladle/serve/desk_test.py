"""Requests at the desk: all are answered once, by themselves; the newest wins; what is late or too much is refused."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from ladle.core.errors import DataError
from ladle.serve.bodies import json_answer
from ladle.serve.control import Controller, Line
from ladle.serve.desk import LATE, REPLACED, Desk, Ticket
from ladle.serve.numbers import Numbers
from ladle.serve.served import Answer, Refused


class Doubler:
    """A model that says twice the number in each row, when its gate is open. `shapes`: of what it was given."""

    name, classes, takes = "doubler", (), (np.dtype("float64"), (1,))

    def __init__(self) -> None:
        """The gate is open."""
        self.gate, self.begun, self.shapes = threading.Event(), threading.Event(), []
        self.gate.set()

    def read(self, rows: Any) -> tuple[Any, int, tuple[str, ...]]:
        return np.asarray(rows, float), len(rows), ()

    def compute(self, inputs: Any) -> np.ndarray:
        self.shapes.append(inputs.shape)
        self.begun.set()
        assert self.gate.wait(30)
        if (inputs == 13).any():
            raise RuntimeError("thirteen")
        return 2 * inputs

    def answer(self, outputs: np.ndarray) -> Answer:
        if (outputs < 0).any():
            raise DataError("rows must be positive")
        return Answer(outputs[:, 0], None)

    def example(self) -> Any:
        return [[0.0]]


@asynccontextmanager
async def opened(target: float = 60.0, **options: Any) -> AsyncIterator[tuple[Desk, Doubler]]:
    model = Doubler()
    desk = Desk(model, Controller(target, Line({1: 1e-3, 8: 1.7e-3}), 8), Numbers(), **options)
    desk.open(asyncio.get_running_loop())
    try:
        yield desk, model
    finally:
        model.gate.set()
        await asyncio.to_thread(desk.close)


def ask(desk: Desk, *values: float) -> asyncio.Future[bytes]:
    future = asyncio.get_running_loop().create_future()
    desk.accept(Ticket(np.array(values)[:, None], len(values), json_answer, future))
    return future


async def said(future: asyncio.Future[bytes]) -> Any:
    try:
        return json.loads(await asyncio.wait_for(future, 30))["predictions"]
    except Refused as refusal:
        return refusal.status, refusal.sentence


def within(test: Callable[[], Any]) -> None:
    asyncio.run(test())


def test_what_is_queued_is_one_batch_of_a_rungs_shape_and_each_gets_its_own():
    async def all_() -> None:
        async with opened() as (desk, model):
            model.gate.clear()
            first = ask(desk, 1)
            await asyncio.to_thread(model.begun.wait, 30)
            others = [ask(desk, 10 * at, 10 * at + 1) for at in range(1, 6)]
            model.gate.set()
            assert await said(first) == [2]
            assert [await said(one) for one in others] == [[20 * at, 20 * at + 2] for at in range(1, 6)]
            # Ten rows at batches of eight at most: four requests, then the fifth; padded up to a rung.
            assert model.shapes == [(1, 1), (8, 1), (2, 1)]

    within(all_)


def test_what_goes_wrong_with_one_request_is_its_own(capfd: pytest.CaptureFixture[str]):
    async def all_() -> None:
        async with opened() as (desk, model):
            model.gate.clear()
            first = ask(desk, 1)
            await asyncio.to_thread(model.begun.wait, 30)
            good, bad, also = ask(desk, 3), ask(desk, -1), ask(desk, 4)
            model.gate.set()
            assert [await said(first), await said(good), await said(also)] == [[2], [6], [8]]
            assert await said(bad) == (422, "rows must be positive")
            assert (await said(ask(desk, 13)))[0] == 500  # A model that fails fails for its batch,
            assert await said(ask(desk, 5)) == [10]  # and the next one has its chance.

    within(all_)
    assert "thirteen" in capfd.readouterr().err


def test_the_newest_takes_the_place_of_what_waits():
    async def all_() -> None:
        async with opened(newest=True) as (desk, model):
            model.gate.clear()
            first = ask(desk, 1)
            await asyncio.to_thread(model.begun.wait, 30)
            frames = [ask(desk, at) for at in range(2, 7)]
            desk.require_room()
            model.gate.set()
            assert await said(first) == [2]
            assert [await said(one) for one in frames] == [(503, REPLACED)] * 4 + [[12]]

    within(all_)


def test_who_could_not_be_answered_in_time_is_refused_and_told_when_to_come_back():
    async def all_() -> None:
        async with opened(target=3e-3 / 0.7) as (desk, model):  # The budget is 3 ms: a batch at work and one of four.
            desk.require_room()
            model.gate.clear()
            futures = [ask(desk, 1)]
            await asyncio.to_thread(model.begun.wait, 30)
            desk._begun = time.perf_counter() + 1.0  # As if it had only just begun, however slow this machine is.
            with pytest.raises(Refused, match="holds its promised time") as refusal:
                desk.require_room()
            assert refusal.value.status == 503 and int(refusal.value.headers["retry-after"]) >= 1
            model.gate.set()
            await said(futures[0])
            desk.require_room()
            desk.lag = 1.0  # The event loop itself is behind: the model is idle, and nobody would be answered in time.
            with pytest.raises(Refused):
                desk.require_room()

    within(all_)


def test_who_waited_too_long_is_told_so_and_the_others_are_answered():
    async def all_() -> None:
        async with opened(target=10.0) as (desk, model):
            model.gate.clear()
            first = ask(desk, 1)
            await asyncio.to_thread(model.begun.wait, 30)
            old, new = ask(desk, 2), ask(desk, 3)
            desk._waiting[0].came -= 100.0
            model.gate.set()
            assert await said(first) == [2] and await said(new) == [6]
            assert await said(old) == (503, LATE)

    within(all_)


def test_all_that_was_accepted_is_answered_before_the_end():
    async def all_() -> None:
        async with opened() as (desk, model):
            model.gate.clear()
            futures = [ask(desk, at) for at in range(20, 50)]
            closing = asyncio.create_task(asyncio.to_thread(desk.close))
            while desk.works:
                await asyncio.sleep(0.001)
            with pytest.raises(Refused, match="stopping"):
                desk.require_room()
            model.gate.set()
            await closing
            assert [await said(one) for one in futures] == [[2 * at] for at in range(20, 50)]
            assert not desk.works

    within(all_)
