"""Pictures to packets: which encoder, with which options, and the stream that it writes."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Self

import av
import av.error
import numpy as np
from av.codec.codec import UnknownCodecError

from engines.picture import Yuv420
from server.decode import VideoFacts, plane_view
from server.errors import SettingInvalid

INTERLACED_DCT, INTERLACED_ME = 1 << 18, 1 << 29  # AV_CODEC_FLAG_*
RATE_DEFAULT = Fraction(25)
TRIED_FORMATS = ("yuv420p", "yuvj420p", "yuv444p", "yuvj444p", "yuv422p", "bgr0", "rgb24", "gbrp")


@dataclass(frozen=True, slots=True)
class EncoderChoice:
    """An encoder by libav's name, and its options."""

    codec: str
    options: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `libx264:preset=ultrafast,crf=20`. Raises SettingInvalid."""
        codec, _, rest = text.partition(":")
        options: dict[str, str] = {}
        for part in filter(None, rest.split(",")):
            key, sign, value = part.partition("=")
            if not (key and sign and value):
                raise SettingInvalid(f"encoder option {part!r}", "write NAME:KEY=VALUE,KEY=VALUE")
            options[key.strip()] = value.strip()
        try:
            found = av.codec.Codec(codec.strip(), "w")
        except (UnknownCodecError, ValueError) as error:
            raise SettingInvalid(
                f"no encoder is called {codec!r}", "for example libx264, libx265, libsvtav1, ffv1"
            ) from error
        if found.type != "video":
            raise SettingInvalid(f"{codec} encodes {found.type}", "choose a video encoder")
        return cls(codec.strip(), options)


VISUALLY_CLEAN = EncoderChoice("libx264", {"preset": "veryfast", "crf": "18"})
BY_SUFFIX = {
    ".webm": EncoderChoice(
        "libvpx-vp9", {"deadline": "realtime", "cpu-used": "6", "row-mt": "1", "crf": "24"}
    ),
    # AVI has no presentation times: no frame may be reordered
    ".avi": EncoderChoice("libx264", {"preset": "veryfast", "crf": "18", "bf": "0"}),
    ".mpg": EncoderChoice("mpeg2video", {"qmin": "2", "qmax": "4"}),
}


def usual_choice(path: Path) -> EncoderChoice:
    """What a file of this suffix is encoded with where nothing else is asked for."""
    return BY_SUFFIX.get(path.suffix.lower(), VISUALLY_CLEAN)


def image_of(picture: Yuv420, like: VideoFacts) -> av.VideoFrame:
    """A libav image with the picture's pixels (copied) and the video's colour tags."""
    image = av.VideoFrame(picture.width, picture.height, "yuv420p")
    write_planes(image, picture)
    image.color_range, image.colorspace = like.tags.range, like.tags.matrix
    image.color_primaries, image.color_trc = like.tags.primaries, like.tags.transfer
    return image


def write_planes(image: av.VideoFrame, picture: Yuv420) -> None:
    """Replaces the image's pixels."""
    for plane, pixels in zip(image.planes, (picture.y, picture.u, picture.v), strict=True):
        np.copyto(plane_view(plane), pixels)


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Encoder libraries write to the process's stderr by themselves; what is wrong is said once,
    by us."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@dataclass(frozen=True, slots=True)
class _Fit:
    """What an encoder was found to accept."""

    pixel_format: str
    time_base: Fraction


def _fit(choice: EncoderChoice, width: int, height: int, facts: VideoFacts) -> _Fit:
    """The first pixel format and time base that the encoder takes: H.264 knows no odd sides at
    4:2:0, older codecs know no time base but the frame rate.

    Raises SettingInvalid, also for an option that the encoder does not know.
    """
    formats = av.codec.Codec(choice.codec, "w").video_formats
    known = {f.name for f in formats} if formats else set(TRIED_FORMATS)
    rate = facts.rate or RATE_DEFAULT
    refusal: Exception | None = None
    for time_base in dict.fromkeys((facts.time_base, 1 / rate)):
        for name in TRIED_FORMATS:
            if name not in known:
                continue
            trial = av.CodecContext.create(choice.codec, "w")
            trial.width, trial.height, trial.pix_fmt = width, height, name
            trial.framerate, trial.time_base = rate, time_base
            trial.options = dict(choice.options)
            try:
                with _hushed():
                    trial.open()
            except (av.error.FFmpegError, OSError, ValueError) as error:
                refusal = error
                continue
            if unknown := sorted(trial.options):
                raise SettingInvalid(f"{choice.codec} has no option {', '.join(unknown)}")
            return _Fit(name, time_base)
    raise SettingInvalid(
        f"{choice.codec} does not take {width}x{height} with options {choice.options or 'as usual'}"
        + ("" if refusal is None else f" ({getattr(refusal, 'strerror', refusal)})"),
        "check --encoder",
    ) from refusal


class Encoder:
    """One video stream of an output. Pictures carry the input's colour, times and orientation.

    width, height: of the pictures (not the input's where two are shown side by side).
    """

    def __init__(
        self,
        container: av.container.OutputContainer,
        choice: EncoderChoice,
        facts: VideoFacts,
        width: int,
        height: int,
    ) -> None:
        self._facts = facts
        rate = facts.rate or RATE_DEFAULT
        fit = _fit(choice, width, height, facts)
        try:
            stream = container.add_stream(choice.codec, rate=rate, options=dict(choice.options))
        except ValueError as error:
            raise SettingInvalid(
                f"{container.format.name} files do not hold {choice.codec} video",
                "choose another suffix or --encoder",
            ) from error
        context = stream.codec_context
        stream.width, stream.height, stream.pix_fmt = width, height, fit.pixel_format
        context.time_base = stream.time_base = fit.time_base
        tags = facts.tags
        context.color_range, context.colorspace = tags.range, tags.matrix
        context.color_primaries, context.color_trc = tags.primaries, tags.transfer
        if facts.sample_aspect:
            context.sample_aspect_ratio = facts.sample_aspect
        if facts.display_matrix is not None:
            stream.set_display_matrix(facts.display_matrix)
        if facts.interlaced:
            context.flags |= INTERLACED_DCT | INTERLACED_ME
        self._stream = stream
        self.notes: list[str] = []
        if fit.pixel_format == "yuv444p":
            self.notes.append(f"odd size {width}x{height}: {choice.codec} holds it as 4:4:4")
        if fit.time_base != facts.time_base:
            self.notes.append(f"{choice.codec} rounds times to the frame rate")

    def encode(self, image: av.VideoFrame, pts: int, duration: int) -> list[av.Packet]:
        """The packets that are ready after this image (often none yet, or an earlier one's)."""
        image.pts, image.time_base, image.duration = pts, self._facts.time_base, duration
        image.pict_type = 0  # the input's frame types are no wish of ours
        packets: list[av.Packet] = self._stream.encode(image)
        return packets

    def flush(self) -> list[av.Packet]:
        packets: list[av.Packet] = self._stream.encode(None)
        return packets
