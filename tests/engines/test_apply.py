"""The kernels against the float yardstick, and the bound against adversarial maps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engines.apply import (
    CHROMA_GAIN_MAX,
    GAIN_MAX,
    IDENTITY,
    apply_rgb,
    apply_yuv420,
    bounded,
    reference,
)
from engines.picture import Colour, Matrix, Rgb, Yuv420, rgb_matrix

SIZES = [(36, 64), (97, 131), (144, 256), (17, 33), (250, 701)]


def random_maps(seed: int, h: int = 9, w: int = 16, spread: float = 0.25) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    centre = np.array([1.6, 1.4, -0.25, 0.01, -0.01], np.float32)[:, None, None]
    scale = np.array([1, 1, 0.4, 0.1, 0.1], np.float32)[:, None, None] * spread
    return (centre + scale * rng.standard_normal((5, h, w))).astype(np.float32)


def identity_maps() -> NDArray[np.float32]:
    return np.tile(np.array(IDENTITY, np.float32)[:, None, None], (1, 9, 16))


@pytest.mark.parametrize("size", SIZES)
def test_rgb_kernel_is_the_float_reference_within_one_level(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    maps = random_maps(2)
    got = apply_rgb(Rgb(pixels), maps).pixels.astype(float)
    want = reference(pixels / 255.0, bounded(maps)) * 255
    assert np.abs(got - want).max() <= 1.0


def planes_of(rgb: NDArray[np.float64], colour: Colour) -> tuple[Yuv420, NDArray[np.float64]]:
    """Planes of an RGB image that is constant over 2x2 blocks, and the RGB they stand for."""
    low, span, cspan = (0, 255, 255) if colour.full_range else (16, 219, 224)
    yuv = rgb @ np.linalg.inv(rgb_matrix(colour.matrix)).T
    y = np.round(yuv[..., 0] * span + low).astype(np.uint8)
    u, v = (np.round(yuv[::2, ::2, n] * cspan + 128).astype(np.uint8) for n in (1, 2))
    picture = Yuv420(y, u, v, colour)
    return picture, rgb_of(picture)


def rgb_of(picture: Yuv420) -> NDArray[np.float64]:
    low, span, cspan = (0, 255, 255) if picture.colour.full_range else (16, 219, 224)
    h, w = picture.y.shape
    up = [np.repeat(np.repeat(p, 2, 0), 2, 1)[:h, :w] for p in (picture.u, picture.v)]
    yuv = np.stack(
        (
            (picture.y.astype(float) - low) / span,
            *((p.astype(float) - 128) / cspan for p in up),
        ),
        2,
    )
    return yuv @ rgb_matrix(picture.colour.matrix).T


def blocks(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means over 2x2 blocks; an odd last row or column stands for itself."""
    h, w = plane.shape
    even = np.pad(plane, ((0, h % 2), (0, w % 2)), mode="edge")
    return even.reshape(even.shape[0] // 2, 2, even.shape[1] // 2, 2).mean((1, 3))


@pytest.mark.parametrize("full_range", [True, False])
@pytest.mark.parametrize("size", [(36, 64), (97, 131), (250, 700)])
def test_planes_kernel_is_the_float_reference_within_two_levels(
    full_range: bool, size: tuple[int, int]
) -> None:
    rng = np.random.default_rng(3)
    coarse = rng.uniform(0.1, 0.85, ((size[0] + 1) // 2, (size[1] + 1) // 2, 3))
    rgb = np.repeat(np.repeat(coarse, 2, 0), 2, 1)[: size[0], : size[1]]
    colour = Colour(matrix="bt601", full_range=full_range)
    picture, seen = planes_of(rgb, colour)
    maps = random_maps(4, spread=0.1)
    got = apply_yuv420(picture, maps)
    exact = reference(np.clip(seen, 0, 1), bounded(maps))
    yuv = exact @ np.linalg.inv(rgb_matrix("bt601")).T
    low, span, cspan = (0, 255, 255) if full_range else (16, 219, 224)
    inside = ((seen > 0) & (seen < 1) & (exact > 0) & (exact < 1)).all(2)
    error = np.abs(got.y.astype(float) - (yuv[..., 0] * span + low))[inside]
    assert error.max() <= 2.0
    block = blocks(inside.astype(float)) == 1
    for plane, n in ((got.u, 1), (got.v, 2)):
        middle = blocks(yuv[..., n]) * cspan + 128
        assert np.abs(plane.astype(float) - middle)[block].max() <= 2.0


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
def test_both_matrices_give_the_same_colours(matrix: Matrix) -> None:
    rgb = np.tile(np.array([0.6, 0.45, 0.4]), (36, 64, 1))
    maps = random_maps(5, spread=0.0)
    maps[1] = maps[0]  # one scalar gain commutes with the matrix; two do not
    want = reference(rgb, bounded(maps))[0, 0]
    picture, _ = planes_of(rgb, Colour(matrix=matrix, full_range=True))
    got = rgb_of(apply_yuv420(picture, maps))[0, 0]
    assert np.abs(got - want).max() * 255 <= 2.0


def test_identity_maps_change_nothing() -> None:
    rng = np.random.default_rng(6)
    pixels = rng.integers(0, 256, (50, 70, 3), dtype=np.uint8)
    assert np.abs(apply_rgb(Rgb(pixels), identity_maps()).pixels.astype(int) - pixels).max() <= 1
    y = rng.integers(16, 236, (50, 70), dtype=np.uint8)
    grey = np.full((25, 35), 128, np.uint8)
    out = apply_yuv420(Yuv420(y, grey, grey), identity_maps())
    assert np.array_equal(out.y, y) and np.array_equal(out.u, grey)


def test_strength_zero_is_the_input() -> None:
    pixels = np.random.default_rng(7).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    out = apply_rgb(Rgb(pixels), random_maps(8), strength=0.0).pixels
    assert np.abs(out.astype(int) - pixels).max() <= 1


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), spread=st.floats(0, 50))
def test_no_map_makes_more_contrast_than_the_bound(seed: int, spread: float) -> None:
    """Adversarial maps: constant over the picture, arbitrary in value. Two pixels that differ by
    d in luma differ by at most GAIN_MAX d afterwards (and half a level of rounding each)."""
    rng = np.random.default_rng(seed)
    maps = np.tile((rng.standard_normal((5, 1, 1)) * spread).astype(np.float32), (1, 9, 16))
    ramp = np.arange(16, 236, dtype=np.uint8)
    y = np.tile(ramp, (4, 1))
    grey = np.full((2, 110), 128, np.uint8)
    out = apply_yuv420(Yuv420(y, grey, grey, Colour("bt601", False)), maps)
    luma = out.y[0].astype(float)
    # over the fading highlights the slope also carries the fade: at most the gain and the jump
    dark = ramp < 16 + 219 * 0.9
    assert np.abs(np.diff(luma))[dark[1:]].max() <= GAIN_MAX + 1.0
    chroma = np.tile(np.arange(28, 228, 2, dtype=np.uint8), (2, 1))
    flat = np.full((4, 200), 120, np.uint8)
    out = apply_yuv420(Yuv420(flat, chroma, chroma, Colour("bt601", False)), maps)
    assert np.abs(np.diff(out.u[0].astype(float))).max() <= 2 * CHROMA_GAIN_MAX * 2 + 1.0


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), row=st.integers(0, 35), column=st.integers(0, 63))
def test_a_pixel_takes_nothing_from_its_neighbours(seed: int, row: int, column: int) -> None:
    """Change every other pixel: this one comes out the same, whatever the maps."""
    rng = np.random.default_rng(seed)
    maps = (rng.standard_normal((5, 9, 16)) * 2).astype(np.float32)
    first = rng.integers(0, 256, (36, 64, 3), dtype=np.uint8)
    second = rng.integers(0, 256, (36, 64, 3), dtype=np.uint8)
    second[row, column] = first[row, column]
    a, b = apply_rgb(Rgb(first), maps).pixels, apply_rgb(Rgb(second), maps).pixels
    assert np.array_equal(a[row, column], b[row, column])
    y, z = first[..., 0].copy(), second[..., 0].copy()
    grey = np.full((18, 32), 128, np.uint8)
    c, d = (apply_yuv420(Yuv420(p, grey, grey), maps).y for p in (y, z))
    assert c[row, column] == d[row, column]


