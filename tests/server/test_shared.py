"""The shared-memory slot: newest wins, nothing torn, nothing left behind however a party dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from server.shared import BUFFER_WORDS, LOCK, Board, Slot


def filled(value: int, size: int) -> list[np.ndarray[tuple[int], np.dtype[np.uint8]]]:
    return [np.full(size, value % 256, np.uint8)]


@pytest.fixture
def slot() -> Iterator[Slot]:
    made = Slot.create(100_000)
    yield made
    made.close()


def test_what_is_put_is_taken_once(slot: Slot) -> None:
    y = np.arange(48, dtype=np.uint8).reshape(6, 8)
    assert slot.take() is None
    slot.put(b"head", [y[:, ::2], y])  # strided and whole
    item = slot.take()
    assert item is not None
    assert item.head == b"head"
    assert item.body.tobytes() == y[:, ::2].tobytes() + y.tobytes()
    assert slot.take() is None


def test_the_newest_wins_and_the_missed_are_counted_exactly(slot: Slot) -> None:
    got, missed = 0, 0
    for number in range(1, 101):
        slot.put(number.to_bytes(4, "little"), filled(number, 10))
        if number % 7 == 0:
            item = slot.take()
            assert item is not None
            assert int.from_bytes(item.head, "little") == number  # never an older one
            got += 1
            missed += item.missed
    waiting = slot.published - slot.taken
    assert got + missed + waiting == slot.published == 100


def test_too_large_an_item_is_refused_and_harms_nothing(slot: Slot) -> None:
    slot.put(b"ok", filled(1, 5))
    with pytest.raises(ValueError, match="do not fit"):
        slot.put(b"big", filled(2, 100_001))
    item = slot.take()
    assert item is not None
    assert item.head == b"ok"


def test_room_tells_lossless_writers_when_to_go_on(slot: Slot) -> None:
    assert slot.has_room()
    slot.put(b"", filled(1, 1))
    assert not slot.wait_for_room(0.01)
    slot.take()
    assert slot.wait_for_room(0.01)


def test_a_fresh_reader_goes_on_where_the_dead_one_stopped(slot: Slot) -> None:
    slot.put(b"taken", filled(1, 1))
    slot.take()
    slot.put(b"waiting", filled(2, 1))
    second = Slot(slot.handle)
    item = second.take()
    assert item is not None
    assert (item.head, item.missed) == (b"waiting", 0)
    assert second.take() is None
    second.unmap()  # both ends share their descriptors here


def test_a_half_written_item_is_never_seen(slot: Slot) -> None:
    slot.put(b"whole", filled(1, 10))
    # a writer that died in the middle of its third item: lock odd, `published` not moved
    slot._words[BUFFER_WORDS + 8 * (2 % 3) + LOCK] = 1
    item = slot.take()
    assert item is not None
    assert item.head == b"whole"
    assert slot.take() is None
    slot.put(b"next", filled(3, 10))  # its successor goes on in the same buffer
    item = slot.take()
    assert item is not None
    assert item.head == b"next"


def test_a_buffer_overwritten_while_copied_is_not_believed(slot: Slot) -> None:
    slot.put(b"one", filled(1, 10))
    slot._words[BUFFER_WORDS + 8 * 1 + LOCK] = 3  # being written again
    assert slot.take() is None
    slot._words[BUFFER_WORDS + 8 * 1 + LOCK] = 4
    item = slot.take()
    assert item is not None
    assert item.head == b"one"


WRITER = """
import sys
sys.path[:] = sys.argv[1].split(":")
import numpy as np
from server.shared import Slot, SlotHandle
slot = Slot(SlotHandle(*map(int, sys.argv[2:])))
number = 0
while True:
    number += 1
    slot.put(number.to_bytes(8, "little"), [np.full(200_000, number % 256, np.uint8)])
"""


def write_in_a_child(slot: Slot) -> subprocess.Popen[bytes]:
    handle = slot.handle
    numbers = [str(n) for n in (*handle.fds, handle.capacity)]
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, ":".join(sys.path), *numbers], pass_fds=handle.fds
    )


def test_nothing_is_torn_between_processes_and_a_killed_writer_leaves_no_trace() -> None:
    names = set(os.listdir("/dev/shm"))
    slot = Slot.create(200_000)
    child = write_in_a_child(slot)
    try:
        last, items = 0, 0
        until = time.monotonic() + 30
        while items < 300 and time.monotonic() < until:
            item = slot.take()
            if item is None:
                time.sleep(0.0005)
                continue
            number = int.from_bytes(item.head, "little")
            assert number > last
            assert item.body.min() == item.body.max() == number % 256
            last, items = number, items + 1
        assert items == 300
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    # the reader goes on as if nothing had happened, and so does the next writer
    slot.take()
    assert slot.take() is None
    slot.put(b"after", filled(7, 10))
    item = slot.take()
    assert item is not None
    assert item.head == b"after"
    memory = slot.handle.memory
    slot.close()
    assert not Path(f"/proc/self/fd/{memory}").exists()
    assert set(os.listdir("/dev/shm")) <= names  # nothing of ours ever had a name


def test_a_board_shows_its_words_to_another_mapping() -> None:
    board = Board.create()
    other = Board(os.dup(board.fd))
    board[3] = 2**63
    assert other[3] == 2**63
    other.close()
    board.close()
