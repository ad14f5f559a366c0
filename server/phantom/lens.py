"""What settles on the lens: fog that grows over it, and splashes of blood, fat, bile or fluid.

Both take light from the scene (`loss`) and give some of it back blurred, or bent through a drop,
with a colour of their own; both stay until the lens is wiped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from engines.restorer import COVERED, SplashType
from server.phantom.noise import Field, ease, generator, octaves, smoothstep
from server.phantom.scene import VIEW_RADIUS
from server.phantom.spec import Episode
from server.phantom.veil import Ground, Veil, luma_chroma, upper

F = np.float32
Planes3 = tuple[Field, Field, Field]  # y 0-219; u, v centred on 0; at the veil's size


@dataclass(frozen=True, slots=True)
class Liquid:
    """How one kind of splash looks. opaque: most light it takes; own: share of that which is its
    own colour, the rest is the scene through it; bend: refraction, in units; shine: luma levels."""

    srgb: tuple[float, float, float]
    opaque: float
    own: float
    bend: float
    shine: float


LIQUIDS: dict[SplashType, Liquid] = {
    "blood": Liquid((112, 14, 14), 0.97, 0.84, 0.010, 22.0),
    "fat": Liquid((232, 196, 128), 0.90, 0.42, 0.022, 40.0),
    "bile": Liquid((158, 126, 14), 0.92, 0.62, 0.018, 36.0),
    "fluid": Liquid((206, 206, 210), 0.93, 0.07, 0.034, 44.0),
}
# Share of the view under a film rather than drops, and the largest drop (units), by level
FILMS = {1: 0.0, 2: 0.16, 3: 0.5, 4: 0.95}
LARGEST = {1: 0.075, 2: 0.11, 3: 0.13, 4: 0.15}
BURSTS = 3  # a splash arrives in so many spurts


class Fog:
    """One fog episode: condensation that grows from the edge or from the middle."""

    def __init__(self, ground: Ground, seed: int, episode: Episode) -> None:
        rng = generator(seed, 8)
        self.ground = ground
        self.episode = episode
        radius = ground.radius()
        ragged = octaves(rng, ground.x.shape, ground.x.shape, 0.4 * ground.unit, 3)
        from_edge = bool(rng.random() < 0.6)
        self._field = (radius if from_edge else 1.0 - radius) + F(0.16) * ragged
        seen = ground.seen(self._field)
        self._gain = 1.1 / max(0.2, upper(seen, 0.05) - upper(seen, episode.target))
        self._wipe = Wipe(ground, rng)
        self._milk = luma_chroma((186, 176, 174))

    def veil(self, t_s: float, scene: Planes3) -> Veil:
        """At a time within the episode, over a scene at the veil's size."""
        grown = self.episode.grown(t_s)
        rim = upper(self.ground.seen(self._field), self.episode.target * ease(grown))
        loss = F(COVERED) + F(self._gain) * (self._field - F(rim))
        loss = np.clip(loss, 0.0, 0.93) * F(min(1.0, 12.0 * grown))
        loss = loss * self._wipe.left(self.episode.gone(t_s))
        milk = F(0.55) * self.ground.light
        y, u, v = (
            loss * (F(0.50) * _soft(plane, 0.026 * self.ground.unit) + milk * F(part))
            for plane, part in zip(scene, self._milk, strict=True)
        )
        return Veil(F(1.0) - loss, y, u, v)


