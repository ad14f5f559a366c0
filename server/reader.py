"""The stream's hold on its decode process: started, watched, listened to, and not believed.

What it reads may be hostile and may have taken it over: its frames are checked before use.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from server import decode_process
from server.child import Child, launch
from server.controls import Controls, Limits
from server.decode_process import DecodeTask, Feed
from server.packet import Packet, raw_bytes
from server.rtsp import is_rtsp
from server.shared import Board, Item, Slot
from server.spec import StreamSpec
from server.supervise import Worker

EPOCH_MOST, SEQ_MOST = 2**20, 2**40  # beyond these a decoder is not believed
AGE_MOST_NS = 60 * 10**9
PATIENCE_MOST_S, WORDS_MOST = 30.0, 200


class Reader:
    """pushed: the slot that pushed frames come by, None for a source of its own; epoch: the newest.

    lost: is told (hop, what, wait in s) of each loss; fault: (hop, what) that went wrong; back:
    after how many seconds a camera gives pictures again; unreadable: the place of a frame that the
    decoder could not read.
    """

    def __init__(
        self,
        number: int,
        spec: StreamSpec,
        feed: Feed,
        limits: Limits,
        controls: Controls,
        raw: Slot,
        pushed: Slot | None,
        lanes: tuple[Slot, Slot],
        board: Board,
        epoch: int,
        *,
        lost: Callable[[str, str, float], None],
        fault: Callable[[str, str], None],
        back: Callable[[float], None],
        unreadable: Callable[[tuple[int, int]], None],
    ) -> None:
        self.number, self.spec, self.feed = number, spec, feed
        self.limits, self.controls = limits, controls
        self.raw, self.pushed, self.lanes, self.board = raw, pushed, lanes, board
        self.epoch = epoch
        self.seen_ns = 0  # of the last raw frame, or of the decoder's first word
        self._fault, self._back, self._unreadable = fault, back, unreadable
        self._decoding = False
        self._camera = is_rtsp(spec.source)
        self._patience_s = limits.source_timeout_s
        self._trouble_told = ""  # why a camera gives no picture
        self._down_ns: int | None = None  # since when
        self._given = False  # a camera has given pictures
        self._behind_ns: int | None = None
        self.worker = Worker(
            self._launch, limits, controls, lambda what, wait_s: lost("decode", what, wait_s)
        )

    def tick(self, now: int) -> None:
        """Hears it, starts it when it is due, and replaces it when it hangs."""
        self._hear(now)
        if self.worker.start(now):
            self._decoding, self._behind_ns = False, None
        what = self._trouble(now)
        if what is not None and self.controls.restart:
            if self._camera:
                self._down(what, now)
            self.worker.lost(what, now)

    def take(self, now: int) -> tuple[Packet, Item] | None:
        """The newest raw frame, if there is one and it can be believed."""
        item = self.raw.take()
        if item is None:
            return None
        try:
            packet = Packet.unpack(item.head)
            if self.pushed is None:
                self._check(packet, item, now)
        except ValueError as error:
            self.worker.lost(f"nonsense: {error}", now)
            return None
        self.seen_ns = now
        self.epoch = max(self.epoch, packet.epoch)
        return packet, item

    def end(self) -> None:
        self.worker.retire()
        self.worker.reaped(1.0)

    def _check(self, packet: Packet, item: Item, now: int) -> None:
        """Raises ValueError for what no decoder of ours would hand over."""
        width, height = packet.width, packet.height
        if packet.codec == "jpeg" or not width or not height:
            raise ValueError("not a decoded frame")
        if item.body.size != raw_bytes(packet.codec, width, height):
            raise ValueError("a frame of another size than it says")
        if packet.epoch > self.epoch + EPOCH_MOST or packet.seq > SEQ_MOST:
            raise ValueError("impossible numbers")
        if not now - AGE_MOST_NS < packet.capture_ns <= now:
            raise ValueError("an impossible time")
        if not 0 <= packet.late_ns < AGE_MOST_NS:
            raise ValueError("an impossible age")

    def _hear(self, now: int) -> None:
        child = self.worker.child
        try:
            while child is not None and (message := child.control.receive()) is not None:
                self._message(message, now)
        except (EOFError, ValueError, KeyError, TypeError):
            self.worker.lost("died", now)

    def _message(self, message: dict[str, Any], now: int) -> None:
        if message.get("state") == "ready":
            self._decoding, self.seen_ns = True, now
            self._patience_s = self.limits.source_timeout_s
            if self._camera:
                self._up(now)
        if "unreadable" in message:
            epoch, seq = message["unreadable"]
            self._fault("decode", str(message.get("why", "")))
            self._unreadable((int(epoch), int(seq)))
        if "failed" in message:
            self._fault("decode", str(message["failed"]))
        if "waiting" in message and self._camera:
            patience_s = float(message["patience_s"])
            if not 0 <= patience_s <= PATIENCE_MOST_S:
                raise ValueError("impossible patience")
            self._decoding, self.seen_ns, self._patience_s = True, now, patience_s
            self._down(str(message["waiting"])[:WORDS_MOST], now)

    def _down(self, why: str, now: int) -> None:
        """A camera gives no picture; each reason is told once."""
        if self._down_ns is None and (why or self._given):
            self._down_ns = now
        if why and why != self._trouble_told:
            self._trouble_told = why
            self._fault("source", why)

    def _up(self, now: int) -> None:
        if self._down_ns is not None and self._given:
            self._back((now - self._down_ns) / 1e9)
        self._down_ns, self._trouble_told, self._given = None, "", True

    def _trouble(self, now: int) -> str | None:
        """What is wrong with it: it does not start, a source gives nothing, or a pushed frame
        lies there untouched."""
        limits, live = self.limits, self.spec.mode == "live"
        if self.worker.child is None:
            return None
        if not self._decoding:
            slow = now - self.worker.started_ns > limits.start_timeout_s * 1e9
            return "did not start in time" if slow else None
        if self.pushed is None:
            stalled = live and now - self.seen_ns > self._patience_s * 1e9
            return "the source has stalled" if stalled else None
        if self.pushed.taken >= self.pushed.published or not live:
            self._behind_ns = None
        elif self._behind_ns is None:
            self._behind_ns = now
        behind_ns = 0 if self._behind_ns is None else now - self._behind_ns
        return "hangs" if behind_ns > limits.hang_ms * 1e6 else None

    def _launch(self) -> Child:
        """Each start is a new epoch, for a source; pushed frames bring their own."""
        if self.worker.restarts and self.pushed is None:
            self.epoch += 1
        slots = [self.raw, *self.lanes, *([] if self.pushed is None else [self.pushed])]
        return launch(
            decode_process.run,
            DecodeTask(
                stream=self.number,
                source=self.spec.source,
                feed=self.feed,
                mode=self.spec.mode,
                epoch=self.epoch,
                pushed=None if self.pushed is None else self.pushed.handle,
                raw=self.raw.handle,
                lanes=(self.lanes[0].handle, self.lanes[1].handle),
                board=self.board.fd,
                limits=self.limits,
            ),
            title=f"surgiclear: decode {self.number}",
            fds=(self.board.fd, *(fd for slot in slots for fd in slot.handle.fds)),
        )
