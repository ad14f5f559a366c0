"""A textured, moving clip for timing: as hard to decode and encode as a real feed."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from engines.picture import Colour, Yuv420
from server.decode import BT709, ColourTags, VideoFacts
from server.encode import Encoder, EncoderChoice, image_of
from server.progress import Advance, silent

# bits per pixel and second that make 6 Mbit/s of 1280x720: a usual rate for recorded laparoscopy
BITS_PER_PIXEL = 6_000_000 / (1280 * 720)
RATE = Fraction(25)
SWAY_X, SWAY_Y = 140, 90  # pixels of camera motion each way
GRAIN = 3  # sensor noise, grey levels
# cells in pixels and deviations in grey levels, from fine texture to large folds
DETAIL = ((3, 7.0), (6, 9.0), (14, 11.0), (40, 18.0), (130, 28.0))


def _tissue(width: int, height: int) -> NDArray[np.uint8]:
    """A red textured plane, h w 3."""
    rng = np.random.default_rng(7)
    out = np.full((height, width, 3), (150.0, 80.0, 70.0), np.float32)
    for cell, depth in DETAIL:
        noise = rng.standard_normal((height // cell + 2, width // cell + 2, 4)).astype(np.float32)
        noise = 0.9 * noise[..., :1] + 0.3 * noise[..., 1:]  # mostly light and shade
        out += depth * cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(out.clip(0, 255), np.uint8)


def facts_of(width: int, height: int, frames: int) -> VideoFacts:
    return VideoFacts(
        width=width,
        height=height,
        colour=Colour("bt709", full_range=False),
        tags=ColourTags(1, BT709, BT709, BT709),
        rate=RATE,
        time_base=1 / RATE,
        frames=frames,
        sample_aspect=None,
        display_matrix=None,
        interlaced=False,
        losses=(),
    )


def write_clip(path: Path, width: int, height: int, frames: int, advance: Advance = silent) -> None:
    """H.264 at the usual rate. width, height: even, at least 64."""
    # as planes of a larger scene, through which the camera sways; even steps keep chroma in place
    scene = _tissue(width + 2 * SWAY_X + 2, height + 2 * SWAY_Y + 2)
    scene = scene[: scene.shape[0] // 2 * 2, : scene.shape[1] // 2 * 2]
    tall, wide = scene.shape[:2]
    flat = cv2.cvtColor(scene, cv2.COLOR_RGB2YUV_I420).ravel()
    y, u, v = np.split(flat, [tall * wide, tall * wide * 5 // 4])
    y = y.reshape(tall, wide)
    u, v = (p.reshape(tall // 2, wide // 2) for p in (u, v))
    rng = np.random.default_rng(8)
    grain = rng.integers(-GRAIN, GRAIN + 1, (4, height, width)).astype(np.int16)
    bits = str(round(BITS_PER_PIXEL * width * height))
    options = {"preset": "veryfast", "b": bits, "maxrate": bits, "bufsize": bits}
    facts = facts_of(width, height, frames)
    with av.open(str(path), "w") as container:
        encoder = Encoder(container, EncoderChoice("libx264", options), facts, width, height)
        for index in range(frames):
            left = round(SWAY_X * (1 + math.sin(index / 17)) / 2) * 2
            top = round(SWAY_Y * (1 + math.cos(index / 23)) / 2) * 2
            noisy = y[top : top + height, left : left + width] + grain[index % 4]
            rows, columns = (
                slice(top // 2, (top + height) // 2),
                slice(left // 2, (left + width) // 2),
            )
            picture = Yuv420(
                noisy.clip(16, 235).astype(np.uint8),
                u[rows, columns],
                v[rows, columns],
                facts.colour,
            )
            container.mux(encoder.encode(image_of(picture, facts), index, 1))
            advance(index + 1, frames)
        container.mux(encoder.flush())