class Splash:
    """One splash episode."""

    def __init__(self, ground: Ground, seed: int, episode: Episode, kind: SplashType) -> None:
        rng = generator(seed, 9)
        self.kind = kind
        self.ground = ground
        self.episode = episode
        self._liquid = LIQUIDS[self.kind]
        self._colour = luma_chroma(self._liquid.srgb)
        self._wipe = Wipe(ground, rng)
        bursts = self._spray(rng)
        self._losses = [np.zeros_like(ground.x), *(self._loss(depth) for depth in bursts)]
        depth = _soft(bursts[-1], 0.004 * ground.unit)
        sy, sx = np.gradient(depth)
        bend = F(self._liquid.bend * ground.unit * 0.12 * ground.unit)
        h, w = depth.shape
        columns, rows = np.meshgrid(np.arange(w, dtype=F), np.arange(h, dtype=F))
        limit = 0.10 * ground.unit
        # what a drop bends into view is still behind the round stop
        x = ground.x + np.clip(bend * sx, -limit, limit) / F(ground.unit)
        y = ground.y + np.clip(bend * sy, -limit, limit) / F(ground.unit)
        back = np.minimum(1.0, 0.97 * VIEW_RADIUS / np.maximum(np.hypot(x, y), 1e-6))
        self._column = np.asarray(columns + (x * back - ground.x) * F(ground.unit), F)
        self._row = np.asarray(rows + (y * back - ground.y) * F(ground.unit), F)
        # the lamp's soft reflection high on each drop, a darker rim below
        facing = np.asarray((sy + F(0.5) * sx) * F(0.035 * ground.unit), F)
        facing = np.clip(_soft(facing, 0.007 * ground.unit), F(-1.0), F(1.0))
        self._shine = smoothstep(0.08, 0.55, facing) - F(0.45) * smoothstep(0.05, 0.6, -facing)
        self._body = np.asarray(0.75 + 0.35 * np.clip(1.2 - depth, 0.0, 1.0), F)

    def _spray(self, rng: np.random.Generator) -> list[Field]:
        """Thickness of the liquid after each spurt, 0 to about 1."""
        g = self.ground
        level, target = self.episode.level, self.episode.target
        rough = octaves(rng, g.x.shape, g.x.shape, 0.11 * g.unit, 2, 0.35)
        broad = octaves(rng, g.x.shape, g.x.shape, 0.5 * g.unit, 4)
        depth = np.zeros_like(g.x)
        if FILMS[level]:
            rim = upper(g.seen(broad), FILMS[level])
            depth = smoothstep(-0.04, 0.5, broad - F(rim)) * F(0.8)
        stages = []
        for burst in range(BURSTS):
            want = target * (0.45, 0.8, 1.0)[burst]
            for _ in range(4000):
                lacking = want - g.covered(F(1.0) - self._loss(depth))
                if lacking <= 0.0:
                    break
                # few large drops, many small; never one that would overshoot by much
                fits = math.sqrt(max(lacking, 0.0004) * 1.1 / math.pi)
                size = min(LARGEST[level], fits, 0.007 + 0.15 * float(rng.random()) ** 5)
                self._drop(depth, rough, rng, max(size, 1.3 / g.unit))
            stages.append(depth.copy())
        return stages

    def _drop(self, depth: Field, rough: Field, rng: np.random.Generator, radius: float) -> None:
        """Adds one drop, somewhat drawn out downwards, to `depth`."""
        g = self.ground
        angle, reach = rng.uniform(0.0, 2 * math.pi), 0.68 * math.sqrt(rng.random())
        x0, y0 = reach * math.cos(angle), reach * math.sin(angle)
        tall = 1.0 + 0.7 * float(rng.random()) ** 2
        far = 1.5 * radius * tall
        cols = np.searchsorted(g.x[0], (x0 - far, x0 + far))
        rows = np.searchsorted(g.y[:, 0], (y0 - far, y0 + far))
        box = np.s_[rows[0] : rows[1] + 1, cols[0] : cols[1] + 1]
        x, y = g.x[box] - F(x0), g.y[box] - F(y0)
        if not x.size:
            return
        d = np.hypot(x, y / F(tall)) / F(radius) + F(0.09) * rough[box]
        blunt = max(0.32, 1.6 / (radius * g.unit))  # drops on the lens are out of focus
        dome = np.sqrt(np.clip(1.0 - d * d, 0.0, 1.0)) * smoothstep(1.0, 1.0 - blunt, d)
        np.maximum(depth[box], dome, out=depth[box])

    def _loss(self, depth: Field) -> Field:
        return np.asarray(F(self._liquid.opaque) * smoothstep(0.0, 0.55, depth), F)

    def veil(self, t_s: float, scene: Planes3) -> Veil:
        """At a time within the episode, over a scene at the veil's size."""
        at = self.episode.grown(t_s) * BURSTS
        stage = min(BURSTS - 1, int(at))
        fresh = F(ease(min(1.0, 2.0 * (at - stage))))  # a drop lands fast, then sits
        loss = self._losses[stage] + fresh * (self._losses[stage + 1] - self._losses[stage])
        loss = loss * self._wipe.left(self.episode.gone(t_s))
        own, light = F(self._liquid.own), self.ground.light
        parts: list[Field] = []
        for plane, part in zip(scene, self._colour, strict=True):
            soft = _soft(plane, 0.006 * self.ground.unit)
            bent = cv2.remap(
                soft, self._column, self._row, cv2.INTER_LINEAR, None, cv2.BORDER_REFLECT
            )
            parts.append(loss * ((F(1.0) - own) * bent + own * F(part) * light * self._body))
        y = np.clip(parts[0] + loss * self._shine * F(self._liquid.shine) * light, F(0.0), F(219.0))
        direct = np.asarray(F(1.0) - loss, F)
        return Veil(direct, np.asarray(y, F), parts[1], parts[2])


class Wipe:
    """A pass over the lens: a soft edge that sweeps across the view."""

    def __init__(self, ground: Ground, rng: np.random.Generator) -> None:
        angle = float(rng.uniform(-0.5, 0.5)) + (math.pi if rng.random() < 0.5 else 0.0)
        along = ground.x * F(math.cos(angle)) + ground.y * F(math.sin(angle))
        bow = F(0.25) * (ground.x * F(math.sin(angle)) - ground.y * F(math.cos(angle))) ** 2
        self._along = np.asarray((along + bow + F(0.70)) / F(1.55), F)

    def left(self, gone: float) -> Field:
        """1 where nothing has been wiped yet, 0 behind the edge."""
        if gone <= 0.0:
            return np.ones_like(self._along)
        edge = -0.1 + 1.2 * gone
        return smoothstep(edge - 0.06, edge + 0.06, self._along)


def _soft(field: Field, sigma_px: float) -> Field:
    return np.asarray(cv2.GaussianBlur(field, (0, 0), max(0.4, sigma_px)), F)
