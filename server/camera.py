"""A network camera's pictures, over one connection: the newest, with their true age."""

from __future__ import annotations

import time
from collections.abc import Iterator

import av
import av.error
from av.video.reformatter import VideoReformatter

from server import refusal, rtsp, tcp
from server.arrival import Arrival
from server.decode import DIRECT, colour_of, planes_of
from server.decode_process import Shown
from server.errors import LoginRefused, SourceUnreadable
from server.trust import Trust, is_secure

OPEN_S, READ_S = 10.0, 2.0  # given up after; libav does not always keep to it, the watchdog does
OPTIONS = rtsp.OPTIONS | {
    "allowed_media_types": "video",
    "analyzeduration": "300000",  # us; what piled up meanwhile is decoded, and not shown
    "fpsprobesize": "0",
    "timeout": "5000000",  # us, of a socket
}
LOW_DELAY = 1 << 19  # AV_CODEC_FLAG_LOW_DELAY


def camera(url: str, trust: Trust) -> Iterator[Shown]:
    """Until it fails. Raises SourceUnreadable, with a reason that names no address."""
    before = tcp.connections()
    try:
        container = av.open(url, options=OPTIONS | trust.options(url), timeout=(OPEN_S, READ_S))
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise _unreadable(
            error, secure=is_secure(url)
        ) from None  # the chain would print the address
    with container:
        yield from _pictures(container, [fd for fd in tcp.connections() if fd not in before])


def _pictures(container: av.container.InputContainer, connection: list[int]) -> Iterator[Shown]:
    if not container.streams.video or container.streams.video[0].codec_context is None:
        raise SourceUnreadable("the camera sends no video", "check its address and its settings")
    video = container.streams.video[0]
    context = video.codec_context
    context.thread_type, context.thread_count = "SLICE", 1  # frame threads would hold frames back
    context.flags |= LOW_DELAY
    reformatter, arrival = VideoReformatter(), Arrival()
    packets = container.demux(video)
    while True:
        try:
            packet = next(packets)
            came_s = time.monotonic()
            tcp.acknowledge_at_once(
                connection
            )  # or the next picture's end waits for it at the camera
            images = packet.decode()
        except av.error.InvalidDataError:
            continue  # a damaged packet: the next key frame mends the picture
        except StopIteration:
            raise SourceUnreadable("the camera has ended the transmission") from None
        except (av.error.FFmpegError, OSError) as error:
            raise _unreadable(error) from None
        for image in images:
            pts_s = None if image.pts is None else float(image.pts * video.time_base)
            late_s = arrival.late_s(pts_s, came_s)
            if arrival.hopeless:
                raise SourceUnreadable(
                    "the camera's pictures come late", "is the network fast enough?"
                )
            if arrival.settled:
                yield _shown(image, reformatter, came_s, late_s)


def _shown(
    image: av.VideoFrame, reformatter: VideoReformatter, came_s: float, late_s: float
) -> Shown:
    name = image.format.name
    colour = colour_of(int(image.colorspace), int(image.color_range), name, image.height)
    if name not in DIRECT:
        image = reformatter.reformat(image, format="yuv420p", threads=1)
    picture = planes_of(image, colour)
    return Shown(picture, came_ns=int(came_s * 1e9), late_ns=int(late_s * 1e9))


def _unreadable(error: Exception, *, secure: bool = False) -> SourceUnreadable:
    """secure: while an encrypted connection was made."""
    words, do = refusal.meaning(error, secure=secure)
    kind = LoginRefused if refusal.is_login(error) else SourceUnreadable
    return kind(f"the camera {words}", do)
