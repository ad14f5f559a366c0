"""Smoke: it starts at the tip, fills what it is asked to, drifts, and is lit by the scope."""

from __future__ import annotations

import numpy as np
import pytest

from server.phantom.scene import View
from server.phantom.smoke import Smoke
from server.phantom.spec import TARGETS, Episode, PhantomSpec
from server.phantom.veil import Ground

GROUND = Ground.of(View(320, 240))
TIP = (0.15, 0.10)


def episode(level: int) -> Episode:
    (found,) = PhantomSpec(seconds=20, episodes=(("smoke",),), level=level).timeline()
    return found


def held(found: Episode) -> float:
    return found.start_s + found.rise_s + 0.5 * found.hold_s


@pytest.mark.parametrize("level", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", [0, 5])
def test_it_covers_what_its_level_says(level: int, seed: int) -> None:
    found = episode(level)
    veil = Smoke(GROUND, seed, found).veil(held(found), TIP)
    assert GROUND.covered(veil.direct) == pytest.approx(TARGETS[level], abs=0.02)


def test_higher_levels_are_denser() -> None:
    direct = []
    for level in (1, 2, 3, 4):
        found = episode(level)
        veil = Smoke(GROUND, 0, found).veil(held(found), TIP)
        direct.append(float(veil.direct[GROUND.view > 0.5].mean()))
    assert direct == sorted(direct, reverse=True)
    assert direct[-1] < 0.45
    assert direct[0] > 0.8


def test_it_starts_at_the_tip() -> None:
    found = episode(3)
    for tip in (TIP, (-0.2, 0.2)):
        veil = Smoke(GROUND, 0, found).veil(found.start_s + 0.2 * found.rise_s, tip)
        row, col = np.unravel_index(np.argmin(veil.direct), veil.direct.shape)
        x, y = float(GROUND.x[row, col]), float(GROUND.y[row, col])
        assert abs(x - tip[0]) < 0.15
        assert -0.25 < y - tip[1] < 0.05  # it rises
        below = veil.direct[(GROUND.y > tip[1] + 0.1) & (GROUND.view > 0.5)]
        assert below.mean() > veil.direct.min() + 0.3


def test_it_fades_in_and_out_without_a_jump() -> None:
    found = episode(4)
    smoke = Smoke(GROUND, 0, found)
    step = 0.04
    for edge in (found.start_s + 0.5 * step, found.end_s - 0.5 * step):
        assert smoke.veil(edge, TIP).direct[GROUND.view > 0.5].mean() > 0.995
    times = np.arange(found.start_s + step, found.end_s - step, step)
    fields = [smoke.veil(float(t), TIP).direct for t in times]
    steps = [float(np.abs(b - a).mean()) for a, b in zip(fields, fields[1:], strict=False)]
    assert max(steps) < 0.03


def test_it_drifts() -> None:
    found = episode(3)
    smoke = Smoke(GROUND, 0, found)
    a, b = (smoke.veil(held(found) + late, TIP).direct for late in (0.0, 0.6))
    assert np.abs(a - b).mean() > 0.01


def test_it_is_turbulent_at_more_than_one_scale() -> None:
    found = episode(4)
    direct = Smoke(GROUND, 0, found).veil(held(found), TIP).direct
    inner = direct[10:50, 20:60]
    power = np.abs(np.fft.fft2(inner - inner.mean())) ** 2
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(40, 1 / 40), np.fft.fftfreq(40, 1 / 40)))
    bands = [power[(radius >= lo) & (radius < hi)].mean() for lo, hi in ((1, 3), (3, 7), (7, 14))]
    assert bands[0] > bands[1] > bands[2] > 1e-5 * bands[0]


def test_the_scope_lights_it() -> None:
    found = episode(4)
    veil = Smoke(GROUND, 0, found).veil(held(found), TIP)
    colour = veil.y / np.maximum(1.0 - veil.direct, 1e-3)
    thick = veil.direct < 0.7
    r = np.hypot(GROUND.x, GROUND.y)
    assert colour[thick & (r < 0.2)].mean() > 1.15 * colour[thick & (r > 0.5) & (r < 0.64)].mean()


@pytest.mark.parametrize("seed", range(6))
def test_it_is_nearly_grey_and_rather_warm_than_blue(seed: int) -> None:
    found = episode(4)
    veil = Smoke(GROUND, seed, found).veil(held(found), TIP)
    y, u, v = (float(part.sum()) for part in (veil.y, veil.u, veil.v))
    assert abs(u) + abs(v) < 0.12 * y
    assert v > u - 0.01 * y
