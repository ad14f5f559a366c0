"""The tissue: organs of the right colours, relief that shades them, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from server.phantom.noise import Field
from server.phantom.tissue import Canvas, Painter, Tissue

CANVAS = Canvas(0.6, 0.55, 120)


@pytest.fixture(scope="module")
def painter() -> Painter:
    return Painter(CANVAS, 0)


@pytest.fixture(scope="module")
def tissue(painter: Painter) -> Tissue:
    return painter.paint()


def colour_of(tissue: Tissue, mask: Field) -> list[float]:
    chosen = tissue.rgb[mask > 0.95]
    assert len(chosen) > 200
    return [float(value) for value in np.median(chosen, axis=0)]


def test_the_canvas_knows_its_size() -> None:
    assert CANVAS.shape == (132, 144)
    x, y = CANVAS.mesh()
    assert x.shape == y.shape == CANVAS.shape
    assert abs(float(x.mean())) < 1e-5
    assert float(y[-1, 0] - y[0, 0]) == pytest.approx(1.1 - 1 / 120, abs=1e-4)


def test_a_wide_blur_keeps_the_mean() -> None:
    field = np.zeros(CANVAS.shape, np.float32)
    field[60:70, 60:70] = 1.0
    for sigma in (0.004, 0.06):
        blurred = CANVAS.blur(field, sigma)
        assert blurred.shape == field.shape
        assert float(blurred.sum()) == pytest.approx(100.0, rel=0.1)
    assert CANVAS.blur(field, 0.06).max() < CANVAS.blur(field, 0.004).max()


def test_the_liver_is_dark_red_and_the_fat_is_yellow(painter: Painter, tissue: Tissue) -> None:
    r, g, b = colour_of(tissue, painter.liver().mask * (1 - painter.gallbladder().mask))
    assert r > 1.5 * g
    assert 0.2 < r < 0.65
    fat = painter.fat().mask * (1 - painter.gallbladder().mask) * (1 - painter.wound().mask)
    fr, fg, fb = colour_of(tissue, fat)
    assert fr > fg > 1.3 * fb
    assert fr > r
    assert (fg - fb) > (g - b) + 0.1


def test_relief_shades_and_contact_darkens(painter: Painter, tissue: Tissue) -> None:
    steep = np.hypot(tissue.slope_x, tissue.slope_y)
    fat = painter.fat().mask > 0.95
    luma = tissue.rgb.mean(axis=2)
    assert luma[fat & (steep > 1.2)].mean() < luma[fat & (steep < 0.5)].mean() - 0.05


def test_vessels_branch_within_the_sheet(painter: Painter) -> None:
    drawn = painter.vessels(9, [(-0.4, 0.0, 0.0)], 0.6, 0.01)
    assert drawn.shape == CANVAS.shape
    assert drawn.min() >= 0.0
    assert 0.5 < drawn.max() <= 1.0
    assert 0.002 < (drawn > 0.3).mean() < 0.4


def test_a_seed_is_one_anatomy(tissue: Tissue) -> None:
    assert np.array_equal(tissue.rgb, Painter(CANVAS, 0).paint().rgb)
    assert np.abs(tissue.rgb - Painter(CANVAS, 1).paint().rgb).mean() > 0.02


def test_values_stay_in_range(tissue: Tissue) -> None:
    assert tissue.rgb.min() >= 0.0
    assert tissue.rgb.max() <= 1.0
    for field in (tissue.slope_x, tissue.slope_y, tissue.gloss, tissue.height, tissue.grip):
        assert np.isfinite(field).all()
    assert tissue.gloss.min() > 0.0
    assert tissue.gloss.max() <= 1.0
