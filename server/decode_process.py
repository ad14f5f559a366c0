"""The process that reads: it decodes a source, or pushed frames, and hands planes on.

Whatever it is fed may kill it; it is started again. It owns no deadline: each picture goes to the
last hop and to the engine, and neither is waited for in live mode.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from engines.picture import Picture
from server import jpeg, redial
from server.child import Control
from server.controls import Limits
from server.errors import FrameTooLarge, SurgiclearError
from server.packet import Packet, described, parts_of, picture_of
from server.rtsp import is_rtsp
from server.shared import Board, Slot, SlotHandle
from server.spec import Mode

ACTIVE_LANE = 0  # word of the board: index of the engine lane that gets the frames, or:
NO_LANE = 255  # there is none
LATER = 254  # it is on its way: lossless waits for it
BEHIND_MOST_S = 0.25  # a source this far behind its own clock starts the clock again


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture of a source. at_s: when it is due by the source's own clock, None for a live
    source, which is due at once; again: the source has started over; came_ns: when it came by
    the monotonic clock, None for now; late_ns: how old it was by then."""

    picture: Picture
    at_s: float | None = None
    again: bool = False
    came_ns: int | None = None
    late_ns: int = 0


Feed = Callable[[str], Iterator[Shown]]


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodeTask:
    """What the decode process is started with. pushed: slot that pushed frames come by (then
    `raw` is not written: the last hop has its own copy); epoch: the first one to use."""

    stream: int
    source: str
    feed: Feed
    mode: Mode
    epoch: int
    pushed: SlotHandle | None
    raw: SlotHandle
    lanes: tuple[SlotHandle, SlotHandle]
    board: int
    limits: Limits


class Decoder:
    """The loop of one decode process."""

    def __init__(self, task: DecodeTask, control: Control) -> None:
        self.task = task
        self.control = control
        self.lanes = [Slot(handle) for handle in task.lanes]
        self.board = Board(task.board)
        self.epoch = task.epoch
        self.seq = 0
        self.size: tuple[int, int] | None = None
        self._start_s = 0.0
        self._giving = False

    def run(self) -> None:
        if self.task.pushed is not None:
            self._take_pushed(Slot(self.task.pushed))
            return
        raw = Slot(self.task.raw)
        for shown in self._source():
            if not self._giving:
                self._giving = True
                self.control.send({"state": "ready"})  # it has opened and gives pictures
            self._obey()
            self._wait_until_due(shown)
            size = (shown.picture.width, shown.picture.height)
            if self.seq and (shown.again or size != self.size):
                self.epoch, self.seq = self.epoch + 1, 0
            self.size = size
            if size[0] * size[1] > self.task.limits.max_pixels:
                raise FrameTooLarge(f"a picture of {size[0]}x{size[1]}", "set the camera to less")
            self._show(shown, raw)

    def _source(self) -> Iterator[Shown]:
        if not is_rtsp(self.task.source):
            return self.task.feed(self.task.source)
        return redial.redial(self.task.feed, self.task.source, self._waiting)

    def _waiting(self, why: str, patience_s: float) -> None:
        """No picture comes, and that is known: for patience_s it is no reason to worry about us."""
        self._giving = False
        self._obey()
        self.control.send({"waiting": why, "patience_s": patience_s})

    def _show(self, shown: Shown, raw: Slot) -> None:
        picture, came_ns = shown.picture, shown.came_ns
        now = time.monotonic_ns()
        took = {} if came_ns is None else {"decode": round((now - came_ns) / 1e6, 3)}
        packet = described(
            Packet(
                stream=self.task.stream,
                epoch=self.epoch,
                seq=self.seq,
                capture_ns=now if came_ns is None else came_ns,
                late_ns=shown.late_ns,
                note=took,
                width=0,
                height=0,
                codec="i420",
            ),
            picture,
        )
        packet = replace(packet, tag_seq=self.seq, tag_ns=packet.capture_ns)
        if self.task.mode == "lossless":
            while not raw.wait_for_room(0.1):
                self._obey()
        raw.put(packet.pack(), parts_of(picture))
        self._hand_on(packet, picture)
        self.seq += 1

    def _hand_on(self, packet: Packet, picture: Picture) -> None:
        """To the engine whose turn it is, if any is up."""
        lane = self.board[ACTIVE_LANE]
        while self.task.mode == "lossless" and not self._has_room(lane):
            self._obey()
            lane = self.board[ACTIVE_LANE]
        if lane < len(self.lanes):
            self.lanes[lane].put(replace(packet, lane=lane).pack(), parts_of(picture))

    def _has_room(self, lane: int) -> bool:
        """Whether the lossless frame can go on now; waits a moment if not."""
        if lane == LATER:
            time.sleep(0.01)
            return False
        return lane == NO_LANE or self.lanes[lane].wait_for_room(0.05)

    def _take_pushed(self, pushed: Slot) -> None:
        poll = select.poll()
        poll.register(pushed.fileno(), select.POLLIN)
        poll.register(self.control.fileno(), select.POLLIN)
        self.control.send({"state": "ready"})
        while True:
            poll.poll()
            self._obey()
            item = pushed.take()
            if item is None:
                continue
            started = time.monotonic_ns()
            packet = Packet.unpack(item.head)
            try:
                picture = (
                    jpeg.decode_planes(item.body.data)
                    if packet.codec == "jpeg"
                    else picture_of(packet, item.body)
                )
            except (SurgiclearError, ValueError) as error:
                place = [packet.epoch, packet.seq]
                self.control.send({"unreadable": place, "why": str(error)})
                continue
            took_ms = round((time.monotonic_ns() - started) / 1e6, 3)
            packet = replace(described(packet, picture), note={"decode": took_ms})
            self._hand_on(packet, picture)

    def _wait_until_due(self, shown: Shown) -> None:
        if shown.at_s is None or self.task.mode == "lossless":
            return
        now_s = time.monotonic()
        if self.seq == 0 or shown.again or now_s - self._start_s - shown.at_s > BEHIND_MOST_S:
            self._start_s = now_s - shown.at_s  # never run after lost time
        while (left_s := self._start_s + shown.at_s - time.monotonic()) > 0:
            time.sleep(min(left_s, 0.1))

    def _obey(self) -> None:
        while self.control.receive() is not None:
            pass  # it has nothing to be told; the end of the socket ends it


def run(task: DecodeTask, control: Control) -> None:
    """Entry of the process. The end of a source ends it, and its supervisor starts it again."""
    os.nice(5)  # the last hop started us, and goes first
    with contextlib.suppress(EOFError):
        try:
            Decoder(task, control).run()
        except SurgiclearError as error:
            control.send({"failed": str(error)})
    os._exit(0)
