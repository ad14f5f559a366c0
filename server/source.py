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
from server.shortfall import missing_bytes
from server.trust import SYSTEM
from server.whole import reason

PICTURE_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")
PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"})
TIMEOUT_S = 15.0  # of network sources, to open and between packets


class SourceKind(StrEnum):
    PICTURE = "picture"
    FOLDER = "folder"
    VIDEO = "video"


def is_url(location: str) -> bool:
    """Whether this names no local file: a network address, or a phantom (`phantom:`)."""
    return "://" in location or location.startswith("phantom:")


def without_secrets(location: str) -> str:
    """As it may be printed and reported: a URL's user and password are left out."""
    scheme, mark, rest = location.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{mark}{host.rpartition('@')[2]}{slash}{path}" if mark else location


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
        if not path.is_file():
            raise SourceUnreadable(f"{location} is no ordinary file", "name a file or a URL")
        if path.stat().st_size == 0:
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


class Media:
    """An opened video: its picture stream, the streams that travel along, and their packets.

    salvage: take what can be read of a damaged file instead of refusing it. notes: what the user
    should know. Raises SourceUnreadable.
    """

    def __init__(self, location: str, *, salvage: bool = False) -> None:
        self.location = without_secrets(location)
        self.salvage = salvage
        self.notes: list[str] = []
        lost = 0 if is_url(location) else missing_bytes(Path(location))
        try:
            self.container = av.open(
                address(location),
                options=SYSTEM.options(location),
                timeout=TIMEOUT_S if is_url(location) else None,
            )
        except (av.error.FFmpegError, OSError, ValueError) as error:
            if lost:
                raise SourceUnreadable(
                    f"{self.location} is cut short: {lost} bytes and its index with them are gone",
                    "nothing of it can be read",
                ) from error
            raise SourceUnreadable(
                f"{self.location} is not a video that can be read", _first_words(error)
            ) from error
        try:
            self.video = self._picture_stream()
            if lost:
                self.damaged(f"is cut short: {lost} bytes are missing at its end")
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
        if (note := f"the input {what}") not in self.notes:
            self.notes.append(note)

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
