"""The sample feed: a phantom scene with smoke, fog and splashes, and the truth behind it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import cv2
import numba
import numpy as np
from numpy.typing import NDArray

from engines.picture import Yuv420
from engines.restorer import (
    ABSENT,
    KINDS,
    NOTHING,
    SPLASH_TYPES,
    Degradation,
    Detection,
    SplashType,
    level,
)
from server.phantom.lens import Fog, Splash
from server.phantom.noise import TILE, Field, generator
from server.phantom.scene import Planes, Scene
from server.phantom.smoke import Smoke
from server.phantom.spec import Episode, PhantomSpec
from server.phantom.veil import STEP, Ground, Veil
from server.spec import Kind

GRAIN_LEVELS = 1.1  # deviation of the sensor's noise, in 8-bit luma levels

F = np.float32
Plane = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class PhantomFrame:
    """One frame. truth: the same scene with nothing in the way, the same grain included; it is
    `picture` itself where nothing is. transmission: share of each place's own light that arrives
    unblurred, h w float32 at a quarter of the picture's size, 1 outside the view. detection:
    coverage is of the field of view; a kind's level is 0 exactly when it is not there at all."""

    picture: Yuv420
    truth: Yuv420
    transmission: Field
    detection: Detection


class Feed:
    """Renders the frames of a spec, in any order: each is a function of the spec and its index."""

    def __init__(self, spec: PhantomSpec) -> None:
        self.spec = spec
        self.scene = Scene(spec)
        view = self.scene.view
        self._ground = Ground.of(view)
        self._smoke: list[Smoke] = []
        self._fog: list[Fog] = []
        self._splash: list[Splash] = []
        for place, episode in enumerate(spec.timeline()):
            seed = spec.seed + 1009 * place  # each episode looks its own way
            if episode.kind == "smoke":
                self._smoke.append(Smoke(self._ground, seed, episode))
            elif episode.kind == "fog":
                self._fog.append(Fog(self._ground, seed, episode))
            else:
                turn = SPLASH_TYPES[(spec.seed + len(self._splash)) % len(SPLASH_TYPES)]
                kind = spec.splash_type or turn
                self._splash.append(Splash(self._ground, seed, episode, kind))
        self._mask = tuple(np.rint(255.0 * view.mask(step)).astype(np.uint8) for step in (1, 2))
        rng = generator(spec.seed, 6)
        grain = GRAIN_LEVELS * rng.standard_normal((TILE, TILE))
        self._grain = np.clip(np.rint(grain), -5, 5).astype(np.int8)
        self._offsets = rng.integers(0, TILE, (997, 2))
        self._nothing = np.ones(self._ground.x[self._crop(STEP)].shape, F)
        self._warm()

    def frame(self, index: int) -> PhantomFrame:
        """Frame `index` with its truth; the loop repeats after spec.frames."""
        i = index % self.spec.frames
        scene = self.scene.render(i)
        veil, detection = self._veil(i, scene)
        truth = self._finish(scene, i, None)
        if veil is None:
            return PhantomFrame(truth, truth, self._nothing.copy(), NOTHING)
        direct = F(1.0) - (F(1.0) - veil.direct) * self._ground.view
        transmission = np.ascontiguousarray(direct[self._crop(STEP)])
        return PhantomFrame(self._finish(scene, i, veil), truth, transmission, detection)

    def picture(self, index: int) -> Yuv420:
        """The picture of frame `index` alone: what a camera would send."""
        i = index % self.spec.frames
        scene = self.scene.render(i)
        return self._finish(scene, i, self._veil(i, scene)[0])

    def pictures(self) -> Iterator[Yuv420]:
        """The pictures in order, for spec.loops loops (0: for ever); it does not wait for time."""
        last = self.spec.loops * self.spec.frames
        for index in range(last) if last else count():
            yield self.picture(index)

    def _warm(self) -> None:
        """Compiles the kernels now rather than at the first frame."""
        scene = self.scene.render(0)
        blank = np.zeros_like(self._ground.x)
        for veil in (None, Veil(blank, blank, blank, blank)):
            self._finish(scene, 0, veil)

    def _crop(self, step: int) -> tuple[slice, slice]:
        return np.s_[: -(-self.spec.height // step), : -(-self.spec.width // step)]

    def _veil(self, i: int, scene: Planes) -> tuple[Veil | None, Detection]:
        """All that lies over the scene at frame i, the farthest first, and what to call it."""
        t_s = i / float(self.spec.fps)
        found: dict[Kind, Degradation] = {}
        splash_type: SplashType | None = None
        behind: Veil | None = None
        small: Veil | None = None  # the scene itself at the veil's size, direct light 0

        def lay(front: Veil, episode: Episode) -> Veil:
            covered = self._ground.covered(front.direct)
            found[episode.kind] = Degradation(1.0, covered, level(covered))
            return front if behind is None else front.over(behind)

        for smoke in self._smoke:
            if smoke.episode.on(t_s):
                behind = lay(smoke.veil(t_s, self.scene.moment(i).hook.tip), smoke.episode)
        soilings: list[Fog | Splash] = [*self._fog, *self._splash]
        for soiling in soilings:
            if soiling.episode.on(t_s):
                small = small or self._shrunk(scene)
                seen = small if behind is None else behind.over(small)
                behind = lay(soiling.veil(t_s, (seen.y, seen.u, seen.v)), soiling.episode)
                if isinstance(soiling, Splash):
                    splash_type = soiling.kind
        if behind is None:
            return None, NOTHING
        smoke_, fog_, splash_ = (found.get(kind, ABSENT) for kind in KINDS)
        return behind, Detection(smoke_, fog_, splash_, splash_type)

    def _shrunk(self, scene: Planes) -> Veil:
        h, w = self._ground.x.shape
        y = cv2.resize(scene.y, (w, h), interpolation=cv2.INTER_AREA).astype(F)
        u, v = (
            cv2.resize(plane, (w, h), interpolation=cv2.INTER_AREA).astype(F) - F(128.0)
            for plane in (scene.u, scene.v)
        )
        return Veil(np.zeros_like(y), y, u, v)

    def _finish(self, scene: Planes, i: int, veil: Veil | None) -> Yuv420:
        """Veil, mask and grain over the working planes, in limited range, cut to size."""
        y, u, v = (np.empty_like(plane) for plane in (scene.y, scene.u, scene.v))
        row, col = self._offsets[i % len(self._offsets)]
        luma, chroma = self._mask
        if veil is None:
            _plain_luma(scene.y, luma, self._grain, row, col, y)
            _plain_chroma(scene.u, scene.v, chroma, u, v)
        else:
            _veiled_luma(scene.y, luma, self._grain, row, col, veil.direct, veil.y, y)
            _veiled_chroma(scene.u, scene.v, chroma, veil.direct, veil.u, veil.v, u, v)
        whole, halved = self._crop(1), self._crop(2)
        cut = np.ascontiguousarray
        return Yuv420(cut(y[whole]), cut(u[halved]), cut(v[halved]))


# Kernels. Scene luma is 0-219 and becomes 16-235; a row of the grain tile is read from a shifted
# place in each frame. The same grain lies on picture and truth.


@numba.njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _plain_luma(scene, mask, grain, row, col, out):  # type: ignore[no-untyped-def]
    h, w = scene.shape
    noise = np.empty(w, np.int32)
    for y in range(h):
        _grain_row(grain, y + row, col, noise)
        for x in range(w):
            m = np.int32(mask[y, x])
            value = min(np.int32(219), max(np.int32(0), np.int32(scene[y, x]) + noise[x]))
            out[y, x] = np.uint8(np.int32(16) + (value * m * np.int32(257) + np.int32(32768) >> 16))


@numba.njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _plain_chroma(scene_u, scene_v, mask, out_u, out_v):  # type: ignore[no-untyped-def]
    h, w = scene_u.shape
    for y in range(h):
        for x in range(w):
            m = F(mask[y, x]) * F(1 / 255)
            out_u[y, x] = np.uint8(F(128.5) + (F(scene_u[y, x]) - F(128)) * m)
            out_v[y, x] = np.uint8(F(128.5) + (F(scene_v[y, x]) - F(128)) * m)


@numba.njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _veiled_luma(scene, mask, grain, row, col, direct, add, out):  # type: ignore[no-untyped-def]
    h, w = scene.shape
    noise = np.empty(w, np.int32)
    share, light = np.empty(w, F), np.empty(w, F)
    for y in range(h):
        _grain_row(grain, y + row, col, noise)
        _spread(direct, y, 4, share)
        _spread(add, y, 4, light)
        for x in range(w):
            value = share[x] * F(scene[y, x]) + light[x] + F(noise[x])
            value = min(F(219), max(F(0), value)) * (F(mask[y, x]) * F(1 / 255))
            out[y, x] = np.uint8(np.int32(F(16.5) + value))


@numba.njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _veiled_chroma(scene_u, scene_v, mask, direct, add_u, add_v, out_u, out_v):  # type: ignore[no-untyped-def]
    h, w = scene_u.shape
    share, light_u, light_v = np.empty(w, F), np.empty(w, F), np.empty(w, F)
    for y in range(h):
        _spread(direct, y, 2, share)
        _spread(add_u, y, 2, light_u)
        _spread(add_v, y, 2, light_v)
        for x in range(w):
            m = F(mask[y, x]) * F(1 / 255)
            cu = share[x] * (F(scene_u[y, x]) - F(128)) + light_u[x]
            cv = share[x] * (F(scene_v[y, x]) - F(128)) + light_v[x]
            out_u[y, x] = np.uint8(np.int32(min(F(240), max(F(16), F(128.5) + cu * m))))
            out_v[y, x] = np.uint8(np.int32(min(F(240), max(F(16), F(128.5) + cv * m))))


@numba.njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _grain_row(grain, row, col, out):  # type: ignore[no-untyped-def]
    line = grain[row & (TILE - 1)]
    for x in range(out.size):
        out[x] = line[(x + col) & (TILE - 1)]


@numba.njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _spread(field, y, step, out):  # type: ignore[no-untyped-def]
    """One row, `step` times as fine, of a field between its samples' centres; out is `step` times
    as wide as the field."""
    h, w = field.shape
    at = (F(y) + F(0.5)) / F(step) - F(0.5)
    upper = int(math.floor(at))
    weight = at - F(upper)
    a, b = field[max(upper, 0)], field[min(upper + 1, h - 1)]
    half = step // 2
    left = a[0] + (b[0] - a[0]) * weight
    for x in range(half):
        out[x] = left
    for cell in range(w - 1):
        right = a[cell + 1] + (b[cell + 1] - a[cell + 1]) * weight
        slope = (right - left) / F(step)
        for k in range(step):
            out[cell * step + half + k] = left + slope * (F(k) + F(0.5))
        left = right
    for x in range((w - 1) * step + half, w * step):
        out[x] = left
