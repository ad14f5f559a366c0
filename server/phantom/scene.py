"""The clear scene: camera, breathing and light over the tissue, the instruments in front of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numba
import numpy as np
from numpy.typing import NDArray

from engines.picture import LUMA_WEIGHTS
from server.phantom.noise import Field, generator
from server.phantom.spec import PhantomSpec
from server.phantom.tissue import Canvas, Painter, Tissue
from server.phantom.tools import GRASPER, HOOK, Pose, draw

CELL = 8  # pixels between the points where the warp is computed; between them it is bilinear
VIEW_RADIUS = 0.66  # of the round field of view, in units; a unit is the picture's shorter side
SHARPEST = 900.0  # pixels a unit beyond which the tissue is enlarged: scopes are no sharper
SLOPE_STEPS = 64.0  # a byte holds slopes of -2 to 2
WHITE = 219.0  # luma levels above black, BT.709 limited range

F = np.float32
U = np.uint64


@dataclass(frozen=True, slots=True)
class Planes:
    """Working planes, sides a multiple of CELL. y: h w, 0-219, black is 0; u, v: h/2 w/2, centred
    on 128. No mask and no grain yet."""

    y: NDArray[np.uint8]
    u: NDArray[np.uint8]
    v: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class View:
    """Where the picture lies in scene units, and its round mask."""

    width: int
    height: int

    @property
    def unit(self) -> float:
        """Pixels a unit."""
        return float(min(self.width, self.height))

    @property
    def padded(self) -> tuple[int, int]:
        """Height and width of the working planes."""
        return -(-self.height // CELL) * CELL, -(-self.width // CELL) * CELL

    def points(self, step: int) -> tuple[Field, Field]:
        """x and y, in units, of the centres of squares of `step` pixels, over the padded planes."""
        h, w = self.padded
        x = ((np.arange(w // step, dtype=F) + F(0.5)) * F(step) - F(self.width / 2)) / F(self.unit)
        y = ((np.arange(h // step, dtype=F) + F(0.5)) * F(step) - F(self.height / 2)) / F(self.unit)
        grid = np.meshgrid(x, y)
        return np.asarray(grid[0], F), np.asarray(grid[1], F)

    def mask(self, step: int) -> Field:
        """1 inside the view, 0 outside, an edge of about two pixels, for squares of `step`."""
        x, y = self.points(step)
        edge = max(2.0, 0.004 * self.unit, step) / self.unit
        inside = np.clip((VIEW_RADIUS - np.hypot(x, y)) / edge + 0.5, 0.0, 1.0)
        return np.asarray(inside, F)

    def spans(self) -> NDArray[np.int32]:
        """For each row of cells the first cell that the view touches and the one past the last."""
        h, w = self.padded
        rows = []
        for row in range(h // CELL):
            top = row * CELL - self.height / 2
            near = 0.0 if top < 0 < top + CELL else min(abs(top), abs(top + CELL))
            reach = ((VIEW_RADIUS + 0.01) * self.unit + 2) ** 2 - near**2
            half = math.sqrt(max(0.0, reach))
            first = max(0, math.floor((self.width / 2 - half) / CELL))
            last = min(w // CELL, math.ceil((self.width / 2 + half) / CELL))
            rows.append((first, last if reach > 0 else first))
        return np.asarray(rows, np.int32)


@dataclass(frozen=True, slots=True)
class Moment:
    """Everything that moves, at one frame. Positions in units; angles in radians."""

    pan: tuple[float, float]
    zoom: float
    roll: float
    breath: float
    pulse: float
    tug: tuple[float, float]
    glint: tuple[float, float]  # slope at the centre that mirrors the light into the lens
    beam: tuple[float, float]
    hook: Pose
    grasper: Pose


class Scene:
    """Renders the clear scene of one spec; every frame stands alone."""

    def __init__(self, spec: PhantomSpec) -> None:
        self.spec = spec
        self.view = View(spec.width, spec.height)
        h, w = self.view.padded
        half = [min(VIEW_RADIUS, side / 2 / self.view.unit) for side in (w, h)]
        canvas = Canvas(1.06 * half[0] + 0.12, 1.06 * half[1] + 0.12, min(self.view.unit, SHARPEST))
        self.painter = Painter(canvas, spec.seed)
        self._load(self.painter.paint())
        dice = generator(spec.seed, 5)
        self._phases = dice.uniform(0.0, 2 * math.pi, 32)
        self._spans = self.view.spans()
        corners = np.meshgrid(np.arange(w // CELL + 1) * CELL, np.arange(h // CELL + 1) * CELL)
        self._gx = ((corners[0] + 0.5 - spec.width / 2) / self.view.unit).astype(F)
        self._gy = ((corners[1] + 0.5 - spec.height / 2) / self.view.unit).astype(F)

    def _load(self, tissue: Tissue) -> None:
        """Packs the tissue for the kernel: 16-bit lanes, so that one multiplication weighs four."""
        canvas = tissue.canvas
        kr, kb = LUMA_WEIGHTS["bt709"]
        r, g, b = (tissue.rgb[..., k] for k in range(3))
        y = kr * r + (1.0 - kr - kb) * g + kb * b
        u, v = 112.0 * (b - y) / (1.0 - kb), 112.0 * (r - y) / (1.0 - kr)
        slopes = (128.0 + SLOPE_STEPS * s for s in (tissue.slope_x, tissue.slope_y))
        self._surface = _pack(WHITE * y, *slopes, 255.0 * tissue.gloss)
        h, w = y.shape
        halves = (cv2.resize(p, (w // 2, h // 2), interpolation=cv2.INTER_AREA) for p in (u, v))
        self._chroma = _pack(*(128.0 + plane for plane in halves))
        coarse = (max(w // 16, 2), max(h // 16, 2))
        self._height = cv2.resize(tissue.height, coarse, interpolation=cv2.INTER_AREA)
        self._grip = cv2.resize(tissue.grip, coarse, interpolation=cv2.INTER_AREA)
        self._canvas = canvas

    def wave(self, index: int, hz: float, phase: int) -> float:
        """A sine near `hz` that comes round with the loop. phase: which of the seed's."""
        turns = max(1, round(hz * self.spec.frames / self.spec.fps))
        angle = 2 * math.pi * ((turns * index) % self.spec.frames) / self.spec.frames
        return math.sin(angle + self._phases[phase])

    def moment(self, index: int) -> Moment:
        """Where everything is at frame `index`."""
        i = index % self.spec.frames

        def sway(slow: float, fast: float, phase: int) -> float:
            return 0.7 * self.wave(i, slow, phase) + 0.3 * self.wave(i, fast, phase + 1)

        breath = self.wave(i, 0.24, 0)
        breath += 0.25 * math.sin(2 * math.asin(max(-1.0, min(1.0, breath))))
        pulse = max(0.0, self.wave(i, 1.15, 1)) ** 3
        pan = (0.045 * sway(0.05, 0.17, 2) + 0.0012 * self.wave(i, 2.3, 4),
               0.030 * sway(0.07, 0.21, 5) + 0.0012 * self.wave(i, 2.9, 7))  # fmt: skip
        zoom, roll = 1.0 + 0.03 * sway(0.04, 0.11, 8), 0.03 * sway(0.05, 0.13, 10)
        tug = (-0.022 + 0.014 * sway(0.10, 0.31, 12), 0.012 + 0.012 * sway(0.12, 0.27, 14))
        bite = 0.5 + 0.5 * self.wave(i, 0.13, 16)
        hook = (0.165 + 0.050 * sway(0.13, 0.53, 17) - pan[0],
                0.060 + 0.035 * sway(0.17, 0.61, 19) - pan[1] + 0.008 * breath)  # fmt: skip
        held = (-0.25 + tug[0] - pan[0], 0.185 + tug[1] - pan[1] + 0.011 * breath)
        return Moment(
            pan=pan, zoom=zoom, roll=roll, breath=breath, pulse=pulse, tug=tug,
            glint=(0.05 + 0.05 * self.wave(i, 0.09, 21), -0.08 + 0.04 * self.wave(i, 0.12, 22)),
            beam=(0.04 * sway(0.06, 0.19, 23), 0.03 * sway(0.08, 0.15, 25)),
            hook=Pose(hook, pivot=(1.15, 0.42), opening=0.25 + 0.2 * bite),
            grasper=Pose(held, pivot=(-1.10, 0.55), opening=0.30),
        )  # fmt: skip

    def render(self, index: int) -> Planes:
        """The clear scene at frame `index`, before mask and grain."""
        now = self.moment(index)
        h, w = self.view.padded
        y = np.zeros((h, w), np.uint8)
        u, v = (np.full((h // 2, w // 2), 128, np.uint8) for _ in range(2))
        unit = self.view.unit
        lean = F(0.45 * SLOPE_STEPS / unit)
        middle = (self.spec.width / 2, self.spec.height / 2)
        hx, hy = (
            F(128.0 + SLOPE_STEPS * glint + float(lean) * side)
            for glint, side in zip(now.glint, middle, strict=True)
        )
        _shade(
            self._surface, self._chroma, self._grid(now), hx, hy, lean, self._spans, y, u, v
        )  # fmt: skip
        for tool, pose in ((GRASPER, now.grasper), (HOOK, now.hook)):
            draw(tool, pose, y, u, v, unit, middle, self._spans)
        return Planes(y, u, v)

    def _grid(self, now: Moment) -> NDArray[np.float32]:
        """Rows, columns, 3: the canvas pixel under each corner of a cell, and the light there."""
        gx, gy = self._gx, self._gy
        c, s = math.cos(now.roll) / now.zoom, math.sin(now.roll) / now.zoom
        x = F(c) * gx - F(s) * gy + F(now.pan[0])
        y = F(s) * gx + F(c) * gy + F(now.pan[1])
        height, grip = self._coarse(self._height, x, y), self._coarse(self._grip, x, y)
        # what is nearer shifts more; what hangs on the diaphragm moves with it
        shift = F(0.25) * (height - F(0.4))
        x = x + shift * F(now.pan[0]) - grip * F(0.004 * now.breath)
        y = y + shift * F(now.pan[1]) - grip * F(0.013 * now.breath + 0.0015 * now.pulse)
        pull = np.exp(((x + F(0.25)) ** 2 + (y - F(0.185)) ** 2) * F(-1 / (2 * 0.13**2)))
        x, y = x - pull * F(now.tug[0]), y - pull * F(now.tug[1])
        r2 = (gx - F(now.beam[0])) ** 2 + (gy - F(now.beam[1])) ** 2
        light = F(1.30) * (F(1.0) + r2 * F(1 / 0.62**2)) ** F(-0.75)
        light *= F(0.9) + F(0.25) * height
        for pose in (now.grasper, now.hook):
            light *= F(1.0) - F(0.34) * pose.shadow(gx, gy)
        grid = np.empty((*x.shape, 3), F)
        grid[..., 0], grid[..., 1] = self._to_canvas(x, y)
        grid[..., 2] = light
        return grid

    def _to_canvas(self, x: Field, y: Field) -> tuple[Field, Field]:
        """Canvas pixels, kept where the kernel may read one more to the right and below."""
        canvas = self._canvas
        h, w = self._surface.shape
        column = np.clip((x + F(canvas.half_x)) * F(canvas.scale) - F(0.5), 1.0, w - 3.0)
        row = np.clip((y + F(canvas.half_y)) * F(canvas.scale) - F(0.5), 1.0, h - 3.0)
        return np.asarray(column, F), np.asarray(row, F)

    def _coarse(self, field: Field, x: Field, y: Field) -> Field:
        h, w = field.shape
        canvas = self._canvas
        column = (x + F(canvas.half_x)) * F(w / (2 * canvas.half_x)) - F(0.5)
        row = (y + F(canvas.half_y)) * F(h / (2 * canvas.half_y)) - F(0.5)
        taken = cv2.remap(field, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(taken, F)


def _pack(*channels: Field) -> NDArray[np.uint64]:
    """Up to four channels of 0-255 in one word, 16 bits each, the first lowest. h w."""
    word = np.zeros(channels[0].shape, np.uint64)
    for place, channel in enumerate(channels):
        byte = np.clip(np.rint(channel), 0, 255).astype(np.uint64)
        word |= byte << np.uint64(16 * place)
    return word


@numba.njit(inline="always")
def _tap(texture, row, place, ax, ay):  # type: ignore[no-untyped-def]
    """Bilinear, all lanes at once: 8-bit values under weights that sum to 256 stay in 16 bits."""
    w11 = (ax * ay) >> U(8)
    w10 = ay - w11
    w01 = ax - w11
    w00 = U(256) - ax - w10
    return (
        texture[place] * w00
        + texture[place + U(1)] * w01
        + texture[place + row] * w10
        + texture[place + row + U(1)] * w11
    )


@numba.njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _shade(surface, chroma, grid, hx0, hy0, lean, spans, y_out, u_out, v_out):  # type: ignore[no-untyped-def]
    """Warps the tissue through the grid, lights it, and adds what the wet surface mirrors.

    Mirroring is a function of how far the slope is from the one that sends the scope's light back
    into its lens: a hard core and a soft sheen round it (after Blinn, SIGGRAPH 1977).
    """
    stride, half = U(surface.shape[1]), U(chroma.shape[1])
    tex, hue = surface.reshape(-1), chroma.reshape(-1)
    width = y_out.shape[1]
    yo, uo, vo = y_out.reshape(-1), u_out.reshape(-1), v_out.reshape(-1)
    e = F(1 / CELL)
    low, byte = U(0xFFFF), U(255)
    core, sheen = F(270 / 256 / 255), F(27 / 256 / 255)
    for gy in range(spans.shape[0]):
        for gx in range(spans[gy, 0], spans[gy, 1]):
            ax, ay, al = grid[gy, gx, 0], grid[gy, gx, 1], grid[gy, gx, 2]
            bx, by, bl = grid[gy, gx + 1, 0], grid[gy, gx + 1, 1], grid[gy, gx + 1, 2]
            down_x, down_y = (grid[gy + 1, gx, 0] - ax) * e, (grid[gy + 1, gx, 1] - ay) * e
            down_l = (grid[gy + 1, gx, 2] - al) * e
            right_x, right_y = (
                (grid[gy + 1, gx + 1, 0] - bx) * e,
                (grid[gy + 1, gx + 1, 1] - by) * e,
            )
            right_l = (grid[gy + 1, gx + 1, 2] - bl) * e
            for yy in range(0, CELL, 2):
                fy = F(yy)
                lx, ly, ll = ax + down_x * fy, ay + down_y * fy, al + down_l * fy
                dx, dy = (bx + right_x * fy - lx) * e, (by + right_y * fy - ly) * e
                dl = (bl + right_l * fy - ll) * e
                py = gy * CELL + yy
                for xx in range(0, CELL, 2):
                    px = gx * CELL + xx
                    fx = F(xx)
                    tx0, ty0, lit = lx + dx * fx, ly + dy * fx, ll + dl * fx
                    mirror = F(0)
                    hx, hy = hx0 - lean * F(px), hy0 - lean * F(py)
                    for ky in range(2):
                        for kx in range(2):
                            tx = U(np.int32((tx0 + F(kx) * dx + F(ky) * down_x) * F(256)))
                            ty = U(np.int32((ty0 + F(kx) * dy + F(ky) * down_y) * F(256)))
                            place = (ty >> U(8)) * stride + (tx >> U(8))
                            q = _tap(tex, stride, place, tx & byte, ty & byte)
                            ex = F(np.int32((q >> U(16)) & low)) * F(1 / 256) - hx
                            ey = F(np.int32((q >> U(32)) & low)) * F(1 / 256) - hy
                            d2 = ex * ex + ey * ey
                            hard = max(F(0), F(1) - d2 * F(1 / 48.0))
                            soft = max(F(0), F(1) - d2 * F(1 / 1430.0))
                            gleam = (hard * hard * core + soft * sheen) * F(np.int32(q >> U(48)))
                            gleam *= lit
                            mirror += gleam
                            luma = F(np.int32(q & low)) * F(1 / 256) * lit + gleam
                            where = U((py + ky) * width + px + kx)
                            yo[where] = np.uint8(np.int32(min(luma + F(0.5), F(219))))
                    cx, cy = (tx0 - F(0.5)) * F(0.5), (ty0 - F(0.5)) * F(0.5)
                    tx, ty = U(np.int32(cx * F(256))), U(np.int32(cy * F(256)))
                    q = _tap(hue, half, (ty >> U(8)) * half + (tx >> U(8)), tx & byte, ty & byte)
                    # a highlight is as white as the lamp
                    keep = lit * max(F(0), F(1) - mirror * F(1 / (4 * 219))) * F(1 / 256)
                    where = U((py >> 1) * (width >> 1) + (px >> 1))
                    cu = F(np.int32(q & low)) - F(32768)
                    cv = F(np.int32((q >> U(16)) & low)) - F(32768)
                    uo[where] = np.uint8(np.int32(min(F(240), max(F(16), F(128.5) + cu * keep))))
                    vo[where] = np.uint8(np.int32(min(F(240), max(F(16), F(128.5) + cv * keep))))
