"""The instruments: rods of metal, insulation and ceramic, hinged at a trocar off the view."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from server.phantom.noise import Field

F = np.float32
Plane = NDArray[np.uint8]
HINGE = 0.14  # of jaws, behind the tip
JAW_SWING_RAD = 0.42  # of each jaw, fully open
STEPS = 64  # entries across a rod in the table of materials

# Row of each material in MATERIALS
STEEL, INSULATION, CERAMIC, DARK = range(4)


@dataclass(frozen=True, slots=True)
class Part:
    """A rod from a to b in the tool's own frame: s back along the shaft from the tip, n across;
    units. ridges: cuts a unit along it (jaw teeth), 0 for none."""

    a: tuple[float, float]
    b: tuple[float, float]
    radius_a: float
    radius_b: float
    material: int
    jaw: int = 0  # 1 or -1: swings open with the pose
    ridges: float = 0.0


@dataclass(frozen=True, slots=True)
class Pose:
    """Where a tool is: tip and trocar in units, jaws from 0 (shut) to 1."""

    tip: tuple[float, float]
    pivot: tuple[float, float]
    opening: float

    @property
    def axis(self) -> tuple[float, float]:
        """Unit vector from the tip towards the trocar."""
        dx, dy = self.pivot[0] - self.tip[0], self.pivot[1] - self.tip[1]
        length = math.hypot(dx, dy)
        return dx / length, dy / length

    def shadow(self, x: Field, y: Field) -> Field:
        """Soft shadow on the tissue below, 0-1; the lamp sits a little above the lens."""
        (ax, ay), (tx, ty) = self.axis, self.tip
        dx, dy = x - F(tx - 0.01), y - F(ty + 0.045)
        along = dx * F(ax) + dy * F(ay)
        across = dy * F(ax) - dx * F(ay)
        start = np.clip(along * F(12.0), 0.0, 1.0)
        soft = F(0.030) + F(0.05) * np.clip(along, 0.0, 1.0)
        return np.asarray(start * np.exp(-((across / soft) ** 2)), F)


HOOK: tuple[Part, ...] = (
    Part((0.125, 0.0), (1.80, 0.0), 0.032, 0.064, INSULATION),
    Part((0.118, 0.0), (0.136, 0.0), 0.033, 0.033, DARK),
    Part((0.085, 0.0), (0.122, 0.0), 0.018, 0.029, CERAMIC),
    Part((0.004, 0.0), (0.092, 0.0), 0.0072, 0.0086, STEEL),
    Part((0.002, 0.0), (0.006, 0.040), 0.0070, 0.0056, STEEL),
)
GRASPER: tuple[Part, ...] = (
    Part((0.20, 0.0), (1.80, 0.0), 0.032, 0.064, STEEL),
    Part((0.188, 0.0), (0.216, 0.0), 0.0325, 0.0325, DARK),
    Part((0.135, 0.0), (0.190, 0.0), 0.022, 0.031, STEEL),
    Part((0.0, -0.002), (0.14, -0.006), 0.0105, 0.017, STEEL, jaw=-1),
    Part((0.0, 0.002), (0.14, 0.006), 0.0105, 0.017, STEEL, jaw=1, ridges=60.0),
    Part((0.136, 0.0), (0.140, 0.0), 0.008, 0.008, DARK),
)


def _profile(base: float, peaks: list[tuple[float, float, float]], edge: float) -> NDArray[F]:
    """Luma across a rod, -1 to 1: a cylinder lit from the front, with streaks (at, width, luma)."""
    c = np.linspace(-1.0, 1.0, STEPS, dtype=F)
    luma = base * (edge + (1.0 - edge) * np.sqrt(np.maximum(0.0, 1.0 - c * c)))
    for at, width, height in peaks:
        luma += height * np.exp(-(((c - at) / width) ** 2))
    return np.asarray(np.clip(luma, 0.0, 219.0), F)


def _materials() -> NDArray[np.float32]:
    """material, y u v, STEPS: luma 0-219, chroma centred on 0."""
    steel = _profile(118, [(-0.28, 0.14, 110), (0.42, 0.20, 34), (0.10, 0.16, -22)], 0.22)
    insulation = _profile(26, [(-0.30, 0.10, 92), (-0.30, 0.35, 30), (0.70, 0.14, 16)], 0.35)
    ceramic = _profile(176, [(-0.25, 0.18, 42)], 0.45)
    dark = _profile(34, [(-0.25, 0.2, 46)], 0.4)
    hues = ((1.0, 1.0), (3.0, -1.5), (-6.0, 4.0), (0.0, 1.0))
    table = np.zeros((4, 3, STEPS), F)
    for row, (luma, (u, v)) in enumerate(
        zip((steel, insulation, ceramic, dark), hues, strict=True)
    ):
        table[row, 0] = luma
        # wet metal mirrors the red around it where it does not mirror the lamp
        table[row, 1] = u - 2.0 * (luma < 80)
        table[row, 2] = v + 6.0 * (luma < 110)
    return table


MATERIALS = _materials()


def draw(
    parts: tuple[Part, ...], pose: Pose,
    y: Plane, u: Plane, v: Plane,
    unit: float, middle: tuple[float, float], spans: NDArray[np.int32],
) -> None:  # fmt: skip
    """Paints a tool over the working planes, within the view."""
    ax, ay = pose.axis
    rods = np.zeros((len(parts), 8), F)
    for row, part in enumerate(parts):
        swing = JAW_SWING_RAD * pose.opening * part.jaw
        c, d = math.cos(swing), math.sin(swing)
        ends: list[float] = []
        for s, n in (part.a, part.b):
            s, n = HINGE + (s - HINGE) * c - n * d, n * c - (s - HINGE) * d
            ends += [pose.tip[0] + s * ax - n * ay, pose.tip[1] + s * ay + n * ax]
        rods[row] = (*ends, part.radius_a, part.radius_b, part.material, part.ridges)
    _rods(rods, MATERIALS, F(unit), F(middle[0]), F(middle[1]), spans, y, u, v)


@numba.njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _rods(rods, materials, unit, mx, my, spans, y, u, v):  # type: ignore[no-untyped-def]
    for k in range(rods.shape[0]):
        _rod(rods[k], materials, unit, mx, my, spans, 8, y, y, True)
        _rod(rods[k], materials, unit, mx, my, spans, 4, u, v, False)


@numba.njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _rod(rod, materials, unit, mx, my, spans, cell, first, second, is_luma):  # type: ignore[no-untyped-def]
    """One rod on the luma plane (cell 8), or on both chroma planes at half size (cell 4)."""
    step = F(8 // cell)
    scale = unit / step
    x0, y0 = rod[0] * scale + mx / step, rod[1] * scale + my / step
    x1, y1 = rod[2] * scale + mx / step, rod[3] * scale + my / step
    r0, r1 = rod[4] * scale, rod[5] * scale
    table = materials[int(rod[6])]
    ridges = rod[7] * F(2 * math.pi)
    dx, dy = x1 - x0, y1 - y0
    length = math.sqrt(dx * dx + dy * dy) + F(1e-6)
    dx, dy = dx / length, dy / length
    wide = max(r0, r1) + F(1)
    top = max(0, int(min(y0, y1) - wide))
    bottom = min(first.shape[0], int(max(y0, y1) + wide) + 2)
    for py in range(top, bottom):
        row = py // cell
        left, right = F(spans[row, 0] * cell), F(spans[row, 1] * cell)
        left, right = max(left, min(x0, x1) - wide), min(right, max(x0, x1) + wide + 1)
        fy = F(py) + F(0.5) - y0
        if abs(dy) > F(0.02):
            at, reach = x0 + fy * dx / dy, wide / abs(dy)
            left, right = max(left, at - reach), min(right, at + reach + 1)
        for px in range(int(left), int(right)):
            fx = F(px) + F(0.5) - x0
            s = fx * dx + fy * dy
            n = fy * dx - fx * dy
            t = min(F(1), max(F(0), s / length))
            radius = r0 + (r1 - r0) * t
            beyond = s - t * length
            off = math.sqrt(n * n + beyond * beyond)
            cover = min(F(1), radius - off + F(0.5))
            if cover <= F(0):
                continue
            c = min(F(1), max(F(-1), n / radius))
            place = int((c * F(0.5) + F(0.5)) * F(STEPS - 1) + F(0.5))
            # lit like the tissue, and brighter where it comes closer to the lamp
            gx, gy = (F(px) * step - mx) / unit, (F(py) * step - my) / unit
            lit = F(1.12) / (F(1) + (gx * gx + gy * gy) * F(1.6)) + F(0.10) * t * length / scale
            if is_luma:
                if ridges > 0 and abs(c) < F(0.8):
                    lit *= F(0.84) + F(0.16) * math.sin(ridges * s / scale)
                value = min(F(219), table[0, place] * lit)
                first[py, px] = np.uint8(F(first[py, px]) * (F(1) - cover) + value * cover + F(0.5))
            else:
                for plane, channel in ((first, 1), (second, 2)):
                    value = F(128) + table[channel, place]
                    plane[py, px] = np.uint8(
                        F(plane[py, px]) * (F(1) - cover) + value * cover + F(0.5)
                    )
