"""Small videos for tests: textured frames in any codec, timing, colour and container."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray


def picture(index: int, width: int, height: int) -> NDArray[np.uint8]:
    """A red, textured, slowly moving RGB picture."""
    rng = np.random.default_rng(5)
    coarse = rng.standard_normal((height // 12 + 9, width // 12 + 9, 3)).astype(np.float32)
    wide = cv2.resize(coarse, (width + 64, height + 64), interpolation=cv2.INTER_CUBIC)
    x = index % 32
    moved = wide[x : x + height, x : x + width] * 28 + np.array([150, 75, 65], np.float32)
    return np.asarray(np.clip(moved, 0, 255), np.uint8)


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """How to make one. times: pts in units of time_base, one per frame."""

    frames: int = 12
    width: int = 96
    height: int = 64
    codec: str = "libx264"
    pixel_format: str = "yuv420p"
    rate: int = 25
    time_base: Fraction | None = None
    times: Sequence[int] | None = None
    audio: str | None = None
    rotation: int = 0
    color_range: int = 0
    colorspace: int = 2
    interlaced: bool = False
    options: tuple[tuple[str, str], ...] = (("preset", "ultrafast"), ("crf", "12"))
    container_options: tuple[tuple[str, str], ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()


def make(path: Path, clip: Clip | None = None, **changes: Any) -> Path:
    """Writes the clip; `changes` are fields of Clip."""
    clip = Clip(**changes) if clip is None else clip
    options = dict(clip.options) if clip.codec == "libx264" else {}
    with av.open(str(path), "w", container_options=dict(clip.container_options)) as container:
        container.metadata.update(dict(clip.metadata))
        stream = container.add_stream(clip.codec, rate=clip.rate, options=options)
        stream.width, stream.height, stream.pix_fmt = clip.width, clip.height, clip.pixel_format
        base = clip.time_base or Fraction(1, clip.rate)
        stream.codec_context.time_base = stream.time_base = base
        stream.codec_context.color_range = clip.color_range
        stream.codec_context.colorspace = clip.colorspace
        if clip.interlaced:
            stream.codec_context.flags |= 1 << 18
            stream.codec_context.options["x264-params"] = "tff=1"
        if clip.rotation:
            stream.set_display_rotation(clip.rotation)
        sound = container.add_stream(clip.audio, rate=48000) if clip.audio else None
        for index in range(clip.frames):
            frame = av.VideoFrame.from_ndarray(picture(index, clip.width, clip.height))
            frame = frame.reformat(
                format=clip.pixel_format,
                dst_colorspace=1 if clip.colorspace == 1 else 5,
                dst_color_range=clip.color_range or None,
            )
            frame.pts = index if clip.times is None else clip.times[index]
            frame.time_base = base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            _add_sound(container, sound, clip.frames / clip.rate)
    return path


def _add_sound(container: Any, stream: Any, seconds: float) -> None:
    count = int(48000 * seconds)
    wave = (8000 * np.sin(np.arange(count) * 0.06)).astype(np.int16)
    size = stream.codec_context.frame_size or 1024
    for start in range(0, count, size):
        part = np.repeat(wave[None, start : start + size], 2, 1).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(part, format="s16", layout="stereo")
        frame.sample_rate, frame.pts = 48000, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


@dataclass(frozen=True, kw_only=True, slots=True)
class Read:
    """What a file holds, decoded by libav alone. times: of frames, in seconds."""

    times: tuple[Fraction, ...]
    sizes: frozenset[tuple[int, int]]
    formats: frozenset[str]
    ranges: frozenset[int]
    spaces: frozenset[int]
    rotations: frozenset[int]
    interlaced: frozenset[bool]
    audio: tuple[bytes, ...]
    lumas: tuple[NDArray[np.uint8], ...]
    chromas: tuple[NDArray[np.uint8], ...]


def read(path: Path) -> Read:
    """Decodes everything."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        base = container.streams.video[0].time_base
    with av.open(str(path)) as container:
        sounds = [bytes(p) for p in container.demux(*container.streams.audio) if p.size]
        if not container.streams.audio:
            sounds = []
    grey = [f.reformat(format="gray") if f.format.is_rgb else f for f in frames]
    return Read(
        times=tuple(f.pts * base for f in frames if f.pts is not None),
        sizes=frozenset((f.width, f.height) for f in frames),
        formats=frozenset(f.format.name for f in frames),
        ranges=frozenset(int(f.color_range) for f in frames),
        spaces=frozenset(int(f.colorspace) for f in frames),
        rotations=frozenset(f.rotation for f in frames),
        interlaced=frozenset(f.interlaced_frame for f in frames),
        audio=tuple(sounds),
        lumas=tuple(_plane(f, 0) for f in grey),
        chromas=tuple(_plane(f, 1) for f in grey if len(f.planes) > 1),
    )


def _plane(frame: Any, index: int) -> NDArray[np.uint8]:
    plane = frame.planes[index]
    rows = np.frombuffer(plane, np.uint8).reshape(plane.height, -1)
    return rows[:, : plane.width].copy()
