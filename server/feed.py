"""What a live stream can show: a file over and over, a phantom, a network camera."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from server import rtsp
from server.camera import camera
from server.decode import Decoded, Decoder
from server.decode_process import Shown
from server.errors import SettingInvalid
from server.source import Media, SourceKind, identify
from server.trust import SYSTEM, Trust

FILE, PHANTOM, PUSH = "file:", "phantom:", "push"


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
    elif rtsp.is_rtsp(source):
        rtsp.check(source)
    elif source != PUSH:
        raise SettingInvalid(
            f"unknown source {rtsp.shown(source)!r}",
            "use file:PATH, phantom:OPTIONS, rtsp://… or push",
        )


def feed(source: str, trust: Trust = SYSTEM) -> Iterator[Shown]:
    """The pictures of a source; without end for a file or a phantom, until it fails for a camera.
    trust: of a camera by rtsps://. Raises SourceUnreadable."""
    if source.startswith(PHANTOM):
        return _phantom(source)
    if source.startswith(FILE):
        return _file(source.removeprefix(FILE))
    if rtsp.is_rtsp(source):
        return camera(source, trust)
    raise SettingInvalid("unknown source", "use file:, phantom: or rtsp://")


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
