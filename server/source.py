"""Where frames come from: a picture, a folder of pictures, or anything libav opens as video."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import av.error
from PIL import Image

from server.errors import SourceUnreadable
from server.whole import reason

PICTURE_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")
PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"})
# containers whose header says how long the video is, whatever became of its end
DECLARE_DURATION = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi")
TIMEOUT_S = 15.0  # of network sources, to open and between packets


class SourceKind(StrEnum):
    PICTURE = "picture"
    FOLDER = "folder"
    VIDEO = "video"


def is_url(location: str) -> bool:
    """Whether this names no local file: a network address, or a phantom (`phantom:`)."""
    return "://" in location or location.startswith("phantom:")


def is_picture(path: Path) -> bool:
    """Whether the file's first bytes are those of a picture format that is read here."""
    try:
        with Image.open(path, formats=PICTURE_FORMATS):
            return True
    except Image.DecompressionBombError:
        return True  # a picture; reading it says what is wrong
    except OSError:
        return False


def identify(location: str) -> SourceKind:
    """What lies at a path or URL. Raises SourceUnreadable for nothing, or for an empty file."""
    if is_url(location):
        return SourceKind.VIDEO
    path = Path(location)
    try:
        if path.is_dir():
            return SourceKind.FOLDER
        if not path.exists():
            raise SourceUnreadable(f"{location} does not exist", "check the path")
        if path.is_file() and path.stat().st_size == 0:
            raise SourceUnreadable(f"{location} is empty", "nothing was recorded in it")
        with path.open("rb"):
            pass
    except OSError as error:
        raise SourceUnreadable(f"{location} cannot be read", reason(error)) from error
    if is_picture(path):
        return SourceKind.PICTURE
    if path.suffix.lower() in PICTURE_SUFFIXES:
        raise SourceUnreadable(f"{location} is not a {path.suffix[1:]} picture", "check the file")
    return SourceKind.VIDEO


def address(location: str) -> str:
    """What libav opens: a colon in a file's name must not read as a protocol."""
    return location if is_url(location) else f"file:{Path(location).absolute()}"


def _cut_short(location: str, container: av.container.InputContainer) -> bool:
    """Whether the file ends before the time or the bytes that its header declares.

    Only for local containers that declare them; a stream format (MPEG-TS) cannot tell.
    """
    if is_url(location) or container.format.name not in DECLARE_DURATION:
        return False
    size = Path(location).stat().st_size
    for stream in container.streams:
        entries = stream.index_entries
        if len(entries) and int(entries[-1].pos + entries[-1].size) > size:
            return True
    if not container.duration:
        return False
    start_s = (container.start_time or 0) / av.time_base
    declared_s = start_s + container.duration / av.time_base
    ends: dict[int, list[float]] = {}
    try:
        with av.open(address(location)) as tail:
            tail.seek(int((declared_s - 0.01) * av.time_base))
            for packet in tail.demux():
                if packet.pts is not None and packet.time_base is not None:
                    end_s = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                    ends.setdefault(packet.stream_index, []).append(end_s)
    except av.error.FFmpegError:
        return False  # not seekable: what is wrong shows while decoding
    if not ends:
        return True
    gaps_s = [b - a for times in ends.values() for a, b in zip(times, times[1:], strict=False)]
    rates = [s.average_rate for s in container.streams.video if s.average_rate]
    slack_s = max([1.0, *(3.0 / float(r) for r in rates), *(2.0 * g for g in gaps_s)])
    last_s = max(t for times in ends.values() for t in times)
    return bool(declared_s - last_s > slack_s)


class Media:
    """An opened video: its picture stream, the streams that travel along, and their packets.

    salvage: take what can be read of a damaged file instead of refusing it. notes: what the user
    should know. Raises SourceUnreadable.
    """

    def __init__(self, location: str, *, salvage: bool = False) -> None:
        self.location = location
        self.salvage = salvage
        self.notes: list[str] = []
        try:
            self.container = av.open(
                address(location), timeout=TIMEOUT_S if is_url(location) else None
            )
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise SourceUnreadable(
                f"{location} is not a video that can be read", _first_words(error)
            ) from error
        try:
            self.video = self._picture_stream()
            if _cut_short(location, self.container):
                self.damaged("ends before its header says it does")
        except BaseException:
            self.container.close()
            raise
        self.passengers = [
            s for s in self.container.streams if s.type in ("audio", "subtitle", "attachment")
        ]

    def _picture_stream(self) -> av.VideoStream:
        name = self.container.format.name
        if name in ("tty", "image2") or name.endswith("_pipe"):
            raise SourceUnreadable(
                f"{self.location} is not a video", f"pictures are read as {_listed()}"
            )
        streams = [
            s
            for s in self.container.streams.video
            if not s.disposition & av.stream.Disposition.attached_pic
        ]
        if not streams:
            raise SourceUnreadable(f"{self.location} holds no video", "check the file")
        stream = streams[0]
        if stream.codec_context is None:
            raise SourceUnreadable(
                f"{self.location} is coded in a way for which there is no decoder here",
                "convert it to H.264 first",
            )
        if len(streams) > 1:
            self.notes.append(f"only the first of {len(streams)} video streams is restored")
        return stream

    def damaged(self, what: str) -> None:
        """Raises SourceUnreadable, or notes it where salvage is asked for."""
        if not self.salvage:
            raise SourceUnreadable(
                f"{self.location} {what}", "--salvage restores what can be read of it"
            )
        if what not in self.notes:
            self.notes.append(what)

    def packets(self) -> Iterator[av.Packet]:
        """Packets of the picture stream and the passengers, in file order."""
        chosen = [self.video, *(s for s in self.passengers if s.type != "attachment")]
        packets = self.container.demux(chosen)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.error.FFmpegError, OSError) as error:
                self.damaged(f"cannot be read to its end ({_first_words(error)})")
                return
            if packet.size:  # the empty ones flush decoders, whose owner does it himself
                yield packet

    def close(self) -> None:
        self.container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _listed() -> str:
    return ", ".join(PICTURE_FORMATS[:-1]) + f" or {PICTURE_FORMATS[-1]}"


def _first_words(error: Exception) -> str:
    """libav's own words, without its code and the path."""
    words = getattr(error, "strerror", None) or str(error)
    return str(words).splitlines()[0].lower()
