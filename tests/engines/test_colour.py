"""Planes and RGB are the same picture, in every matrix, range and size."""

from __future__ import annotations

import av
import numpy as np
import pytest

from engines.colour import to_rgb, to_yuv420
from engines.picture import Colour, Matrix, Rgb, Yuv420

COLOURS = [Colour(m, f) for m in ("bt601", "bt709") for f in (False, True)]


def smooth(height: int, width: int) -> Rgb:
    y, x = np.mgrid[0:height, 0:width]
    planes = [60 + 90 * y / height, 90 + 60 * x / width, 120 + 50 * (y / height) * (x / width)]
    return Rgb(np.stack(planes, -1).astype(np.uint8))


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("size", [(48, 64), (47, 64), (48, 63), (33, 21)])
def test_a_round_trip_keeps_the_picture(colour: Colour, size: tuple[int, int]) -> None:
    picture = smooth(*size)
    planes = to_yuv420(picture, colour)
    assert (planes.height, planes.width) == size
    assert planes.colour == colour
    off = np.abs(to_rgb(planes).pixels.astype(int) - picture.pixels.astype(int))
    assert off.max() <= 4
    assert off.mean() < 1


@pytest.mark.parametrize("colour", COLOURS)
def test_black_white_and_grey_are_where_the_standard_puts_them(colour: Colour) -> None:
    low, high = (0, 255) if colour.full_range else (16, 235)
    for level, luma in ((0, low), (255, high)):
        planes = to_yuv420(Rgb(np.full((4, 4, 3), level, np.uint8)), colour)
        assert (planes.y == luma).all()
        assert (planes.u == 128).all()
        assert (planes.v == 128).all()
        np.testing.assert_array_equal(to_rgb(planes).pixels, level)


@pytest.mark.parametrize(("matrix", "code"), [("bt601", 5), ("bt709", 1)])
def test_it_agrees_with_ffmpeg(matrix: Matrix, code: int) -> None:
    pixels = smooth(64, 96).pixels
    frame = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(
        format="yuv420p", dst_colorspace=code, dst_color_range=1
    )
    theirs = frame.to_ndarray()
    ours = to_yuv420(Rgb(pixels), Colour(matrix, False))
    assert np.abs(ours.y.astype(int) - theirs[:64].astype(int)).max() <= 2
    u = theirs[64:80].reshape(32, 48)
    assert np.abs(ours.u.astype(int) - u.astype(int)).max() <= 2


def test_strong_colours_saturate() -> None:
    planes = Yuv420(
        np.full((4, 4), 235, np.uint8),
        np.full((2, 2), 16, np.uint8),
        np.full((2, 2), 240, np.uint8),
    )
    red, green, blue = to_rgb(planes).pixels[0, 0]
    assert (red, blue) == (255, 18)  # 255 - 1.8556 * 127.5
    assert green < 255
