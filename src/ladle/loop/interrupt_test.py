from __future__ import annotations

import signal
import threading

import pytest

from ladle.loop.interrupt import asked, interrupts


@pytest.fixture(autouse=True)
def handlers_come_back():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    assert {number: signal.getsignal(number) for number in before} == before


def send(number: signal.Signals) -> None:
    """To this thread: one sent to the process may be taken by another thread, and come a moment later."""
    signal.raise_signal(number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_sets_the_flag_and_work_goes_on(number: signal.Signals) -> None:
    done = []
    with interrupts() as interrupt:
        for window in range(3):
            if window == 1:
                send(number)
            done.append(window)  # the end of the window, the checkpoint
            if interrupt.requested is not None:
                break
    assert interrupt.requested == number.name
    assert done == [0, 1]


def test_nothing_is_requested_without_a_signal() -> None:
    with interrupts() as interrupt:
        assert interrupt.requested is None


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_a_sigint_after_the_first_signal_stops_at_once(first: signal.Signals) -> None:
    with pytest.raises(KeyboardInterrupt), interrupts() as interrupt:
        send(first)
        assert interrupt.requested == first.name
        send(signal.SIGINT)
        pytest.fail("went on after the second signal")


def test_further_sigterms_change_nothing() -> None:
    with interrupts() as interrupt:
        send(signal.SIGINT)
        send(signal.SIGTERM)
        send(signal.SIGTERM)
    assert interrupt.requested == "SIGINT"


def test_handlers_come_back_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), interrupts():
        raise ZeroDivisionError


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts() as interrupt:
            send(signal.SIGINT)
        assert interrupt.requested is None
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_outside_the_main_thread_nothing_is_done() -> None:
    seen: list[object] = []

    def work() -> None:
        handler = signal.getsignal(signal.SIGTERM)
        with interrupts() as interrupt:
            seen.append(interrupt.requested)
            seen.append(signal.getsignal(signal.SIGTERM) == handler)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [None, True]


def test_the_one_within_and_the_one_around_it_are_asked() -> None:
    with interrupts() as around:
        with interrupts() as within:
            send(signal.SIGINT)
        assert (within.requested, around.requested, asked()) == ("SIGINT", "SIGINT", True)
    assert not asked()


def test_a_handler_from_between_two_runs_comes_back_after_the_second() -> None:
    def own(number: int, frame: object) -> None: ...

    with interrupts():
        signal.signal(signal.SIGTERM, own)
        with interrupts() as within:
            send(signal.SIGTERM)
        assert within.requested == "SIGTERM" and signal.getsignal(signal.SIGTERM) is own


def test_runs_in_turns_end_in_any_order_and_a_signal_asks_all_of_them() -> None:
    first, second, third = (interrupts() for _ in range(3))
    one, two = first.__enter__(), second.__enter__()
    send(signal.SIGINT)
    assert (one.requested, two.requested) == ("SIGINT", "SIGINT")
    first.__exit__(None, None, None)
    three = third.__enter__()
    send(signal.SIGTERM)
    assert (two.requested, three.requested) == ("SIGINT", "SIGTERM")
    second.__exit__(None, None, None)
    with pytest.raises(KeyboardInterrupt):
        send(signal.SIGINT)
    third.__exit__(None, None, None)
