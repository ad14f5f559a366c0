"""The tissue of the phantom: organs laid out on one canvas, with their colour, relief and wetness.

The canvas is in scene units: the view is about one unit high, x to the right, y down, the origin
where the camera looks. Nothing of it comes from a photograph: it is noise, distance fields and
random walks, coloured by hand after what surgical frames look like.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from server.phantom.noise import Field, balls, cells, generator, octaves, smoothstep

Colour3 = tuple[float, float, float]

F = np.float32


@dataclass(frozen=True, slots=True)
class Canvas:
    """Where the tissue is drawn: half extents in units, and pixels a unit."""

    half_x: float
    half_y: float
    scale: float

    @property
    def shape(self) -> tuple[int, int]:
        return round(2 * self.half_y * self.scale), round(2 * self.half_x * self.scale)

    @property
    def extent(self) -> tuple[float, float]:
        return 2 * self.half_y, 2 * self.half_x

    def mesh(self) -> tuple[Field, Field]:
        """x and y of every pixel, h w each."""
        h, w = self.shape
        x = (np.arange(w, dtype=np.float32) + 0.5) / self.scale - self.half_x
        y = (np.arange(h, dtype=np.float32) + 0.5) / self.scale - self.half_y
        grid = np.meshgrid(x, y)
        return np.asarray(grid[0], np.float32), np.asarray(grid[1], np.float32)

    def blur(self, field: Field, sigma: float) -> Field:
        """Gaussian of `sigma` units; wide ones at reduced size."""
        pixels = sigma * self.scale
        step = max(1, int(pixels / 4))
        if step == 1:
            return np.asarray(cv2.GaussianBlur(field, (0, 0), max(pixels, 0.3)), np.float32)
        h, w = field.shape
        small = cv2.resize(
            field, (max(w // step, 2), max(h // step, 2)), interpolation=cv2.INTER_AREA
        )
        small = cv2.GaussianBlur(small, (0, 0), pixels / step)
        return np.asarray(cv2.resize(small, (w, h), interpolation=cv2.INTER_CUBIC), np.float32)


@dataclass(frozen=True, slots=True)
class Tissue:
    """The finished canvas. rgb: h w 3, display values 0-1 under even light; slope_x, slope_y: of
    the wet surface; gloss: how strongly it mirrors, 0-1; height: coarse, 0-1, nearer is higher;
    grip: how far it moves with breathing, 0-1."""

    canvas: Canvas
    rgb: NDArray[np.float32]
    slope_x: Field
    slope_y: Field
    gloss: Field
    height: Field
    grip: Field


@dataclass(frozen=True, slots=True)
class Organ:
    """One layer: where it is (0-1), its colour (h w 3, linear), relief in units, and surface."""

    mask: Field
    colour: NDArray[np.float32]
    relief: Field
    gloss: float
    wet: float  # slope of the fine bumps that break highlights up
    near: float  # height above the background
    grip: float


class Painter:
    """Draws the organs of one seed on one canvas."""

    def __init__(self, canvas: Canvas, seed: int) -> None:
        self.canvas = canvas
        self.seed = seed
        self.x, self.y = canvas.mesh()
        bend = self.noise(1, 0.45, 3)
        sway = self.noise(2, 0.45, 3)
        self.wx, self.wy = self.x + 0.02 * bend, self.y + 0.02 * sway  # no outline is straight
        dice = generator(seed, 3)
        self.shift = dice.uniform(-0.03, 0.03, 8)
        self.warmth = float(dice.uniform(-0.03, 0.03))
        table = generator(seed, 4).uniform(0.1, 0.9, (2, 64, 64)).astype(np.float32)
        self.jitter = (np.ascontiguousarray(table[0]), np.ascontiguousarray(table[1]))

    def noise(self, feature: int, cell: float, count: int = 4, gain: float = 0.5) -> Field:
        rng = generator(self.seed, 100 + feature)
        return octaves(rng, self.canvas.extent, self.canvas.shape, cell, count, gain)

    def tint(self, srgb: Colour3, *amounts: tuple[Field, Colour3]) -> NDArray[np.float32]:
        """A colour, mixed towards others by fields of 0-1: h w 3, linear light."""
        base = np.asarray(srgb, np.float32) / 255.0
        out = np.broadcast_to(base**2.2, (*self.x.shape, 3)).astype(np.float32)
        for share, other in amounts:
            target = (np.asarray(other, np.float32) / 255.0) ** 2.2
            out += np.clip(share, 0.0, 1.0)[..., None] * (target - out)
        return out

    def vessels(
        self,
        feature: int,
        roots: list[tuple[float, float, float]],
        length: float,
        width: float,
        branches: int = 3,
        wander: float = 0.35,
    ) -> Field:
        """Branching walks from roots (x, y, heading): how much vessel is in each pixel, 0-1."""
        rng = generator(self.seed, 300 + feature)
        scale, (h, w) = self.canvas.scale, self.canvas.shape
        sheet = np.zeros((h, w), np.uint8)
        lines: list[tuple[float, NDArray[np.int32]]] = []
        stack = [(x, y, a, length, width, branches) for x, y, a in roots]
        step = 0.012
        while stack:
            x, y, a, left, thick, depth = stack.pop()
            points = [(x, y)]
            curl = 0.0
            for _ in range(max(3, int(left / step))):
                curl = 0.9 * curl + wander * rng.standard_normal() * 0.25
                a += curl * 0.5
                x, y = x + step * math.cos(a), y + step * math.sin(a)
                points.append((x, y))
                if depth and rng.random() < 0.14:
                    side = a + rng.choice((-1.0, 1.0)) * rng.uniform(0.4, 1.0)
                    stack.append(
                        (x, y, side, left * rng.uniform(0.35, 0.7), thick * 0.62, depth - 1)
                    )
            places = (np.asarray(points) + (self.canvas.half_x, self.canvas.half_y)) * scale * 16
            lines.append((thick * scale, places.astype(np.int32)))
        for pixels, line in sorted(lines, key=lambda item: item[0]):  # the thick over the thin
            ink = min(1.0, 0.35 + 0.65 * pixels)  # a vessel under a pixel is faint, not gone
            thickness = max(1, round(pixels))
            cv2.polylines(sheet, [line], False, round(255 * ink), thickness, cv2.LINE_AA, 4)
        share = np.asarray(sheet / F(255.0), F)
        return self.canvas.blur(share, 0.0011)

    # ---- the organs, back to front ----

    def wall(self) -> Organ:
        """Peritoneum over the abdominal wall: pink, folded, with branching vessels."""
        folds = self.noise(10, 0.30, 3)
        ridges = np.exp(
            -(((self.wy * 0.8 + self.wx * 0.45 + 0.05 * folds) % 0.19 - 0.095) ** 2) / 0.0012
        )
        mottle, fine = self.noise(11, 0.10, 4), self.noise(12, 0.012, 2)
        roots = [
            (-0.1, -0.62, 1.2),
            (0.35, -0.6, 1.9),
            (0.75, -0.3, 2.9),
            (0.8, 0.1, 3.3),
            (0.6, 0.45, -2.2),
            (0.2, -0.55, 2.4),
            (0.75, -0.05, 2.6),
            (0.7, 0.3, 2.9),
        ]
        red = self.vessels(1, roots, 0.55, 0.0046)
        thin = self.vessels(2, [(x + 0.07, y + 0.04, a) for x, y, a in roots], 0.6, 0.002, 3, 0.5)
        colour = self.tint(
            (190, 122, 112),
            (0.35 + 0.3 * mottle, (163, 84, 78)),
            (0.25 * smoothstep(0.3, 1.6, folds), (214, 165, 130)),
            (0.10 * fine, (140, 66, 60)),
            (0.8 * red, (112, 26, 30)),
            (0.6 * thin, (138, 44, 44)),
        )
        relief = 0.025 * folds + 0.012 * ridges + 0.0009 * fine
        return Organ(np.ones_like(self.x), colour, relief, 0.55, 0.16, 0.0, 0.35)

    def liver(self) -> Organ:
        """A lobe from the upper left with a rounded lower rim: dark red-brown, smooth, glossy."""
        x, y = self.wx, self.wy
        s = self.shift
        edge = (
            0.10 + s[0] - (0.35 + s[1]) * (x + 0.2) - 0.5 * x * x + 0.02 * np.sin(9 * x + s[2] * 60)
        )
        depth = (edge - y) / np.sqrt(1.0 + (0.35 + x) ** 2)
        mask = smoothstep(-0.004, 0.004, depth)
        dome = np.sqrt(1.0 - (1.0 - np.clip(depth / 0.16, 0.0, 1.0)) ** 2)
        broad, mottle = self.noise(20, 0.35, 3), self.noise(21, 0.05, 3)
        f1, f2, own = cells(x, y, 0.011, *self.jitter)
        lobules = smoothstep(0.0, 0.35, f2 - f1)
        colour = self.tint(
            (116, 50, 44),
            (0.35 + 0.35 * broad, (88, 30, 30)),
            (0.20 * mottle, (142, 74, 60)),
            (0.25 * (1.0 - lobules), (92, 34, 34)),
            (0.15 * own, (128, 54, 44)),
            (
                0.5 * np.exp(-(((depth - 0.012) / 0.014) ** 2)),
                (146, 82, 72),
            ),  # thin capsule at the rim
        )
        relief = 0.09 * dome + 0.036 * broad + 0.0010 * mottle + 0.0002 * lobules
        return Organ(mask, colour, relief, 0.85, 0.045, 0.35, 1.0)

    def gallbladder(self) -> Organ:
        """A pear hanging from the rim: pale, greenish grey to pink, with fine vessels."""
        s = self.shift
        cx, cy, angle = -0.13 + s[3], 0.17 + s[4], 0.35 + 4 * s[5]
        u = (self.wx - cx) * math.cos(angle) + (self.wy - cy) * math.sin(angle)
        v = -(self.wx - cx) * math.sin(angle) + (self.wy - cy) * math.cos(angle)
        girth = 0.125 - 0.13 * np.clip(u + 0.05, -0.1, 0.4)
        r2 = (u / 0.30) ** 2 + (v / girth) ** 2
        inside = 1.0 - np.sqrt(np.maximum(r2, 1e-6))
        mask = smoothstep(-0.02, 0.03, inside)
        dome = np.sqrt(np.clip(1.04 - r2, 0.0, 1.0))
        mottle, fine = self.noise(30, 0.11, 4), self.noise(31, 0.02, 2)
        roots = [
            (cx - 0.24, cy - 0.02, 0.2),
            (cx - 0.1, cy - 0.09, 0.9),
            (cx + 0.22, cy + 0.1, 3.6),
            (cx - 0.05, cy + 0.1, -0.7),
        ]
        red = self.vessels(3, roots, 0.3, 0.0028, 3, 0.4)
        colour = self.tint(
            (196, 156, 134),
            (0.30 + 0.35 * mottle, (172, 112, 100)),
            (0.4 * smoothstep(0.0, 1.5, -mottle), (158, 146, 114)),
            (0.10 * fine, (150, 92, 80)),
            (0.75 * red, (122, 36, 36)),
        )
        relief = 0.12 * dome + 0.004 * mottle
        return Organ(mask, colour, relief, 0.9, 0.09, 0.45, 0.9)

    def fat(self) -> Organ:
        """Omentum along the bottom: yellow lobules with reddish clefts and a few vessels."""
        x, y, s = self.wx, self.wy, self.shift
        line = (
            0.30
            + s[6]
            - 0.10 * np.sin(3.2 * x + 1.0)
            - 0.20 * np.clip(x - 0.25, 0, 1)
            + 0.04 * self.noise(40, 0.12, 2)
        )
        depth = y - line
        mask = smoothstep(-0.006, 0.006, depth)
        warp = 0.03 * self.noise(41, 0.12, 2)
        big, own = balls(x + warp, y * 1.15 - warp, 0.10, *self.jitter)
        small, _ = balls(x - warp, y + warp, 0.036, *self.jitter)
        pile = 0.075 * big + 0.010 * small
        cleft = smoothstep(0.004, -0.03, pile - self.canvas.blur(pile, 0.03))
        rim = np.sqrt(np.clip(depth / 0.06, 0.0, 1.0))
        mottle = self.noise(42, 0.05, 3)
        red = self.vessels(4, [(-0.5, 0.42, 0.1), (0.1, 0.5, -0.4), (0.55, 0.35, 2.8)], 0.5, 0.003)
        colour = self.tint(
            (236, 166, 84),
            (0.85 * cleft, (150, 70, 34)),
            (0.5 * own - 0.1, (246, 202, 122)),
            (0.2 * mottle, (218, 138, 66)),
            (0.6 * red, (150, 48, 36)),
        )
        relief = pile * (0.4 + 0.6 * rim) + 0.03 * rim + 0.001 * mottle
        return Organ(mask, colour, relief, 0.75, 0.12, 0.5, 0.6)

    def wound(self) -> Organ:
        """Where the hook works: raw red tissue, char, white strands of areolar tissue."""
        x, y = self.wx - 0.17 - self.shift[7], self.wy - 0.07
        rough, grain = self.noise(50, 0.07, 4, 0.5), self.noise(51, 0.03, 3, 0.5)
        inside = 1.0 - np.sqrt((x / 0.19) ** 2 + ((y - 0.25 * x) / 0.115) ** 2) + 0.16 * rough
        mask = smoothstep(0.0, 0.22, inside)
        strands = np.exp(-((np.sin(30 * (y + 0.6 * x) + 1.6 * rough)) ** 2) / 0.10)
        char = 0.8 * smoothstep(1.0, 2.2, grain + 0.6 * rough) * smoothstep(0.2, 0.6, inside)
        blood = smoothstep(0.3, 1.4, -rough)
        colour = self.tint(
            (160, 62, 52),
            (0.75 * blood, (96, 14, 16)),
            (0.45 * strands * (1 - blood), (214, 170, 140)),
            (0.3 * smoothstep(0.4, 1.5, rough), (206, 150, 84)),
            (0.85 * char, (44, 26, 20)),
        )
        relief = 0.014 * rough + 0.003 * grain + 0.004 * strands
        return Organ(mask, colour, relief, 1.0, 0.22, 0.25, 0.7)

    def paint(self) -> Tissue:
        """Lays the organs over one another; each casts a soft shadow on what it touches."""
        c = self.canvas
        layers: list[Callable[[], Organ]] = [
            self.wall,
            self.fat,
            self.wound,
            self.liver,
            self.gallbladder,
        ]
        h, w = c.shape
        colour = np.zeros((h, w, 3), np.float32)
        fields = {
            name: np.zeros((h, w), np.float32)
            for name in ("sx", "sy", "relief", "gloss", "wet", "near", "grip")
        }
        shade = np.ones((h, w), np.float32)
        for make in layers:
            organ = make()
            m = organ.mask
            shade *= 1.0 - 0.60 * c.blur(m, 0.04) * (1.0 - m) - 0.2 * c.blur(m, 0.010) * (1.0 - m)
            shade = shade * (1.0 - m) + m
            colour += m[..., None] * (organ.colour - colour)
            sy, sx = np.gradient(c.blur(organ.relief, 0.0022), np.float32(1.0 / c.scale))
            new = (sx, sy, organ.relief, organ.gloss, organ.wet, organ.near, organ.grip)
            for field, value in zip(fields.values(), new, strict=True):
                field += m * (value - field)
        sx, sy, near = fields["sx"], fields["sy"], fields["near"]
        # coaxial light: what faces the scope is bright, what turns away darkens
        facing = 1.0 / np.sqrt(1.0 + sx * sx + sy * sy)
        light = shade * (0.20 + 0.80 * facing**1.5) * (0.80 + 0.5 * c.blur(near, 0.05))
        for band, power in enumerate((0.88, 1.06, 1.10)):  # light that went through flesh is red
            colour[..., band] *= light**power
        bump_x, bump_y = (fields["wet"] * self.noise(k, 0.035, 3, 0.8) for k in (60, 61))
        warm = np.asarray([1.0 + self.warmth, 1.0, 1.0 - self.warmth], np.float32)
        rgb = np.clip(colour * warm, 0.0, 1.0) ** np.float32(1 / 2.2)
        return Tissue(
            canvas=c,
            rgb=np.asarray(rgb, F),
            slope_x=sx + bump_x,
            slope_y=sy + bump_y,
            gloss=fields["gloss"],
            height=c.blur(near + 2.0 * fields["relief"], 0.02),
            grip=c.blur(fields["grip"], 0.04),
        )
