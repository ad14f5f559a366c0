"""Fog and splashes: coverage, blur, refraction, colour, and the wipe that ends them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from engines.restorer import SPLASH_TYPES, SplashType
from server.phantom.lens import Fog, Splash
from server.phantom.noise import Field
from server.phantom.scene import View
from server.phantom.spec import TARGETS, Episode, PhantomSpec
from server.phantom.veil import Ground
from server.spec import Kind

GROUND = Ground.of(View(320, 240))
VIEW = GROUND.view > 0.5
BOARD = np.asarray(60 + 100 * ((np.indices(GROUND.x.shape) // 3).sum(axis=0) % 2), np.float32)
SCENE = (BOARD, np.full_like(BOARD, -10.0), np.full_like(BOARD, 30.0))


def episode(kind: Kind, level: int) -> Episode:
    (found,) = PhantomSpec(seconds=20, episodes=((kind,),), level=level).timeline()
    return found


def held(found: Episode) -> float:
    return found.start_s + found.rise_s + 0.5 * found.hold_s


def detail(field: Field) -> float:
    soft = cv2.GaussianBlur(field, (0, 0), 3.0)
    return float(np.std((field - soft)[VIEW]))


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_fog_covers_what_its_level_says(level: int) -> None:
    found = episode("fog", level)
    for seed in range(3):
        veil = Fog(GROUND, seed, found).veil(held(found), SCENE)
        assert GROUND.covered(veil.direct) == pytest.approx(TARGETS[level], abs=0.02)


@pytest.mark.parametrize("level", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", SPLASH_TYPES)
def test_a_splash_covers_what_its_level_says(level: int, kind: SplashType) -> None:
    found = episode("splash", level)
    veil = Splash(GROUND, 1, found, kind).veil(held(found), SCENE)
    assert GROUND.covered(veil.direct) == pytest.approx(TARGETS[level], abs=0.04)


def test_fog_grows_from_the_edge_or_from_the_middle() -> None:
    r = GROUND.radius()
    from_edge = []
    for seed in range(12):
        found = episode("fog", 2)
        direct = Fog(GROUND, seed, found).veil(held(found), SCENE).direct
        rim, middle = direct[VIEW & (r > 0.8)].mean(), direct[r < 0.3].mean()
        assert abs(rim - middle) > 0.15
        from_edge.append(rim < middle)
    assert 0 < sum(from_edge) < 12


def test_fog_is_smooth_blurs_and_lowers_contrast() -> None:
    found = episode("fog", 4)
    veil = Fog(GROUND, 0, found).veil(held(found), SCENE)
    splash = Splash(GROUND, 0, episode("splash", 3), "blood").veil(held(found), SCENE)
    steepest = [np.abs(np.diff(v.direct, axis=1))[VIEW[:, 1:]].max() for v in (veil, splash)]
    assert 2.0 * steepest[0] < steepest[1]
    seen = veil.direct * BOARD + veil.y
    assert detail(np.asarray(seen, np.float32)) < 0.65 * detail(BOARD)
    assert detail(veil.y) < 0.1 * detail(BOARD)  # what it adds is blurred


def test_a_splash_stays_where_it_is_until_the_wipe() -> None:
    found = episode("splash", 3)
    splash = Splash(GROUND, 0, found, "blood")
    fields = [splash.veil(held(found) + late, SCENE).direct for late in (-2.0, 0.0, 2.0)]
    assert np.array_equal(fields[0], fields[1])
    assert np.array_equal(fields[0], fields[2])
    wiping = splash.veil(found.end_s - 0.5 * found.fall_s, SCENE).direct
    wiped = (wiping > 0.99) & (fields[0] < 0.5) & VIEW
    left = (wiping < 0.5) & VIEW
    assert wiped.any()
    assert left.any()
    # what is wiped and what is left lie on either side of the edge
    gap = abs(float(GROUND.x[wiped].mean()) - float(GROUND.x[left].mean()))
    assert gap > 0.2


def test_a_splash_arrives_in_spurts() -> None:
    found = episode("splash", 2)
    splash = Splash(GROUND, 0, found, "bile")
    times = found.start_s + found.rise_s * np.asarray((0.02, 0.3, 0.6, 0.99))
    covered = [GROUND.covered(splash.veil(float(t), SCENE).direct) for t in times]
    assert covered == sorted(covered)
    assert covered[0] < 0.05
    assert covered[1] < covered[-1] - 0.05


def test_drops_bend_what_lies_behind_them() -> None:
    found = episode("splash", 2)
    ramp = np.asarray(100.0 * GROUND.x, np.float32)  # in chroma, which the lamp does not touch
    flat = np.zeros_like(ramp)
    splash = Splash(GROUND, 0, found, "fluid")
    veil = splash.veil(held(found), (flat, ramp, flat))
    drop = (veil.direct < 0.2) & VIEW & (np.abs(GROUND.x) < 0.4)
    shift_units = (veil.u[drop] / (1.0 - veil.direct[drop]) - ramp[drop]) / 100.0
    assert (shift_units > 0.04).any()
    assert (shift_units < -0.04).any()


def test_each_liquid_has_its_colour() -> None:
    found = episode("splash", 4)
    grey = (np.full_like(BOARD, 90.0), np.zeros_like(BOARD), np.zeros_like(BOARD))
    seen = {}
    for kind in SPLASH_TYPES:
        veil = Splash(GROUND, 0, found, kind).veil(held(found), grey)
        thick = (veil.direct < 0.2) & VIEW
        seen[kind] = tuple(float(part[thick].mean()) for part in (veil.y, veil.u, veil.v))
    assert seen["blood"][2] > 15  # red, dark
    assert seen["blood"][0] < 45
    assert seen["bile"][1] < -15  # yellow
    assert seen["fat"][1] < -5  # pale yellow
    assert seen["fat"][0] > seen["bile"][0]
    assert max(abs(seen["fluid"][1]), abs(seen["fluid"][2])) < 3  # clear


@pytest.mark.parametrize("kind", ["fog", "splash"])
def test_the_lens_is_clear_at_both_ends(kind: Kind) -> None:
    found = episode(kind, 4)
    soiling = Fog(GROUND, 0, found) if kind == "fog" else Splash(GROUND, 0, found, "fat")
    for moment in (found.start_s + 1e-4, found.end_s - 1e-4):
        assert soiling.veil(moment, SCENE).direct[VIEW].min() > 0.97
