"""A video's frames for curation: decoded once, sampled, small for measuring, whole on request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import av.error
import numpy as np
from av.video.reformatter import Colorspace, VideoReformatter

from trainer.curate.measure import SMALL, Pixels

BT709, UNSPECIFIED, BT2020 = 1, 2, (9, 10)
HD_HEIGHT = 720  # unspecified colour means BT.709 from here on, BT.601 below


COMMIT_S = 10.0  # of video between two entries


@dataclass(slots=True)
class Frame:
    """One decoded frame. slot: which sample it is, None for those between."""

    image: av.VideoFrame
    time_ns: int
    slot: int | None


@dataclass(frozen=True, slots=True)
class Entry:
    """A place where decoding can begin: all before it has come out, nothing after it has been
    decoded."""

    pts: int


class Video:
    """Iterates over a video's frames and, about every COMMIT_S, entries. start: pts of an entry to
    go on from; slot: the last sample before it.

    Raises ValueError for what holds no video. Damage further on is noted, not raised: what decodes
    is used.
    """

    def __init__(
        self, path: Path, every_s: float, start: int | None = None, slot: int = -1
    ) -> None:
        self.path = path
        self.decoded = 0  # frames that came out of the decoder
        self.notes: list[str] = []
        self._every_ns = round(every_s * 1e9)
        self._start = start
        self._last_slot = slot
        self._reformatter = VideoReformatter()
        try:
            self._container = av.open(str(path))
        except (av.error.FFmpegError, OSError) as error:
            raise ValueError(f"{path} is no video that can be read ({_said(error)})") from error
        if not self._container.streams.video:
            self._container.close()
            raise ValueError(f"{path} holds no video")
        self._stream = self._container.streams.video[0]
        self._stream.codec_context.thread_count = 1  # one process for each video is enough
        self._origin = self._stream.start_time or 0
        self._unit_ns = float(self._stream.time_base or 0) * 1e9

    def close(self) -> None:
        self._container.close()

    def __iter__(self) -> Iterator[Frame | Entry]:
        last = None if self._start is None else self._start - 1
        for item in self._items():
            if isinstance(item, Entry):
                # frames that lead an open group need what came before: they are left out, so that
                # a run that begins here sees what one that comes by sees
                last = item.pts - 1
                yield item
                continue
            self.decoded += 1
            if item.pts is None or (last is not None and item.pts <= last):
                continue  # a frame whose time stands still shows nothing new
            last = item.pts
            time_ns = round((item.pts - self._origin) * self._unit_ns)
            slot = time_ns // self._every_ns
            sampled = slot > self._last_slot
            if sampled:
                self._last_slot = slot
            yield Frame(item, time_ns, slot if sampled else None)
        if self.decoded == 0 and self._start is None:
            self.notes.append("no frame decodes")

    def _items(self) -> Iterator[av.VideoFrame | Entry]:
        damaged = 0
        mark: int | None = self._start
        for packet in self._packets():
            here = packet.pts if packet is not None and packet.is_keyframe else None
            if here is not None and mark is None:
                mark = here
            elif here is not None and (here - (mark or 0)) * self._unit_ns >= COMMIT_S * 1e9:
                mark = here
                yield from self._images(None)
                self._stream.codec_context.flush_buffers()
                yield Entry(here)
            try:
                yield from self._images(packet)
            except av.error.EOFError:
                break
            except (av.error.FFmpegError, OSError):
                damaged += 1
        if damaged:
            self.notes.append(f"{damaged} packets are damaged")

    def _images(self, packet: av.Packet | None) -> Iterator[av.VideoFrame]:
        """What the decoder gives for a packet; for None, all that it still holds."""
        yield from self._stream.codec_context.decode(packet)

    def _packets(self) -> Iterator[av.Packet | None]:
        """From the start, and None at the end."""
        arrived = self._start is None
        # where a format's index is rough, the second try reads from the beginning
        for place in (self._start, self._origin):
            if not arrived:
                self._container.seek(place or 0, stream=self._stream, backward=True)
            for packet in self._demux():
                if not arrived and not (packet.is_keyframe and packet.pts == self._start):
                    if (
                        packet.pts is not None
                        and self._start is not None
                        and (packet.is_keyframe and packet.pts > self._start)
                    ):
                        break
                    continue
                arrived = True
                if packet.size:  # the empty one is the end of the stream
                    yield packet
            if arrived:
                break
        if not arrived:
            self.notes.append("the place to go on from is gone: the file has changed")
        yield None

    def _demux(self) -> Iterator[av.Packet]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                yield next(packets)
            except StopIteration:
                return
            except (av.error.FFmpegError, OSError) as error:
                self.notes.append(f"the file ends early ({_said(error)})")
                return

    def small(self, frame: Frame) -> Pixels:
        """SMALL 3, RGB."""
        return self._rgb(frame.image, SMALL[1], SMALL[0], "AREA")

    def full(self, frame: Frame) -> Pixels:
        """h w 3, RGB, at the video's own size."""
        return self._rgb(frame.image, frame.image.width, frame.image.height, "BICUBIC")

    def _rgb(self, image: av.VideoFrame, width: int, height: int, method: str) -> Pixels:
        matrix = int(image.colorspace)
        hd = matrix == BT709 or matrix in BT2020
        if matrix == UNSPECIFIED:
            hd = image.height >= HD_HEIGHT
        space = Colorspace.ITU709 if hd else Colorspace.ITU601
        change = {} if image.format.is_rgb else {"src_colorspace": space}
        out = self._reformatter.reformat(
            image, width, height, "rgb24", interpolation=method, threads=1, **change
        )
        return np.asarray(out.to_ndarray(), np.uint8)


def _said(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).lower()
