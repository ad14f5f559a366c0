"""Random fields: they repeat where they must and do not depend on the resolution."""

from __future__ import annotations

import cv2
import numpy as np

from server.phantom.noise import (
    TILE,
    Field,
    balls,
    cells,
    ease,
    generator,
    octaves,
    smoothstep,
    tile,
)


def correlation(a: Field, b: Field) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def test_a_tile_has_no_seam() -> None:
    field = tile(generator(0, 1), 2.0)
    assert field.shape == (TILE, TILE)
    assert abs(float(field.mean())) < 1e-3
    assert abs(float(field.std()) - 1.0) < 1e-3
    inner = np.abs(np.diff(field, axis=1)).mean()
    seam = np.abs(field[:, 0] - field[:, -1]).mean()
    assert seam < 2.0 * inner
    assert np.abs(field[:, 0] - field[:, TILE // 3]).mean() > 5.0 * inner  # the check can fail


def test_octaves_show_the_same_field_at_every_resolution() -> None:
    small = octaves(generator(3, 1), (1.0, 1.5), (100, 150), 0.4, 3)
    large = octaves(generator(3, 1), (1.0, 1.5), (200, 300), 0.4, 3)
    shrunk = cv2.resize(large, (150, 100), interpolation=cv2.INTER_AREA)
    assert correlation(small, shrunk) > 0.97
    other = octaves(generator(4, 1), (1.0, 1.5), (100, 150), 0.4, 3)
    assert abs(correlation(small, other)) < 0.5
    assert 0.5 < float(large.std()) < 1.6


def test_octaves_finer_than_a_pixel_are_left_out() -> None:
    fine = octaves(generator(0, 1), (1.0, 1.0), (8, 8), 0.5, 12, gain=1.0)
    assert np.isfinite(fine).all()
    assert fine.shape == (8, 8)


def test_cells_find_the_nearest_points() -> None:
    x, y = (np.asarray(g, np.float32) for g in np.meshgrid(np.linspace(-2, 2, 40), [-0.3, 1.7]))
    middle = np.full((64, 64), 0.5, np.float32)  # one point in the middle of each cell
    first, second, _ = cells(x, y, 1.0, middle, middle)
    u, v = x - np.floor(x) - 0.5, y - np.floor(y) - 0.5
    assert np.allclose(first, np.hypot(u, v), atol=1e-5)
    assert (second >= first).all()


def test_balls_overlap_into_a_rounded_surface() -> None:
    jitter = generator(1, 2).uniform(0.1, 0.9, (2, 64, 64)).astype(np.float32)
    axis = np.linspace(0, 5, 120, dtype=np.float32)
    x, y = (np.asarray(g, np.float32) for g in np.meshgrid(axis, axis))
    top, own = balls(x, y, 1.0, jitter[0], jitter[1])
    assert top.min() >= 0.0
    assert top.max() < 1.4
    assert len(np.unique(own)) > 15


def test_steps_are_smooth_and_may_fall() -> None:
    ramp = np.linspace(-1, 2, 7, dtype=np.float32)
    assert np.allclose(smoothstep(0.0, 1.0, ramp), [0, 0, 0, 0.5, 1, 1, 1])
    assert np.allclose(smoothstep(1.0, 0.0, ramp), [1, 1, 1, 0.5, 0, 0, 0])
    assert (ease(-1), ease(0.5), ease(2)) == (0.0, 0.5, 1.0)


def test_features_draw_from_their_own_streams() -> None:
    assert generator(1, 2).random() == generator(1, 2).random()
    assert generator(1, 2).random() != generator(1, 3).random()
    assert generator(1, 2).random() != generator(2, 2).random()
