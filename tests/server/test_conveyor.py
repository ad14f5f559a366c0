"""The waiting hand-over keeps order, loses nothing, and ends both sides."""

from __future__ import annotations

import threading

import pytest

from server.conveyor import Conveyor, Stopped


def test_order_and_count_are_kept_through_a_small_belt() -> None:
    belt: Conveyor[int] = Conveyor(2)

    def fill() -> None:
        for i in range(500):
            belt.put(i)
        belt.end()

    thread = threading.Thread(target=fill)
    thread.start()
    out = []
    while (item := belt.get()) is not None:
        out.append(item)
    thread.join()
    assert out == list(range(500))
    assert belt.get() is None


@pytest.mark.parametrize("full", [True, False])
def test_stop_wakes_whoever_waits(full: bool) -> None:
    belt: Conveyor[int] = Conveyor(1)
    if full:
        belt.put(0)
    woken = threading.Event()

    def wait() -> None:
        with pytest.raises(Stopped):
            if full:
                belt.put(1)
            else:
                belt.get()
        woken.set()

    thread = threading.Thread(target=wait)
    thread.start()
    belt.stop()
    thread.join(10)
    assert woken.is_set()


def test_nothing_follows_the_end() -> None:
    belt: Conveyor[int] = Conveyor(1)
    belt.end()
    with pytest.raises(ValueError, match="end"):
        belt.put(1)


def test_room_is_needed() -> None:
    with pytest.raises(ValueError, match="room"):
        Conveyor[int](0)
