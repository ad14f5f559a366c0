"""Packets to pictures: 8-bit 4:2:0 planes as the decoder holds them, without a copy."""

from __future__ import annotations

import struct
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import av.error
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from engines.picture import Colour, Matrix, Plane, Yuv420
from server.errors import SourceUnreadable
from server.pipeline import Stopwatch
from server.source import Media

# AVColorSpace: RGB, BT.709, unspecified, BT.2020
RGB_SPACE, BT709, UNSPECIFIED, BT2020 = 0, 1, 2, (9, 10)
BT601 = (4, 5, 6)  # FCC, BT.470BG, SMPTE 170M
FULL_RANGE = 2
HD_HEIGHT = 720  # unspecified colour means BT.709 from here on, BT.601 below
EARLY_S = 1.0  # a last picture this long before the declared end is worth a word
DIRECT = ("yuv420p", "yuvj420p")


@dataclass(frozen=True, slots=True)
class ColourTags:
    """What a file says of its colour: libav's numbers, passed on as they are."""

    range: int
    matrix: int
    primaries: int
    transfer: int


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoFacts:
    """What is known of a video from its header and first frame.

    frames: expected, None when unknown; display_matrix: 9 integers, as it lies in the container
    (rotation); losses: what the pictures here do not carry of the input, as sentences.
    """

    width: int
    height: int
    colour: Colour
    tags: ColourTags
    rate: Fraction | None
    time_base: Fraction
    frames: int | None
    sample_aspect: Fraction | None
    display_matrix: tuple[int, ...] | None
    interlaced: bool
    losses: tuple[str, ...]

    @property
    def sideways(self) -> bool:
        """Whether players turn the picture by a quarter."""
        m = self.display_matrix
        return m is not None and m[0] == 0 and m[1] != 0


@dataclass(slots=True)
class Decoded:
    """One picture on its way. picture: views of `image`'s planes (copies where the input is
    interlaced); pts in the video's time base, strictly increasing."""

    image: av.VideoFrame
    picture: Yuv420
    pts: int
    duration: int
    time_ns: int


def plane_view(plane: av.video.plane.VideoPlane) -> Plane:
    """The plane's pixels, h w, rows strided; shares its memory and keeps the frame alive."""
    shape, line = (plane.height, plane.width), plane.line_size
    if line < 0:  # bottom-up: the buffer starts with the last row
        rows: Plane = np.ndarray(shape, np.uint8, plane, strides=(-line, 1))
        return rows[::-1]
    return np.ndarray(shape, np.uint8, plane, strides=(line, 1))


def planes_of(image: av.VideoFrame, colour: Colour) -> Yuv420:
    """Views of a yuv420p image's planes."""
    y, u, v = (plane_view(p) for p in image.planes)
    return Yuv420(y, u, v, colour)


def colour_of(matrix: int, colour_range: int, pixel_format: str, height: int) -> Colour:
    """How the planes encode colour, from libav's tags; unspecified means the usual."""
    chosen: Matrix = "bt709" if height >= HD_HEIGHT else "bt601"
    if matrix == BT709 or matrix in BT2020:
        chosen = "bt709"
    elif matrix in BT601:
        chosen = "bt601"
    return Colour(chosen, colour_range == FULL_RANGE or pixel_format.startswith("yuvj"))


def _losses(image: av.VideoFrame) -> tuple[str, ...]:
    found = []
    layout = image.format
    bits = max(c.bits for c in layout.components)
    if bits > 8:
        found.append(f"{bits}-bit samples are reduced to 8 bits")
    if layout.is_rgb:
        found.append("RGB is converted to YUV 4:2:0")
    elif len(layout.components) >= 3:
        chroma = layout.components[1]
        if chroma.width == image.width and image.width > 1:
            found.append("4:4:4 colour is reduced to 4:2:0")
        elif chroma.height == image.height and image.height > 1:
            found.append("4:2:2 colour is reduced to 4:2:0")
    if any(c.is_alpha for c in layout.components):
        found.append("the alpha channel is left out")
    return tuple(found)


def _display_matrix(image: av.VideoFrame) -> tuple[int, ...] | None:
    for data in image.side_data:
        if data.type.name == "DISPLAYMATRIX":
            return struct.unpack("=9i", bytes(data))
    return None


def _at(packet: av.Packet) -> str:
    return f" at {float(packet.pts * packet.time_base):.1f} s"


