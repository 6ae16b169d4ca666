from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import pytest
from tests.servers import free_port

from ladle.core.errors import ArgumentError
from ladle.jax.cluster import Place
from ladle.jax.lobby import Met, gather


def place(rank: int, size: int = 2) -> Place:
    return Place(rank, size, "127.0.0.1", PORT, "127.0.0.1")


PORT = free_port()


def gathered(*places: Place, facts: dict[int, dict[str, str]] | None = None, seconds: float = 20) -> list[object]:
    """What each process gets, or why it was refused."""

    def one(at: int) -> object:
        try:
            return gather(places[at], (facts or {}).get(at, {"jax": "1"}), seconds)
        except ArgumentError as error:
            return str(error)

    with ThreadPoolExecutor(len(places)) as threads:
        return list(threads.map(one, range(len(places))))


def closed(found: list[object]) -> None:
    for met in found:
        assert isinstance(met, Met)
        for door in met.doors:
            door.close()


@pytest.mark.parametrize("size", [2, 4])
def test_all_meet_and_know_when_the_others_are_gone(size: int):
    found = gathered(*(place(rank, size) for rank in reversed(range(size))))
    first = found[-1]
    assert isinstance(first, Met) and first.own == "127.0.0.1" and len(first.doors) == size - 1
    assert not first.gone(0.02)
    closed(found[:-1])
    assert first.gone(10)
    closed(found[-1:])


def test_a_stranger_at_the_door_is_no_process():
    def knock() -> None:
        for _ in range(200):
            try:
                with socket.create_connection(("127.0.0.1", PORT), timeout=5) as door:
                    return door.sendall(b"GET / HTTP/1.1\r\n\r\n\n")
            except OSError:
                continue

    with ThreadPoolExecutor(1) as threads:
        threads.submit(knock)
        closed(gathered(place(0), place(1)))


def test_a_stranger_that_says_nothing_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ladle.jax.lobby.SPEAKING", 0.2)
    strangers: list[socket.socket] = []
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(gather, place(0), {"jax": "1"}, 20)
        while not strangers and not first.done():
            with suppress(OSError):
                strangers.append(socket.create_connection(("127.0.0.1", PORT), timeout=5))
        closed([*gathered(place(1)), first.result()])
    strangers[0].close()


def test_other_versions_are_refused_by_both():
    one, other = gathered(place(0), place(1), facts={1: {"jax": "2"}})
    assert one == other and "rank 1 must have jax 1, as rank 0 has; got '2'" in str(one)


def test_another_number_of_processes_is_refused():
    one, other = gathered(place(0), place(1, 3))
    assert one == other and "rank 1 must be one of 2 processes; got 'WORLD_SIZE=3'" in str(one)


def test_two_of_one_rank_are_refused():
    found = gathered(place(0, 3), place(1, 3), place(1, 3))
    assert all("RANK must be another for each process; got 1" in str(one) for one in found)


def test_a_process_that_does_not_come_is_named():
    (one,) = gathered(place(0), seconds=0.2)
    assert "got 'none of rank 1'; because 0.2 s are over" in str(one)


def test_a_coordinator_that_is_not_there_is_named():
    (one,) = gathered(place(1), seconds=0.3)
    assert f"coordinator must be reachable; got '127.0.0.1:{PORT}'; because Connection refused, and 0.3 s" in str(one)


def test_an_address_of_another_machine_cannot_be_listened_at():
    (one,) = gathered(replace(place(0), bind="192.0.2.1"), seconds=0.3)
    assert "coordinator must be able to listen; got '192.0.2.1:" in str(one)
