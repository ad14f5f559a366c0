"""Raw stands left, restored right, in any size and orientation, with nothing mixed."""

from __future__ import annotations

import numpy as np
import pytest

from engines.picture import Colour, Rgb, Yuv420
from server.compare import Compare, compared, size_of


def even(value: int, width: int, height: int, *, full: bool = False) -> Yuv420:
    half = ((height + 1) // 2, (width + 1) // 2)
    return Yuv420(
        np.full((height, width), value, np.uint8),
        np.full(half, value, np.uint8),
        np.full(half, value, np.uint8),
        Colour("bt709", full_range=full),
    )


@pytest.mark.parametrize("size", [(64, 48), (65, 47), (400, 300)])
@pytest.mark.parametrize("compare", ["split", "side"])
@pytest.mark.parametrize("sideways", [False, True])
def test_the_size_is_the_one_announced(
    size: tuple[int, int], compare: Compare, sideways: bool
) -> None:
    raw, done = even(60, *size), even(90, *size)
    out = compared(raw, done, compare, sideways=sideways)
    assert (out.width, out.height) == size_of(compare, *size, sideways=sideways)
    assert isinstance(out, Yuv420)
    axis = 0 if sideways else 1
    first, second = np.array_split(out.y, 2, axis)
    assert np.median(first) == 60
    assert np.median(second) == 90


@pytest.mark.parametrize("compare", ["split", "side"])
def test_rgb_pictures_too(compare: Compare) -> None:
    raw = Rgb(np.full((200, 300, 3), 60, np.uint8))
    done = Rgb(np.full((200, 300, 3), 90, np.uint8))
    out = compared(raw, done, compare)
    assert isinstance(out, Rgb)
    left, right = np.array_split(out.pixels, 2, 1)
    assert [float(np.median(half)) for half in (left, right)] == [60.0, 90.0]


def test_the_inputs_stay_as_they_are() -> None:
    raw, done = even(60, 400, 300), even(90, 400, 300)
    compared(raw, done, "split")
    compared(raw, done, "side")
    assert set(np.unique(raw.y)) == {60}
    assert set(np.unique(done.u)) == {90}


def test_labels_are_in_the_outer_corners_and_neutral() -> None:
    out = compared(even(60, 640, 360), even(60, 640, 360), "split")
    assert isinstance(out, Yuv420)
    for corner in (out.y[300:, :160], out.y[300:, -160:]):
        assert corner.max() > 200
        assert corner.min() == 16
    assert set(np.unique(out.y[:300, :300])) == {60}
    assert (out.u[150:, :80] == 128).any()


def test_none_is_the_restored_picture_itself() -> None:
    raw, done = even(60, 64, 48), even(90, 64, 48)
    assert compared(raw, done, "none") is done


def test_unlike_pictures_are_refused() -> None:
    with pytest.raises(TypeError):
        compared(even(60, 64, 48), Rgb(np.zeros((48, 64, 3), np.uint8)), "side")