class Decoder:
    """Iterates over a video's pictures, and the packets of its other streams as they come.

    The first picture is decoded on construction, `facts` follow from it. Raises SourceUnreadable
    where nothing decodes, and, unless the media is salvaged, where anything does not.
    """

    def __init__(self, media: Media, *, threads: int = 1, watch: Stopwatch | None = None) -> None:
        self.media = media
        self._watch = watch
        self._reformatter = VideoReformatter()
        self._last_pts: int | None = None
        self._retimed = 0
        self._corrupt = 0
        self._ahead: deque[Decoded | av.Packet] = deque()
        context = media.video.codec_context
        context.thread_count = threads
        context.thread_type = "FRAME" if threads > 1 else "SLICE"
        self._images = self._decode()
        first = self._first_image()
        self.facts = self._facts(first)
        self._ahead.append(self._picture(first))

    def __iter__(self) -> Iterator[Decoded | av.Packet]:
        while self._ahead:
            yield self._ahead.popleft()
        while True:
            started = time.perf_counter_ns()
            item = next(self._images, None)
            if item is None:
                break
            if isinstance(item, av.VideoFrame):
                item = self._picture(item)
                if self._watch is not None:
                    self._watch.add("decode", time.perf_counter_ns() - started)
            yield item
        self._remark()

    def _remark(self) -> None:
        """Notes what only the end shows."""
        notes, container = self.media.notes, self.media.container
        if self._corrupt:
            notes.append(f"{self._corrupt} frames come from damaged data")
        if self._retimed:
            notes.append(
                f"{self._retimed} frames whose time stood still were moved to the next free one"
            )
        if container.duration and self._last_pts is not None:
            declared_s = (container.duration + (container.start_time or 0)) / av.time_base
            early_s = declared_s - float(self._last_pts * self.facts.time_base)
            if early_s > EARLY_S:
                notes.append(f"the pictures end {early_s:.1f} s before the recording does")

    def _decode(self) -> Iterator[av.VideoFrame | av.Packet]:
        video = self.media.video
        for packet in self.media.packets():
            if packet.stream_index != video.index:
                yield packet
                continue
            yield from self._frames(packet)
        yield from self._frames(None)

    def _frames(self, packet: av.Packet | None) -> list[av.VideoFrame]:
        try:
            frames: list[av.VideoFrame] = self.media.video.decode(packet)
            return frames
        except av.error.EOFError:
            return []
        except (av.error.FFmpegError, OSError) as error:
            where = "" if packet is None or packet.pts is None else _at(packet)
            words = str(getattr(error, "strerror", None) or error).lower()
            self.media.damaged(f"is damaged{where} ({words})")
            return []

    def _first_image(self) -> av.VideoFrame:
        for item in self._images:
            if isinstance(item, av.VideoFrame):
                return item
            self._ahead.append(item)
        raise SourceUnreadable(
            f"{self.media.location} holds no frame that decodes", "check the file"
        )

    def _facts(self, image: av.VideoFrame) -> VideoFacts:
        video = self.media.video
        rate = video.average_rate or video.guessed_rate
        frames = video.frames or None
        if frames is None and rate and self.media.container.duration:
            frames = round(self.media.container.duration / av.time_base * rate)
        is_rgb = image.format.is_rgb
        matrix = UNSPECIFIED if is_rgb else int(image.colorspace)
        colour_range = 1 if is_rgb else int(image.color_range)
        colour = colour_of(matrix, colour_range, image.format.name, image.height)
        losses = _losses(image)
        if image.interlaced_frame:
            losses += ("fields are restored together, as one frame",)
        return VideoFacts(
            width=image.width,
            height=image.height,
            colour=colour,
            tags=ColourTags(
                FULL_RANGE if colour.full_range else colour_range,
                matrix,
                int(image.color_primaries),
                int(image.color_trc),
            ),
            rate=rate,
            time_base=video.time_base,
            frames=frames,
            sample_aspect=video.sample_aspect_ratio,
            display_matrix=_display_matrix(image),
            interlaced=image.interlaced_frame,
            losses=losses,
        )

    def _picture(self, image: av.VideoFrame) -> Decoded:
        facts = self.facts
        pts = self._time(image.pts)
        duration = image.duration or 0
        self._corrupt += image.is_corrupt
        image = self._direct(image)
        image.pts, image.time_base, image.pict_type = pts, facts.time_base, 0
        picture = planes_of(image, facts.colour)
        if facts.interlaced:
            # the encoder needs the frame's own field flags, so the repair goes into this image
            y, u, v = picture.y.copy(), picture.u.copy(), picture.v.copy()
            picture = Yuv420(y, u, v, facts.colour)
        return Decoded(image, picture, pts, duration, int(pts * facts.time_base * 1_000_000_000))

    def _time(self, pts: int | None) -> int:
        """The frame's own time where it has one that moves on, else the next free one."""
        last = self._last_pts
        if pts is None or (last is not None and pts <= last):
            rate = self.media.video.average_rate or Fraction(25)
            step = max(1, round(1 / (rate * self.media.video.time_base)))
            self._retimed += pts is not None
            pts = 0 if last is None else last + (step if pts is None else 1)
        self._last_pts = pts
        return pts

    def _direct(self, image: av.VideoFrame) -> av.VideoFrame:
        """The image as yuv420p of the video's size: itself where it is, else converted."""
        facts = self.facts
        resized = (image.width, image.height) != (facts.width, facts.height)
        if resized:
            note = f"frames of {image.width}x{image.height} are scaled to {facts.width}x"
            note += str(facts.height)
            if note not in self.media.notes:
                self.media.notes.append(note)
        if image.format.name in DIRECT and not resized:
            return image
        name = image.format.name
        if image.format.is_rgb:
            matrix = Colorspace.ITU709 if facts.colour.matrix == "bt709" else Colorspace.ITU601
            change = {"dst_colorspace": matrix, "dst_color_range": ColorRange.MPEG}
        elif name.startswith(("gray", "yuvj")):
            # libswscale takes these for full range, whatever their tag: keep the values as they are
            change = {"src_color_range": ColorRange.JPEG, "dst_color_range": ColorRange.JPEG}
        else:
            change = {}
        size = facts.width, facts.height
        out = self._reformatter.reformat(image, *size, "yuv420p", threads=1, **change)
        out.color_range, out.colorspace = facts.tags.range, facts.tags.matrix
        return out
