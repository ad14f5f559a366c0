"""Veils: what they let through, how they stack, how much of the view they cover."""

from __future__ import annotations

import numpy as np
import pytest

from engines.picture import rgb_matrix
from engines.restorer import COVERED
from server.phantom.scene import View
from server.phantom.veil import STEP, Ground, Veil, luma_chroma, upper

GROUND = Ground.of(View(200, 120))


def even(direct: float, y: float) -> Veil:
    shape = GROUND.x.shape
    full = [np.full(shape, value, np.float32) for value in (direct, y, 0.1 * y, -0.2 * y)]
    return Veil(*full)


def test_veils_stack_as_light_does() -> None:
    far, near = even(0.5, 40.0), even(0.25, 10.0)
    both = near.over(far)
    scene = 120.0
    assert np.allclose(both.direct * scene + both.y, 0.25 * (0.5 * scene + 40.0) + 10.0)
    assert np.allclose(both.u, 0.25 * 4.0 + 1.0)
    assert np.allclose(both.v, 0.25 * -8.0 - 2.0)


def test_coverage_is_of_the_view_alone() -> None:
    assert GROUND.covered(np.full_like(GROUND.x, 1.0 - COVERED - 0.01)) == 1.0
    assert GROUND.covered(np.full_like(GROUND.x, 1.0 - COVERED + 0.01)) == 0.0
    left = np.where(GROUND.x < 0, 0.5, 1.0).astype(np.float32)
    assert GROUND.covered(left) == pytest.approx(0.5, abs=0.03)
    outside = np.where(GROUND.view > 0.5, 1.0, 0.0).astype(np.float32)
    assert GROUND.covered(outside) == 0.0


def test_upper_is_the_value_that_a_share_exceeds() -> None:
    values = np.arange(1000, dtype=np.float32)
    assert upper(values, 0.1) == pytest.approx(900, abs=2)
    assert upper(values, 0.0) == 999.0
    assert upper(values, 1.0) == 0.0


def test_places_are_the_centres_of_their_pixels() -> None:
    assert GROUND.x.shape == (120 // STEP, 200 // STEP)
    assert float(GROUND.x[0, 0]) == pytest.approx((STEP / 2 - 100) / 120, abs=1e-5)
    assert float(GROUND.y[-1, 0]) == pytest.approx((60 - STEP / 2) / 120, abs=1e-5)
    assert GROUND.light.max() == GROUND.light[15, 25]


def test_the_padding_is_not_in_the_view() -> None:
    ground = Ground.of(View(66, 65))
    assert ground.x.shape == (18, 18)
    assert not ground.view[17:].any()
    assert not ground.view[:, 17:].any()


def test_colours_come_back_from_luma_and_chroma() -> None:
    y, u, v = luma_chroma((200.0, 100.0, 50.0))
    rgb = rgb_matrix("bt709") @ (y / 219.0, u / 224.0, v / 224.0)
    assert np.allclose(255.0 * rgb, (200.0, 100.0, 50.0), atol=1e-6)
    assert luma_chroma((255.0, 255.0, 255.0)) == pytest.approx((219.0, 0.0, 0.0))