def test_a_flat_picture_gains_no_edge_but_the_maps_own_slope() -> None:
    """Maps are bilinear: between neighbouring pixels of a flat picture they can only ramp."""
    maps = random_maps(9, spread=0.3)
    pixels = np.full((720, 1280, 3), 120, np.uint8)
    out = apply_rgb(Rgb(pixels), maps).pixels.astype(int)
    assert np.abs(np.diff(out, axis=1)).max() <= 4 and np.abs(np.diff(out, axis=0)).max() <= 4


def test_black_borders_and_white_highlights_stay() -> None:
    picture = np.zeros((36, 64, 3), np.uint8)
    picture[:, 32:] = 255
    veil_off = np.tile(
        np.array([3.0, 3.0, -1.2, 0.08, -0.08], np.float32)[:, None, None], (1, 9, 16)
    )
    out = apply_rgb(Rgb(picture), veil_off).pixels
    assert out[:, :32].max() == 0
    assert out[:, 32:].min() == 255


def test_shadows_are_not_crushed() -> None:
    grey = np.full((36, 64, 3), 60, np.uint8)
    wrong = np.tile(np.array([1, 1, -0.9, 0, 0], np.float32)[:, None, None], (1, 9, 16))
    assert apply_rgb(Rgb(grey), wrong).pixels.min() >= 8


def test_maps_that_are_no_maps_are_refused() -> None:
    picture = Rgb(np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match="5 h w"):
        apply_rgb(picture, np.ones((4, 9, 16), np.float32))
    broken = identity_maps()
    broken[0, 3, 3] = np.nan
    with pytest.raises(ValueError, match="finite"):
        apply_rgb(picture, broken)
