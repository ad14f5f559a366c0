"""One RTSP session as its publisher: pictures in, H.264 out, nothing held back.

No B-frames, no look-ahead, a key frame every second. Pictures are not encoded at all while the
network has not taken what was sent before, so that a slow server gets fewer pictures, not old ones.
"""

from __future__ import annotations

from fractions import Fraction

import av
import av.error
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from engines.picture import Colour, Picture, Rgb
from server import refusal, rtsp, tcp
from server.encode import write_planes
from server.errors import SinkUnwritable
from server.trust import SYSTEM, Trust, is_secure

CLOCK_HZ = 90_000
KEY_EVERY_S = 1.0
RATE_GUESS = 30  # pictures keep their own times; the encoder wants a number
PEAK_BITS = 9  # per pixel and second: 8 Mbit/s at 720p
UNSENT_MOST = 256 * 1024  # bytes that the network may owe before pictures are left out
OPTIONS = {
    "preset": "superfast",
    "tune": "zerolatency",
    "crf": "20",
    "bf": "0",
    "forced-idr": "1",
    "x264-params": "sliced-threads=0:threads=1:scenecut=0",  # one slice: some servers want that
}
MATRIX_TAG = {"bt601": 5, "bt709": 1}  # AVColorSpace, AVColorPrimaries; transfer as BT.709


class Broadcast:
    """width, height: of the first picture, made even; other sizes are scaled. Raises
    SinkUnwritable, with a reason that names no address."""

    def __init__(
        self, url: str, width: int, height: int, colour: Colour, trust: Trust = SYSTEM
    ) -> None:
        self.size = (width - width % 2, height - height % 2)
        self.colour = colour
        self._reformatter = VideoReformatter()
        self._first_ns: int | None = None
        self._pts = -1
        self._key_ns: int | None = None
        before = tcp.connections()
        try:
            options = rtsp.OPTIONS | trust.options(url)
            self._container = av.open(url, "w", format="rtsp", options=options)
            self._stream = self._coded()
            self._container.start_encoding()  # this is where it connects
        except (av.error.FFmpegError, OSError, ValueError) as error:
            secure = is_secure(url)
            raise _unwritable(error, secure=secure) from None  # the chain would print the address
        self._connection = [fd for fd in tcp.connections() if fd not in before]
        tcp.send_at_once(self._connection)

    def _coded(self) -> av.VideoStream:
        width, height = self.size
        peak = width * height * PEAK_BITS
        stream = self._container.add_stream(
            "libx264",
            rate=RATE_GUESS,
            options=OPTIONS | {"maxrate": str(peak), "bufsize": str(peak // 4)},
        )
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.gop_size = 10 * RATE_GUESS  # by the clock, below
        context.time_base = stream.time_base = Fraction(1, CLOCK_HZ)
        tag = MATRIX_TAG[self.colour.matrix]
        context.colorspace = context.color_primaries = tag
        context.color_trc = 1
        context.color_range = ColorRange.JPEG if self.colour.full_range else ColorRange.MPEG
        return stream

    @property
    def congested(self) -> bool:
        """Whether the network has yet to take what was sent before."""
        return any(tcp.unsent(fd) > UNSENT_MOST for fd in self._connection)

    def send(self, picture: Picture, taken_ns: int) -> None:
        """taken_ns: monotonic. Waits as long as the network wants. Raises SinkUnwritable."""
        if self._first_ns is None:
            self._first_ns = taken_ns
        image = self._image(picture)
        pts = (taken_ns - self._first_ns) * CLOCK_HZ // 10**9
        self._pts = image.pts = max(self._pts + 1, pts)
        image.time_base = Fraction(1, CLOCK_HZ)
        if self._key_ns is None or taken_ns - self._key_ns >= KEY_EVERY_S * 1e9:
            image.pict_type, self._key_ns = PictureType.I, taken_ns
        try:
            self._container.mux(self._stream.encode(image))
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise _unwritable(error) from None

    def _image(self, picture: Picture) -> av.VideoFrame:
        """In the session's size and colour."""
        width, height = self.size
        if not isinstance(picture, Rgb) and picture.colour == self.colour:
            even = picture.height == height and picture.width == width
            image = av.VideoFrame(picture.width, picture.height, "yuv420p")
            write_planes(image, picture)
            if even:
                return image
            return self._reformatter.reformat(image, width, height, threads=1)
        if isinstance(picture, Rgb):
            image = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture.pixels), "rgb24")
            source = {}
        else:
            image = av.VideoFrame(picture.width, picture.height, "yuv420p")
            write_planes(image, picture)
            source = {
                "src_colorspace": _space(picture.colour),
                "src_color_range": _range(picture.colour),
            }
        return self._reformatter.reformat(
            image, width, height, "yuv420p", threads=1, **source,
            dst_colorspace=_space(self.colour), dst_color_range=_range(self.colour),
        )  # fmt: skip

    def close(self) -> None:
        """Says goodbye where somebody listens. May wait for the network."""
        try:
            self._container.close()
        except (av.error.FFmpegError, OSError):
            return  # it is gone already, which is all that was wanted


def _space(colour: Colour) -> Colorspace:
    return Colorspace.ITU709 if colour.matrix == "bt709" else Colorspace.ITU601


def _range(colour: Colour) -> ColorRange:
    return ColorRange.JPEG if colour.full_range else ColorRange.MPEG


def _unwritable(error: Exception, *, secure: bool = False) -> SinkUnwritable:
    words, do = refusal.meaning(error, secure=secure)
    return SinkUnwritable(f"the RTSP server {words}", do)
