"""The process that sends one stream's pictures to an RTSP server, and holds up nobody.

The last hop leaves the newest picture in a slot and goes on. Whatever happens here (a server that
is slow, hangs, or is gone) costs pictures of this sink, which are counted, and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import time
from collections import Counter
from dataclasses import dataclass

from engines.picture import Picture
from server import jpeg
from server.broadcast import Broadcast
from server.card import card
from server.child import Control
from server.errors import SinkUnwritable, SourceUnreadable
from server.mark import draw, mark_of
from server.packet import BARE, Packet, picture_of
from server.shared import Item, Slot, SlotHandle
from server.spec import Flag
from server.trust import SYSTEM, Trust

PAUSE_FIRST_S, PAUSE_MOST_S = 0.25, 4.0  # between two attempts to connect
SPREAD = 0.2
CONNECT_S = 15.0  # an attempt may take this long before somebody should look
SILENCE_S = 1.5  # without a picture or card from the stream's process, a card of our own
TELL_S = 0.25
STUCK_S = 3.0  # congested for this long: a new connection, which starts with an empty queue


@dataclass(frozen=True, kw_only=True, slots=True)
class SinkTask:
    """What the process is started with. url: with its password."""

    url: str
    pictures: SlotHandle
    trust: Trust = SYSTEM


class Sink:
    """The loop of one sink process."""

    def __init__(self, task: SinkTask, control: Control) -> None:
        self.task, self.control = task, control
        self.slot = Slot(task.pictures)
        self.broadcast: Broadcast | None = None
        self.sent = 0
        self.dropped: Counter[str] = Counter()
        self._pause_s = PAUSE_FIRST_S
        self._next_s = self._told_s = 0.0
        self._last_s = time.monotonic()  # of the last picture or card
        self._free_s = 0.0  # when the network was last not congested
        self._lost_wall_s: float | None = None
        self._why: str | None = None

    def run(self) -> None:
        poll = select.poll()
        poll.register(self.slot.fileno(), select.POLLIN)
        poll.register(self.control.fileno(), select.POLLIN)
        self._tell("connecting")
        while True:
            poll.poll(TELL_S * 1000)
            while self.control.receive() is not None:
                pass  # nothing to be told; its end ends us
            item = self.slot.take()
            if item is not None:
                self._take(item)
            elif time.monotonic() - self._last_s > SILENCE_S:
                self._silent()
            if time.monotonic() - self._told_s > TELL_S:
                self._tell("up" if self.broadcast is not None else "down")

    def _take(self, item: Item) -> None:
        packet = Packet.unpack(item.head)
        is_card = bool(packet.flags & Flag.CARD)
        missed_while = "BEHIND" if self.broadcast is not None else "DOWN"
        self.dropped[missed_while] += item.missed
        self._last_s = time.monotonic()
        if self.broadcast is None and (is_card or not self._connect(packet)):
            self.dropped["DOWN"] += 1  # a card alone does not say how large the pictures are
            return
        try:
            picture = self._picture(packet, item)
        except (SourceUnreadable, ValueError):
            self.dropped["UNREADABLE"] += 1
            return
        if not is_card:
            self._lost_wall_s = time.time()
        fate = self._send(picture, time.monotonic_ns() if is_card else packet.capture_ns)
        if fate is None:
            self.sent += 1
        else:
            self.dropped[fate] += 1

    def _picture(self, packet: Packet, item: Item) -> Picture:
        if packet.codec == "jpeg":
            picture: Picture = jpeg.decode_planes(item.body.data)
        else:
            picture = picture_of(packet, item.body)
        if packet.flags & (Flag.STALE | Flag.CARD) == Flag.STALE and packet.note.get(BARE):
            mark = mark_of(packet.note["provenance"], stale=True, seq=packet.seq)
            if mark is not None:
                draw(picture, mark)
        return picture

    def _connect(self, packet: Packet) -> bool:
        """Whether there is a connection now."""
        if time.monotonic() < self._next_s:
            return False
        self._tell("connecting")
        try:
            self.broadcast = Broadcast(
                self.task.url, packet.width, packet.height, packet.colour, self.task.trust
            )
        except SinkUnwritable as error:
            self._down(str(error))
            return False
        self._why, self._free_s = None, time.monotonic()
        self._tell("up")
        return True

    def _send(self, picture: Picture, taken_ns: int) -> str | None:
        """Why it was not sent, None where it was."""
        broadcast = self.broadcast
        if broadcast is None:
            return "DOWN"
        now = time.monotonic()
        if not broadcast.congested:
            self._free_s = now
        elif now - self._free_s > STUCK_S:
            self._down("the RTSP server takes nothing any more")
            return "DOWN"
        else:
            return "BEHIND"
        try:
            broadcast.send(picture, taken_ns)
        except SinkUnwritable as error:
            self._down(str(error))
            return "DOWN"
        self._pause_s = PAUSE_FIRST_S
        return None

    def _silent(self) -> None:
        """The stream's process says nothing: the viewers have to hear of it."""
        self._last_s = time.monotonic()
        if self.broadcast is not None:
            width, height = self.broadcast.size
            self._send(card(width, height, self._lost_wall_s), time.monotonic_ns())

    def _down(self, why: str) -> None:
        broadcast, self.broadcast = self.broadcast, None
        wait_s = self._pause_s * random.uniform(1 - SPREAD, 1 + SPREAD)
        self._next_s = time.monotonic() + wait_s
        self._pause_s = min(PAUSE_MOST_S, 2 * self._pause_s)
        self._why = why
        self._tell("down")
        if broadcast is not None:
            broadcast.close()

    def _tell(self, state: str) -> None:
        self._told_s = time.monotonic()
        self.control.send(
            {
                "state": state,
                "why": self._why,
                "sent": self.sent,
                "dropped": dict(self.dropped),
                "patience_s": CONNECT_S if state == "connecting" else 0.0,
            }
        )


def run(task: SinkTask, control: Control) -> None:
    """Entry of the process."""
    os.nice(6)  # the last hop and the engine go first
    with contextlib.suppress(EOFError):
        Sink(task, control).run()
    os._exit(0)
