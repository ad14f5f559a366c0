"""Where a restored video goes: a file with the input's other streams, whole or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import av.error

from server.decode import VideoFacts
from server.encode import Encoder, EncoderChoice
from server.errors import OutputIncomplete, SettingInvalid, SinkUnwritable
from server.source import PICTURE_SUFFIXES, Media
from server.whole import Whole, write_error

LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}


def _name_layout(sound: av.AudioCodecContext) -> None:
    """Some containers give a count of channels without their places; others insist on them."""
    if sound.layout.name.endswith("channels") and sound.layout.nb_channels in LAYOUTS:
        sound.layout = LAYOUTS[sound.layout.nb_channels]


class VideoSink:
    """Writes images and passenger packets in the order given. `commit` finishes the file; leaving
    the block without removes what there is. Raises SinkUnwritable, SettingInvalid at once and
    OutputIncomplete later. notes: what of the input the output does not hold.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix.lower() in PICTURE_SUFFIXES:
            raise SettingInvalid(f"a video does not fit into {path}", "name it .mp4 or .mkv")
        self.path = path
        self.notes: list[str] = []
        self._whole = Whole(path)
        try:
            self._container = av.open(f"file:{self._whole.temporary.absolute()}", "w")
        except (ValueError, av.error.FFmpegError) as error:
            self._whole.discard()
            raise SinkUnwritable(
                f"{path} names no video format", "end it in .mp4, .mkv, .mov or .webm"
            ) from error
        self._encoder: Encoder | None = None
        self._passengers: dict[int, av.stream.Stream] = {}

    def prepare(
        self,
        media: Media | None,
        facts: VideoFacts,
        choice: EncoderChoice,
        width: int,
        height: int,
    ) -> None:
        """Adds the streams; nothing is written yet. media: whose other streams travel along."""
        if self._container.format.name in ("mov", "mp4", "ipod"):
            # the start time is kept in units of this; the default is a millisecond
            self._container.container_options["movie_timescale"] = str(facts.time_base.denominator)
        self._encoder = Encoder(self._container, choice, facts, width, height)
        self.notes.extend(self._encoder.notes)
        if media is not None:
            self._bring_along(media)
        try:
            with self._failures():
                self._container.start_encoding()
        except OutputIncomplete as error:
            if isinstance(error.__cause__, OSError):
                raise
            raise SinkUnwritable(
                f"{self.path.suffix} files do not hold this video with its sound",
                "name the output .mkv",
            ) from error

    def _bring_along(self, media: Media) -> None:
        self._container.metadata.update(media.container.metadata)
        self._container.set_chapters(media.container.chapters())
        left_out = sum(s.type == "data" for s in media.container.streams)
        for stream in media.passengers:
            if stream.type == "attachment" and self._container.format.name != "matroska":
                left_out += 1
                continue
            try:
                copy = self._container.add_stream_from_template(stream)
            except ValueError as error:
                if stream.type == "audio":
                    raise SinkUnwritable(
                        f"{self.path} cannot hold the input's {stream.name or 'unknown'} audio",
                        "name the output .mkv",
                    ) from error
                left_out += 1
                continue
            copy.metadata.update(stream.metadata)
            if stream.type == "audio":
                _name_layout(copy.codec_context)
            self._passengers[stream.index] = copy
        if left_out:
            self.notes.append(f"{left_out} streams that are no picture or sound are left out")

    def write(self, image: av.VideoFrame, pts: int, duration: int) -> None:
        if self._encoder is None:
            raise RuntimeError("prepare comes first")
        with self._failures():
            self._container.mux(self._encoder.encode(image, pts, duration))

    def pass_on(self, packet: av.Packet) -> None:
        """Copies a packet of another stream as it is."""
        stream = self._passengers.get(packet.stream_index)
        if stream is None or packet.dts is None:
            return
        packet.stream = stream
        with self._failures():
            self._container.mux(packet)

    def commit(self) -> None:
        """Flushes, closes and puts the file in place."""
        if self._encoder is None:
            raise RuntimeError("prepare comes first")
        with self._failures():
            self._container.mux(self._encoder.flush())
            self._container.close()
        self._whole.commit()

    def discard(self) -> None:
        """Closes and removes the unfinished file; nothing happens after `commit`."""
        with contextlib.suppress(av.error.FFmpegError, OSError):  # it goes anyway
            self._container.close()
        self._whole.discard()

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise write_error(self.path, error) from error
        except av.error.FFmpegError as error:
            raise OutputIncomplete(
                f"writing {self.path} stopped: {error.strerror.lower()}"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.discard()
