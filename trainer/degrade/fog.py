"""Condensation on the lens: a low-frequency veil with blur that grows from the centre or rim.

Same form as smoke, I = blur(J) (1 - o) + F o, but the veil sits on the glass: it does not move
with the scene, is smooth, takes the blurred scene's colour and blurs what shines through.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.degrade.noise import Field, Turbulence, smoothstep

Image = NDArray[np.float32]


class Fog:
    """One fogging of the lens. severity 0-1; `grown` 0-1 scales it with time."""

    def __init__(self, rng: np.random.Generator, h: int, w: int, severity: float) -> None:
        self.shape = (h, w)
        self.severity = severity
        self.from_rim = bool(rng.random() < 0.5)
        self.peak = float(np.clip(0.25 + 0.65 * severity + rng.normal(0, 0.06), 0.12, 0.92))
        self.reach = float(np.clip(0.15 + 1.0 * severity + rng.normal(0, 0.1), 0.1, 1.3))
        self.blur = float(rng.uniform(0.004, 0.02) * (0.5 + severity))
        self.whiteness = float(rng.uniform(0.2, 0.8))
        self.brightness = float(rng.uniform(0.4, 0.85))
        self._uneven = Turbulence(
            rng, h, w, cells=float(rng.uniform(1.0, 2.5)), octaves=2, warp_px=0.02 * w
        ).at()
        ys, xs = np.mgrid[0:h, 0:w].astype(np.float32)
        cx, cy = rng.uniform(0.35, 0.65) * w, rng.uniform(0.35, 0.65) * h
        self._radius = np.hypot((xs - cx) / (0.6 * w), (ys - cy) / (0.6 * h)).astype(np.float32)

    def opacity(self, grown: float = 1.0) -> Field:
        """h w, 0 to `peak`."""
        r = 1.0 - self._radius if self.from_rim else self._radius
        edge = self.reach * grown * (1.0 + 0.25 * self._uneven) - r
        total: Field = (self.peak * grown * smoothstep(edge / 0.6 + 0.5)).astype(np.float32)
        return total

    def apply(self, clear: Image, grown: float = 1.0) -> tuple[Image, Field, Image]:
        """Returns the fogged image, its opacity o (h w) and the veil colour F (h w 3)."""
        h, w = self.shape
        o = self.opacity(grown)
        far = cv2.GaussianBlur(
            cv2.resize(clear, (max(w // 8, 2), max(h // 8, 2)), interpolation=cv2.INTER_AREA),
            (0, 0),
            w / 8 * 0.15,
        )
        far = cv2.resize(far, (w, h), interpolation=cv2.INTER_LINEAR)
        grey = np.float32(self.brightness)
        veil = (far * (1 - self.whiteness) + grey * self.whiteness).astype(np.float32)
        soft = cv2.GaussianBlur(clear, (0, 0), max(self.blur * w * grown, 0.3))
        seen = clear + (soft - clear) * np.minimum(o / 0.4, 1.0)[..., None]
        fogged: Image = seen * (1 - o[..., None]) + veil * o[..., None]
        return fogged, o, veil
