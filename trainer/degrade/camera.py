"""What a camera does to a view: exposure, white balance, vignette, mask, noise, compression."""

from __future__ import annotations

import io
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from trainer.pixels import Image, grey_levels, unit


def jpeg(image: Image, quality: int) -> Image:
    """Through JPEG 4:2:0 and back; h w 3, 0-1."""
    pixels = grey_levels(image)
    back = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality, "RGB", "420")
    return unit(simplejpeg.decode_jpeg(back))


def h264(frames: list[Image], crf: int) -> list[Image]:
    """Through libx264 at a constant quality and back; sides are cropped to even."""
    h, w = (side // 2 * 2 for side in frames[0].shape[:2])
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as out:
        stream = out.add_stream("libx264", rate=Fraction(25), options={"crf": str(crf)})
        stream.width, stream.height, stream.pix_fmt = w, h, "yuv420p"
        stream.options = {"crf": str(crf), "preset": "veryfast"}
        for image in frames:
            pixels = grey_levels(image[:h, :w])
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(stream.encode())
    buffer.seek(0)
    with av.open(buffer) as back:
        return [unit(f.to_ndarray(format="rgb24")) for f in back.decode(video=0)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Camera:
    """One camera's settings. gains: exposure times white balance, RGB; the rest as named."""

    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gamma: float = 1.0
    vignette: float = 0.0
    mask_radius: float | None = None  # of the circular field of view, in half diagonals
    noise: float = 0.0
    jpeg_quality: int | None = None

    @staticmethod
    def draw(rng: np.random.Generator) -> Camera:
        """A plausible camera."""
        exposure = rng.normal(0.0, 0.12)
        red, green, blue = np.exp(exposure + rng.normal(0.0, 0.04, 3))
        return Camera(
            gains=(float(red), float(green), float(blue)),
            gamma=float(np.exp(rng.normal(0.0, 0.1))),
            vignette=float(rng.choice([0.0, rng.uniform(0.05, 0.5)])),
            mask_radius=float(rng.uniform(0.7, 0.98)) if rng.random() < 0.2 else None,
            noise=float(rng.exponential(0.006)),
            jpeg_quality=int(rng.integers(35, 96)) if rng.random() < 0.7 else None,
        )

    def look(self, image: Image) -> Image:
        """Exposure, balance, gamma and vignette: belongs to the scene, on both sides of a pair."""
        out = np.clip(image, 0, 1) ** np.float32(self.gamma) * np.asarray(self.gains, np.float32)
        if self.vignette:
            h, w = image.shape[:2]
            ys, xs = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
            out = out * (1 - self.vignette * np.clip((xs**2 + ys**2) / 2, 0, 1))[..., None]
        seen: Image = np.clip(out, 0, 1).astype(np.float32)
        return seen

    def mask(self, h: int, w: int) -> NDArray[np.float32]:
        """1 in the field of view, 0 in the black border: h w."""
        if self.mask_radius is None:
            return np.ones((h, w), np.float32)
        ys, xs = np.mgrid[0:h, 0:w]
        r = np.hypot(xs - w / 2, ys - h / 2) / (0.5 * np.hypot(h, w))
        inside: NDArray[np.float32] = np.clip((self.mask_radius - r) * w / 4, 0, 1)
        return inside.astype(np.float32)

    def sensor(self, image: Image, rng: np.random.Generator) -> Image:
        """Noise and compression: belongs to the one recorded picture."""
        out = image
        if self.noise:
            out = out + rng.normal(0, self.noise, out.shape).astype(np.float32)
        out = np.clip(out, 0, 1).astype(np.float32)
        return jpeg(out, self.jpeg_quality) if self.jpeg_quality is not None else out
