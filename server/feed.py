"""What a live stream can show: a file over and over, a phantom, a network camera."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import av
import av.error
from av.video.reformatter import VideoReformatter

from server.decode import DIRECT, Decoded, Decoder, colour_of, planes_of
from server.decode_process import Shown
from server.errors import SettingInvalid, SourceUnreadable
from server.source import Media, SourceKind, identify

FILE, PHANTOM, RTSP, PUSH = "file:", "phantom:", "rtsp://", "push"
# TCP, because a lost packet would smear over a second of picture; nothing buffered ahead
RTSP_OPTIONS = {"rtsp_transport": "tcp", "fflags": "nobuffer", "flags": "low_delay"}
OPEN_S, READ_S = 10.0, 5.0  # given up after; the supervisor then starts anew


def check_source(source: str) -> None:
    """Raises SettingInvalid for a source that no stream can show, SourceUnreadable for a file
    that is not there."""
    if source.startswith(PHANTOM):
        from server.phantom.spec import parse

        parse(source)
    elif source.startswith(FILE):
        path = source.removeprefix(FILE)
        if identify(path) is not SourceKind.VIDEO:
            raise SettingInvalid(f"{path} is no video", "a stream shows video files")
    elif source != PUSH and not source.startswith(RTSP):
        raise SettingInvalid(
            f"unknown source {source!r}", "use file:PATH, phantom:OPTIONS, rtsp://… or push"
        )


def feed(source: str) -> Iterator[Shown]:
    """The pictures of a source; without end for a file or a phantom, until it fails for a camera.
    Raises SourceUnreadable."""
    if source.startswith(PHANTOM):
        return _phantom(source)
    if source.startswith(FILE):
        return _file(source.removeprefix(FILE))
    if source.startswith(RTSP):
        return _camera(source)
    raise SettingInvalid(f"unknown source {source!r}", "use file:, phantom: or rtsp://")


def _phantom(source: str) -> Iterator[Shown]:
    from server.phantom.feed import Feed  # renders with numba: only the process that shows it pays
    from server.phantom.spec import parse

    rendered = Feed(parse(source))
    for index in count():
        yield Shown(rendered.picture(index), index / float(rendered.spec.fps))


def _file(path: str) -> Iterator[Shown]:
    """Each round starts over: a jump in the scene, so the reader makes it a new epoch."""
    for round_ in count():
        shown = 0
        identify(path)
        with Media(path, salvage=True) as media:
            for item in Decoder(media):
                if isinstance(item, Decoded):
                    yield Shown(item.picture, item.time_ns / 1e9, again=shown == 0 and round_ > 0)
                    shown += 1


def _camera(url: str) -> Iterator[Shown]:
    try:
        container = av.open(url, options=RTSP_OPTIONS, timeout=(OPEN_S, READ_S))
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise SourceUnreadable("the camera does not answer", str(error)) from error
    reformatter = VideoReformatter()
    with container:
        if not container.streams.video:
            raise SourceUnreadable("the camera sends no video", "check its address")
        video = container.streams.video[0]
        video.codec_context.thread_type = "SLICE"  # frame threads would hold frames back
        video.codec_context.thread_count = 1
        packets = container.demux(video)
        while True:
            try:
                frames = next(packets).decode()
            except av.error.InvalidDataError:
                continue  # a damaged packet: the next key frame mends the picture
            except StopIteration:
                return
            except (av.error.FFmpegError, OSError) as error:
                raise SourceUnreadable("the camera has gone", str(error)) from error
            for frame in frames:
                name = frame.format.name
                colour = colour_of(
                    int(frame.colorspace), int(frame.color_range), name, frame.height
                )
                if name not in DIRECT:
                    frame = reformatter.reformat(frame, format="yuv420p", threads=1)
                yield Shown(planes_of(frame, colour))
