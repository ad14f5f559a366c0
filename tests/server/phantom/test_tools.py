"""The instruments: painted where their pose says, within the view, jaws that open."""

from __future__ import annotations

import math

import numpy as np

from server.phantom.scene import CELL
from server.phantom.tools import GRASPER, HOOK, MATERIALS, STEEL, Part, Plane, Pose, draw

SIDE = 160
FULL = np.asarray([(0, SIDE // CELL)] * (SIDE // CELL), np.int32)
POSE = Pose((0.0, 0.0), pivot=(1.0, 0.0), opening=0.5)


def painted(
    parts: tuple[Part, ...], pose: Pose, spans: np.ndarray[tuple[int, ...], np.dtype[np.int32]]
) -> tuple[Plane, Plane, Plane]:
    """A tool on a flat ground of luma 100, red chroma; luma, u and v."""
    y = np.full((SIDE, SIDE), 100, np.uint8)
    u, v = (np.full((SIDE // 2, SIDE // 2), value, np.uint8) for value in (110, 170))
    draw(parts, pose, y, u, v, float(SIDE), (SIDE / 2, SIDE / 2), spans)
    return y, u, v


def test_a_hook_covers_its_shaft_and_nothing_behind_its_tip() -> None:
    y, u, v = painted(HOOK, POSE, FULL)
    changed = y != 100
    assert changed[SIDE // 2 - 2 : SIDE // 2 + 2, SIDE // 2 + 25 :].mean() > 0.97
    assert not changed[:, : SIDE // 2 - 4].any()
    rows = np.flatnonzero(changed[:, SIDE - 20])
    assert 8 < rows.size < 24  # as thick as the shaft, in pixels
    assert abs(int(v[SIDE // 4, SIDE // 2 - 5]) - 128) < 14  # grey, not red
    assert v[2, 2] == 170


def test_metal_shines_along_its_length() -> None:
    y, _, _ = painted(GRASPER, POSE, FULL)
    across = y[SIDE // 2 - 5 : SIDE // 2 + 6, SIDE - 20].astype(int)
    assert across.max() > across.min() + 60
    assert MATERIALS[STEEL, 0].max() > 150


def test_jaws_open_with_the_pose() -> None:
    def gape(opening: float) -> int:
        y, _, _ = painted(GRASPER, Pose((0.0, 0.0), (1.0, 0.0), opening), FULL)
        rows = np.flatnonzero(y[:, SIDE // 2 + 3] != 100)
        return int(rows.max() - rows.min())

    assert gape(1.0) > gape(0.0) + 10


def test_nothing_is_painted_outside_the_view() -> None:
    spans = FULL.copy()
    spans[:, 1] = 12  # the view ends at column 96
    y, u, _ = painted(HOOK, POSE, spans)
    assert (y[:, 96:] == 100).all()
    assert (u[:, 48:] == 110).all()
    assert (y[:, 84:96] != 100).any()


def test_every_direction_is_painted() -> None:
    areas = []
    for turn in range(12):
        a = 2 * math.pi * turn / 12
        y, _, _ = painted(HOOK, Pose((0.0, 0.0), (math.cos(a), math.sin(a)), 0.0), FULL)
        areas.append(int((y != 100).sum()))
    assert min(areas) > 0.6 * max(areas)


def test_the_shadow_lies_beside_the_shaft() -> None:
    axis = np.linspace(-0.5, 0.5, 101, dtype=np.float32)
    x, y = (np.asarray(g, np.float32) for g in np.meshgrid(axis, axis))
    shadow = POSE.shadow(x, y)
    assert shadow.min() >= 0.0
    assert 0.9 < shadow.max() <= 1.0
    below = shadow[54, 80]  # the lamp sits above the lens
    assert below > shadow[46, 80]
    assert shadow[:, :40].max() < 0.05
