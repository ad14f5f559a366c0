"""Splashes on the lens: droplets and films of blood, fat, bile or rinsing fluid.

Each deposit has an opacity, a colour of its own, refracts what is behind it (a droplet is a
small lens: the view inside is displaced towards its rim) and blurs it, as it sits far out of
focus. They stay where they are on the glass.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.restorer import SPLASH_TYPES, SplashType
from trainer.degrade.noise import Field, lattice, smoothstep

Image = NDArray[np.float32]

# mean colour (RGB, 0-1), its spread, and the range of opacity of a deposit's body
LOOKS: dict[SplashType, tuple[tuple[float, float, float], float, tuple[float, float]]] = {
    "blood": ((0.42, 0.04, 0.05), 0.06, (0.55, 0.97)),
    "fat": ((0.85, 0.74, 0.45), 0.07, (0.35, 0.85)),
    "bile": ((0.45, 0.42, 0.08), 0.07, (0.4, 0.9)),
    "fluid": ((0.72, 0.72, 0.70), 0.08, (0.08, 0.4)),
}


class Splash:
    """One splash. severity 0-1 sets how much of the view it takes."""

    def __init__(
        self,
        rng: np.random.Generator,
        h: int,
        w: int,
        severity: float,
        splash_type: SplashType | None = None,
    ) -> None:
        self.type: SplashType = splash_type or SPLASH_TYPES[int(rng.integers(len(SPLASH_TYPES)))]
        colour, spread, (low, high) = LOOKS[self.type]
        tint = np.clip(np.asarray(colour) + rng.normal(0, spread, 3), 0.0, 1.0)
        rough = lattice(rng, h, w, 6.0, 3)
        ys, xs = np.mgrid[0:h, 0:w].astype(np.float32)
        height = np.zeros((h, w), np.float32)  # thickness of the liquid, 0-1
        film = rng.random() < 0.25 + 0.6 * severity
        drops = int(rng.integers(1, 5)) + int(18 * severity * rng.random())
        for _ in range(drops):
            radius = w * (0.012 + rng.exponential(0.02 + 0.05 * severity))
            radius = min(radius, w * (0.08 + 0.25 * severity))
            cx, cy = rng.uniform(0, w), rng.uniform(0, h)
            stretch, angle = rng.uniform(0.6, 1.0), rng.uniform(0, math.pi)
            dx, dy = xs - cx, ys - cy
            u = dx * math.cos(angle) + dy * math.sin(angle)
            v = (-dx * math.sin(angle) + dy * math.cos(angle)) / stretch
            inside = 1.0 - (u * u + v * v) / (radius * radius) + 0.2 * rough
            height = np.maximum(height, smoothstep(inside / 0.6))
        if film:
            side = rng.uniform(-math.pi, math.pi)
            ramp = (xs / w - 0.5) * math.cos(side) + (ys / h - 0.5) * math.sin(side)
            reach = rng.uniform(-0.35, 0.1) + 0.75 * severity
            cover = smoothstep((ramp + reach - 0.15 + 0.12 * rough) / 0.25)
            height = np.maximum(height, cover * (0.65 + 0.2 * np.tanh(rough)))
        body = rng.uniform(low, high)
        self.opacity: Field = np.clip(height * body * (1 + 0.1 * rough), 0, 0.98).astype(np.float32)
        self._height = height.astype(np.float32)
        shade = 1.0 + 0.18 * np.tanh(rough)
        self._colour = np.clip(tint * shade[..., None], 0, 1).astype(np.float32)
        bend = w * rng.uniform(0.01, 0.04)
        soft = cv2.GaussianBlur(self._height, (0, 0), w / 120)
        self._dx = (bend * cv2.Sobel(soft, cv2.CV_32F, 1, 0, ksize=3)).astype(np.float32)
        self._dy = (bend * cv2.Sobel(soft, cv2.CV_32F, 0, 1, ksize=3)).astype(np.float32)
        self._xs, self._ys = xs, ys
        self._blur = float(w * rng.uniform(0.006, 0.02))
        self._glint = float(rng.uniform(0.0, 0.5))

    def apply(self, clear: Image, present: float = 1.0) -> tuple[Image, Field]:
        """Returns the splashed image and the opacity o (h w); present 0-1 fades it (wiping)."""
        bent = cv2.remap(
            clear,
            self._xs + self._dx,
            self._ys + self._dy,
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT,
        )
        soft = cv2.GaussianBlur(bent, (0, 0), self._blur)
        wet = smoothstep(self._height / 0.3)[..., None] * present
        behind = clear * (1 - wet) + soft * wet
        o = (self.opacity * present).astype(np.float32)
        light = 0.45 + 0.9 * cv2.GaussianBlur(clear.mean(2), (0, 0), clear.shape[1] / 10)
        colour = self._colour * light[..., None]
        rim = np.clip(-(self._dx + self._dy) / (self._xs.shape[1] * 0.01), 0, 1)
        splashed = behind * (1 - o[..., None]) + colour * o[..., None]
        splashed = splashed + self._glint * rim[..., None] * wet
        return np.clip(splashed, 0, 1).astype(np.float32), o
