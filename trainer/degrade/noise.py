"""Fractal noise fields that drift and churn with time.

Sum of cubic-interpolated lattice noise over octaves (fractional Brownian motion), bent by a
second field (domain warping) so that it curls as turbulent smoke does. A point of time is a
rotation between two independent lattices plus a drift of the sampling window, so the field has
the same statistics at all times and moves smoothly.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]


def lattice(rng: np.random.Generator, h: int, w: int, cells: float, octaves: int) -> Field:
    """h w, mean about 0, deviation about 1: octaves of smooth noise, `cells` across the width."""
    total = np.zeros((h, w), np.float32)
    weight, norm = 1.0, 0.0
    for octave in range(octaves):
        nx = max(2, round(cells * 2**octave)) + 1
        ny = max(2, round(cells * 2**octave * h / w)) + 1
        if nx > w or ny > h:
            break
        grid = rng.standard_normal((ny, nx)).astype(np.float32)
        total += weight * cv2.resize(grid, (w, h), interpolation=cv2.INTER_CUBIC)
        norm += weight * weight
        weight *= 0.55
    return total / np.float32(math.sqrt(norm) * 0.75)


class Turbulence:
    """A drifting, churning fractal field of one size; values about normal."""

    def __init__(
        self,
        rng: np.random.Generator,
        h: int,
        w: int,
        *,
        cells: float,
        octaves: int,
        warp_px: float,
        drift_px_s: tuple[float, float] = (0.0, 0.0),
        churn_hz: float = 0.0,
    ) -> None:
        self.shape = (h, w)
        self.drift_px_s = drift_px_s
        self.churn_hz = churn_hz
        still = churn_hz == 0.0 and drift_px_s == (0.0, 0.0)
        # a moving field is sampled through a window with a reflected margin around it
        self._first = lattice(rng, h, w, cells, octaves)
        self._second = None if still else lattice(rng, h, w, cells, octaves)
        bend = lattice(rng, h, w, cells * 0.7, 2), lattice(rng, h, w, cells * 0.7, 2)
        ys, xs = np.mgrid[0:h, 0:w].astype(np.float32)
        self._x = xs + np.float32(warp_px) * bend[0]
        self._y = ys + np.float32(warp_px) * bend[1]

    def at(self, t_s: float = 0.0) -> Field:
        """The field at a time in seconds: h w float32."""
        field = self._first
        if self._second is not None:
            phase = 2.0 * math.pi * self.churn_hz * t_s
            field = math.cos(phase) * self._first + math.sin(phase) * self._second
        x = self._x + np.float32(self.drift_px_s[0] * t_s)
        y = self._y + np.float32(self.drift_px_s[1] * t_s)
        out: Field = cv2.remap(field, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        return out


def smoothstep(x: Field) -> Field:
    """0 below 0, 1 above 1, cubic between."""
    x = np.clip(x, 0.0, 1.0)
    out: Field = x * x * (3.0 - 2.0 * x)
    return out
