"""Surgical smoke: I = J t + A (1 - t), t = exp(-density), after Koschmieder's law (1924).

Density is a sum of what real smoke shows: an even haze that fills the cavity, fractal banks
that drift, and a plume from an instrument tip that saturates near its source. The veil colour A
is lit by the scope (brighter near the beam and where the tissue is bright) and takes part of the
scene's own colour, since smoke in a cavity is lit by light that the tissue has already coloured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.degrade.noise import Field, Turbulence, smoothstep

Image = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Look:
    """Drawn once per episode. Densities are optical depths; colours are RGB in 0-1."""

    haze: float
    banks: float
    plume: float
    source: tuple[float, float]  # x, y as shares of the view
    heading_rad: float
    spread: float
    tint: tuple[float, float, float]
    scene_share: float  # how much of A is the scene's own colour
    brightness: float
    beam: tuple[float, float]
    lit_by_scene: float


def draw_look(rng: np.random.Generator, severity: float) -> Look:
    """A random look; severity 0-1 scales the densities from a breath to a white-out."""
    mode = rng.choice(4, p=[0.3, 0.25, 0.25, 0.2])  # mix, haze, banks, plume lead
    shares = np.array([[0.5, 0.5, 0.7], [1.0, 0.25, 0.1], [0.25, 1.0, 0.2], [0.15, 0.3, 1.3]])[mode]
    depth = 0.06 + 2.3 * severity**1.5
    shares = shares * rng.uniform(0.6, 1.4, 3) * depth
    warmth = rng.normal(-0.02, 0.08)  # fine smoke scatters blue; cameras balance it either way
    tint = np.clip(1.0 + np.array([warmth, 0.0, -warmth]) + rng.normal(0.0, 0.035, 3), 0.7, 1.25)
    return Look(
        haze=float(shares[0]),
        banks=float(shares[1]),
        plume=float(shares[2]),
        source=(float(rng.uniform(0.1, 0.9)), float(rng.uniform(0.15, 0.95))),
        heading_rad=float(rng.uniform(-math.pi, math.pi)),
        spread=float(rng.uniform(0.12, 0.5)),
        tint=(float(tint[0]), float(tint[1]), float(tint[2])),
        scene_share=float(rng.choice([0.0, rng.uniform(0.1, 0.5), rng.uniform(0.5, 1.0)])),
        brightness=float(np.clip(rng.normal(0.66, 0.16), 0.25, 1.05)),
        beam=(float(rng.uniform(0.25, 0.75)), float(rng.uniform(0.2, 0.8))),
        lit_by_scene=float(rng.uniform(0.0, 0.7)),
    )


class Smoke:
    """One smoke episode over a view of h w pixels."""

    def __init__(
        self, rng: np.random.Generator, h: int, w: int, severity: float, *, moving: bool = False
    ) -> None:
        self.look = draw_look(rng, severity)
        self.shape = (h, w)
        speed = w * rng.uniform(0.02, 0.15) if moving else 0.0
        angle = rng.uniform(-math.pi, math.pi)
        self._drift = (float(speed * math.cos(angle)), float(speed * math.sin(angle)))
        self._gust_hz = float(rng.uniform(0.05, 0.25)) if moving else 0.0
        self._banks = Turbulence(
            rng,
            h,
            w,
            cells=float(rng.uniform(0.8, 4.0)),
            octaves=int(rng.integers(2, 5)),
            warp_px=float(rng.uniform(0.0, 0.1) * w),
            drift_px_s=self._drift,
            churn_hz=self._gust_hz,
        )
        self._eddies = Turbulence(
            rng,
            h,
            w,
            cells=float(rng.uniform(4.0, 10.0)),
            octaves=3,
            warp_px=float(rng.uniform(0.01, 0.05) * w),
            drift_px_s=(2.0 * self._drift[0], 2.0 * self._drift[1]),
            churn_hz=2.0 * self._gust_hz,
        )
        ys, xs = np.mgrid[0:h, 0:w].astype(np.float32)
        self._xs, self._ys = xs / w, ys / w  # both in widths, so that circles are round

    def density(self, t_s: float = 0.0) -> Field:
        """Optical depth, h w, at least 0."""
        look = self.look
        banks, eddies = self._banks.at(t_s), self._eddies.at(t_s)
        haze = look.haze * (1.0 + 0.25 * banks)
        bank = look.banks * smoothstep(0.5 + 0.45 * banks + 0.12 * eddies) * 1.6
        dx = self._xs - look.source[0]
        dy = self._ys - look.source[1] * self.shape[0] / self.shape[1]
        along = dx * math.cos(look.heading_rad) + dy * math.sin(look.heading_rad)
        across = -dx * math.sin(look.heading_rad) + dy * math.cos(look.heading_rad)
        width = 0.03 + look.spread * np.maximum(along, 0.0)
        body = np.exp(-0.5 * ((across + 0.03 * banks) / width) ** 2) * smoothstep(
            along / 0.08 + 0.3
        )
        puff = np.exp(-0.5 * (dx * dx + dy * dy) / (0.02 + 0.1 * look.spread) ** 2 / 4.0)
        pulse = 1.0 + 0.3 * math.sin(2.0 * math.pi * self._gust_hz * 3.0 * t_s)
        rolling = np.clip(0.75 + 0.4 * eddies + 0.25 * banks, 0.1, 2.0)
        plume = look.plume * pulse * (1.1 * body / (1.0 + 1.5 * np.maximum(along, 0)) + puff)
        total: Field = np.maximum(haze + bank + plume * rolling, 0.0).astype(np.float32)
        return total

    def veil(self, clear: Image) -> Image:
        """The veil colour A over a clear image (h w 3, 0-1): h w 3, within 0-1."""
        look = self.look
        h, w = self.shape
        small = cv2.resize(clear, (max(w // 8, 2), max(h // 8, 2)), interpolation=cv2.INTER_AREA)
        glow = cv2.GaussianBlur(small, (0, 0), w / 40.0)
        glow = cv2.resize(glow, (w, h), interpolation=cv2.INTER_LINEAR)
        mean = np.maximum(small.reshape(-1, 3).mean(0), 1e-3)
        # a scene-coloured veil keeps the hue and is paler than the tissue itself
        own = mean / max(float(mean @ np.array([0.299, 0.587, 0.114])), 1e-3)
        own = 0.45 + 0.55 * own
        colour = np.asarray(look.tint) * (1 - look.scene_share) + own * look.scene_share
        dx = self._xs - look.beam[0]
        dy = self._ys - look.beam[1] * h / w
        beam = 0.72 + 0.36 * np.exp(-(dx * dx + dy * dy) / 0.18)
        luma = glow @ np.array([0.299, 0.587, 0.114], np.float32)
        lit = 1.0 + look.lit_by_scene * (luma / max(float(luma.mean()), 1e-3) - 1.0)
        light = look.brightness * beam * np.clip(lit, 0.4, 1.6)
        veil: Image = np.clip(light[..., None] * colour, 0.0, 1.0).astype(np.float32)
        return veil
