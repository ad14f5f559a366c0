"""Where pushed frames come in: measured, numbered, handed to the last hop and the decoder."""

from __future__ import annotations

import asyncio
import time

from server import jpeg
from server.controls import Limits
from server.errors import FrameTooLarge, SettingInvalid
from server.packet import Packet, as_bytes, raw_bytes
from server.shared import Slot
from server.spec import Codec, Mode

ROOM_EVERY_S = 0.001


class Ingest:
    """Both get the frame as it came: the last hop needs no decoder to show it raw."""

    def __init__(self, number: int, mode: Mode, limits: Limits) -> None:
        self.number = number
        self.mode = mode
        self.limits = limits
        self.epoch = 0
        self._seq = 0
        self._size: tuple[int, int] | None = None
        self._turn = asyncio.Lock()
        self._closed = False
        self.raw = Slot.create(limits.frame_bytes, f"raw {number}")
        self.pushed = Slot.create(limits.frame_bytes, f"pushed {number}")

    def renew(self, epoch: int) -> None:
        """What was on its way to a dead stream process is not for its successor."""
        self.close()
        self.raw = Slot.create(self.limits.frame_bytes, f"raw {self.number}")
        self.pushed = Slot.create(self.limits.frame_bytes, f"pushed {self.number}")
        self.epoch, self._seq, self._closed = epoch, 0, False

    def measure(
        self, payload: bytes | memoryview, codec: Codec, size: tuple[int, int]
    ) -> tuple[int, int]:
        """Width and height, before anything is decoded. Raises SourceUnreadable, FrameTooLarge,
        SettingInvalid."""
        width, height = jpeg.size_of(payload) if codec == "jpeg" else size
        limits = self.limits
        if (
            not 0 < width <= limits.max_width
            or not 0 < height <= limits.max_height
            or width * height > limits.max_pixels
            or len(payload) > limits.frame_bytes
        ):
            raise FrameTooLarge(f"a frame of {width}x{height}, {len(payload)} bytes")
        if codec != "jpeg" and len(payload) != raw_bytes(codec, width, height):
            raise SettingInvalid(f"{len(payload)} bytes are no {width}x{height} {codec}")
        return width, height

    def place(self, size: tuple[int, int]) -> tuple[int, int]:
        """(epoch, seq) of the next frame; another size begins an epoch."""
        if self._size not in (None, size):
            self.epoch, self._seq = self.epoch + 1, 0
        self._size = size
        self._seq += 1
        return self.epoch, self._seq - 1

    def put(
        self,
        payload: bytes | memoryview,
        codec: Codec,
        size: tuple[int, int],
        place: tuple[int, int],
        tag: tuple[int, int],
    ) -> None:
        """tag: the pusher's own seq and capture time."""
        head = Packet(
            stream=self.number,
            epoch=place[0],
            seq=place[1],
            capture_ns=time.monotonic_ns(),
            width=size[0],
            height=size[1],
            codec=codec,
            tag_seq=tag[0],
            tag_ns=tag[1],
        ).pack()
        body = [as_bytes(payload)]
        self.raw.put(head, body)
        self.pushed.put(head, body)

    async def room(self) -> asyncio.Lock:
        """Lossless: returns once both have taken the last frame; the caller's turn ends when it
        releases the lock."""
        await self._turn.acquire()
        while (
            self.mode == "lossless"
            and not self._closed
            and not (self.raw.has_room() and self.pushed.has_room())
        ):
            await asyncio.sleep(ROOM_EVERY_S)
        return self._turn

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self.raw.close()
            self.pushed.close()
