"""Surgical smoke: I = J t + A (1 - t), from a plume at the hook's tip to banks that fill the view.

Koschmieder's law (1924) over an optical depth that is turbulent at every scale, drifts upwards, is
dense near its source, and is lit by the scope. The depth is set so that the share of the view it
covers is what the episode asks for.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from engines.restorer import COVERED
from server.phantom.noise import TILE, Field, ease, generator, tile
from server.phantom.spec import Episode
from server.phantom.veil import Ground, Veil, luma_chroma, upper

F = np.float32
EDGE_DEPTH = -math.log(1.0 - COVERED)  # optical depth at which a place counts as covered
# Optical depth that only a twentieth of the view exceeds, while an episode of each level holds
DENSE_DEPTH = {1: 1.3, 2: 1.6, 3: 1.9, 4: 2.2}


class Smoke:
    """One smoke episode."""

    def __init__(self, ground: Ground, seed: int, episode: Episode) -> None:
        rng = generator(seed, 7)
        self.ground = ground
        self.episode = episode
        self._banks, self._wisps = tile(rng, 2.0), tile(rng, 1.6, coarsest=5.0)
        warmth = float(rng.uniform(-3.0, 9.0))
        bright = float(rng.uniform(0.92, 1.06))
        self._colour = luma_chroma((196 * bright + warmth, 184 * bright, 180 * bright - warmth))
        middle = episode.rise_s + 0.5 * episode.hold_s
        spread = []
        for late in (0.8, 1.0, 1.2):
            seen = ground.seen(self._field(late * middle, (0.16, 0.06), 1.3, 1.0))
            spread.append(upper(seen, 0.05) - upper(seen, episode.target))
        self._gain = (DENSE_DEPTH[episode.level] - EDGE_DEPTH) / float(np.median(spread))

    def veil(self, t_s: float, tip: tuple[float, float]) -> Veil:
        """At a time within the episode; tip: where the smoke rises from, in units."""
        grown, gone = self.episode.grown(t_s), self.episode.gone(t_s)
        # first the plume alone, then the banks that it feeds; it stops before they clear
        banks = min(1.0, 0.25 + 1.2 * grown)
        field = self._field(
            t_s - self.episode.start_s, tip, 1.3 * min(1.0, 4.0 * grown) - 3.0 * gone, banks
        )
        share = self.episode.target * ease(grown) * (1.0 - ease(gone))
        rim = upper(self.ground.seen(field), share)
        thin = 1.0 - 0.5 * ease(gone)
        depth = F(EDGE_DEPTH) + F(self._gain * thin) * (field - F(rim))
        depth *= F(min(1.0, 12.0 * grown, 12.0 * (1.0 - gone)))
        direct = np.exp(-np.maximum(depth, F(0.0)))
        lit = (F(1.0) - direct) * self.ground.light * (F(0.93) + F(0.10) * field)
        y, u, v = (F(part) * lit for part in self._colour)
        return Veil(direct, y, u, v)

    def _field(self, age_s: float, tip: tuple[float, float], source: float, banks: float) -> Field:
        """How dense, in no unit: about 0.4 in the mean. source: how strongly the tip
        smokes; banks: how uneven the rest is."""
        x, y = self.ground.x[0], self.ground.y[:, 0]
        moving = (F(age_s), F(tip[0]), F(tip[1]), F(max(0.0, source)), F(banks))
        return np.asarray(_turbulence(self._banks, self._wisps, x, y, *moving), F)


@numba.njit(inline="always")
def _at(field, x, y):  # type: ignore[no-untyped-def]
    """A repeating tile between its samples."""
    x, y = x + F(65536), y + F(65536)  # a multiple of TILE: truncation is then a floor
    ix, iy = np.int64(x), np.int64(y)
    fx, fy = x - F(ix), y - F(iy)
    last = TILE - 1
    x0, y0, x1, y1 = ix & last, iy & last, (ix + 1) & last, (iy + 1) & last
    above = field[y0, x0] + (field[y0, x1] - field[y0, x0]) * fx
    below = field[y1, x0] + (field[y1, x1] - field[y1, x0]) * fx
    return above + (below - above) * fy


@numba.njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _turbulence(banks, wisps, xs, ys, age, tip_x, tip_y, source, rest):  # type: ignore[no-untyped-def]
    """Two drifting scales, each carried about by a slower one, and a plume above the tip."""
    out = np.empty((ys.size, xs.size), F)
    for row in range(ys.size):
        y = ys[row]
        rise = tip_y - y
        climb = max(F(0), rise)
        width = F(0.020) + F(0.34) * climb
        start = min(F(1), max(F(0), (rise + F(0.03)) * F(12)))
        torn = min(F(1), F(0.2) + F(4) * climb)  # whole at its source, in rags above
        column = F(1.9) * start / (F(1) + F(4) * climb)
        # the column sways more the higher it is, in waves that travel up with the gas
        sway = _at(banks, F(11) * age, y * F(70) + age * F(26)) * (F(0.004) + F(0.14) * climb)
        for col in range(xs.size):
            x = xs[col]
            wx = _at(banks, x * F(48) + age * F(5), y * F(48) + age * F(9))
            wy = _at(banks, x * F(48) + F(97) - age * F(4), y * F(48) + F(31) + age * F(6))
            big = _at(banks, (x + F(0.05) * wx) * F(84) + age * F(7),
                      (y + F(0.05) * wy) * F(84) + age * F(13))  # fmt: skip
            fine = _at(wisps, (x + F(0.07) * wx) * F(105) - age * F(9),
                       (y + F(0.07) * wy) * F(105) + age * F(24))  # fmt: skip
            across = (x - tip_x + sway) / width
            far2 = (x - tip_x) * (x - tip_x) + (rise - F(0.03)) * (rise - F(0.03))
            plume = column * math.exp(-across * across) + F(0.7) * math.exp(far2 * F(-1 / 0.045**2))
            rolling = max(F(0.3), F(1) + torn * (F(0.28) * fine + F(0.12) * big - F(0.25)))
            body = F(0.40) + rest * (F(0.13) * big + F(0.055) * fine * (F(1) + F(0.5) * big))
            out[row, col] = body + source * plume * rolling * F(0.5)
    return out
