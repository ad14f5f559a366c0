"""The decode process on its own: order, epochs, pacing, lanes, and what it cannot read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import pytest
from children import hear
from streams import coded, coded_jpeg, planes

from engines.picture import Rgb
from server import decode_process
from server.child import Child, launch
from server.controls import Limits
from server.decode_process import ACTIVE_LANE, LATER, NO_LANE, DecodeTask, Feed, Shown
from server.packet import Packet, as_bytes, picture_of
from server.shared import Board, Item, Slot
from server.spec import Mode

PATIENCE_S = 60.0


def steady(source: str) -> Iterator[Shown]:
    """Without end, 200 frames a second."""
    for seq in count():
        yield Shown(planes(seq), seq / 200)


def looping(source: str) -> Iterator[Shown]:
    """Rounds of five."""
    for seq in count():
        yield Shown(planes(seq), (seq % 5) / 200, again=seq % 5 == 0 and seq > 0)


def switching(source: str) -> Iterator[Shown]:
    """Another size from the fourth frame on."""
    for seq in count():
        size = (64, 48) if seq < 4 else (96, 64)
        yield Shown(Rgb(coded(0, seq, *size).pixels), seq / 200)


def three(source: str) -> Iterator[Shown]:
    for seq in range(3):
        yield Shown(planes(seq))


class Bench:
    def __init__(self, child: Child, slots: dict[str, Slot], board: Board) -> None:
        self.child, self.slots, self.board = child, slots, board

    def take(self, name: str) -> tuple[Packet, Item]:
        end = time.monotonic() + PATIENCE_S
        while (item := self.slots[name].take()) is None:
            assert time.monotonic() < end
            time.sleep(0.0005)
        return Packet.unpack(item.head), item


@contextmanager
def running(
    feed: Feed, *, pushed: bool = False, mode: Mode = "live", lane: int = 0
) -> Iterator[Bench]:
    slots = {name: Slot.create(100_000) for name in ("raw", "first", "second", "pushed")}
    board = Board.create()
    board[ACTIVE_LANE] = lane
    task = DecodeTask(
        stream=7,
        source="file:x",
        feed=feed,
        mode=mode,
        epoch=5,
        pushed=slots["pushed"].handle if pushed else None,
        raw=slots["raw"].handle,
        lanes=(slots["first"].handle, slots["second"].handle),
        board=board.fd,
        limits=Limits(),
    )
    fds = (board.fd, *(fd for slot in slots.values() for fd in slot.handle.fds))
    child = launch(decode_process.run, task, title="surgiclear: decode 7", fds=fds)
    try:
        yield Bench(child, slots, board)
    finally:
        child.kill()
        child.reaped(PATIENCE_S)
        for slot in slots.values():
            slot.close()
        board.close()


def test_each_frame_goes_to_the_last_hop_and_to_the_lane_whose_turn_it_is() -> None:
    with running(steady) as bench:
        assert hear(bench.child) == {"state": "ready"}
        head, item = bench.take("raw")
        assert (head.stream, head.epoch, head.width, head.height) == (7, 5, 64, 48)
        assert (picture_of(head, item.body).y == planes(head.seq).y).all()  # type: ignore[union-attr]
        to_engine, _ = bench.take("first")
        assert to_engine.lane == 0
        bench.board[ACTIVE_LANE] = 1
        to_other, _ = bench.take("second")
        assert to_other.lane == 1
        bench.board[ACTIVE_LANE] = NO_LANE
        time.sleep(0.1)
        bench.slots["second"].take()
        later, _ = bench.take("raw")
        assert later.seq > to_other.seq
        assert bench.slots["second"].take() is None
        assert later.capture_ns <= time.monotonic_ns()


def test_the_source_sets_the_pace() -> None:
    with running(steady) as bench:
        first, _ = bench.take("raw")
        last = first
        while last.seq < first.seq + 60:
            last, _ = bench.take("raw")
        took_s = (last.capture_ns - first.capture_ns) / 1e9
        assert took_s > 0.9 * (last.seq - first.seq) / 200  # never faster than it was shot


@pytest.mark.parametrize(("feed", "length"), [(looping, 5), (switching, 4)])
def test_starting_over_or_another_size_is_a_new_epoch(feed: Feed, length: int) -> None:
    with running(feed, mode="lossless", lane=NO_LANE) as bench:
        places = [bench.take("raw")[0].place for _ in range(length + 2)]
        assert places == [(5, n) for n in range(length)] + [(6, 0), (6, 1)]


def test_lossless_loses_nothing_and_waits_for_the_engine() -> None:
    with running(steady, mode="lossless", lane=LATER) as bench:
        assert bench.take("raw")[0].seq == 0
        time.sleep(0.1)
        assert bench.slots["raw"].take() is None  # it waits for an engine to give frame 0 to
        bench.board[ACTIVE_LANE] = 0
        for seq in range(40):
            assert bench.take("first")[0].seq == seq
            assert bench.take("raw")[0].seq == seq + 1


def test_the_end_of_a_source_ends_the_process() -> None:
    with running(three) as bench:
        assert bench.child.process.wait(PATIENCE_S) == 0


def test_pushed_frames_are_decoded_and_broken_ones_named() -> None:
    with running(steady, pushed=True) as bench:
        assert hear(bench.child) == {"state": "ready"}

        def push(seq: int, payload: bytes) -> None:
            head = Packet(
                stream=7, epoch=9, seq=seq, capture_ns=1, width=64, height=48, codec="jpeg"
            )
            bench.slots["pushed"].put(head.pack(), [as_bytes(payload)])

        push(3, coded_jpeg(7, 3))
        head, item = bench.take("first")
        assert head.place == (9, 3)
        assert head.codec == "i420"
        assert head.note["decode"] > 0
        assert picture_of(head, item.body).width == 64
        push(4, coded_jpeg(7, 4)[:-100])
        said = hear(bench.child)
        assert said["unreadable"] == [9, 4]
        push(5, coded_jpeg(7, 5))
        assert bench.take("first")[0].seq == 5
        assert bench.slots["raw"].take() is None  # the last hop has its own copy
