"""A network at half the size: its change is enlarged, the picture's own detail stays."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from bundles import GAIN, SHAPE, tiny_bundle

from engines.colour import to_yuv420
from engines.errors import FeedsWrong
from engines.onnxrt import load
from engines.picture import Colour, Rgb, Yuv420
from engines.repaint import HalfRepaint, Pixels, Repaint

H, W = SHAPE[1:3]


@pytest.fixture
def small(tmp_path: Path) -> Repaint:
    """A network for 6x4: each colour times its own gain."""
    bundle = tiny_bundle(tmp_path / "tiny")
    return Repaint(load(bundle), bundle.manifest)


def frame(height: int, width: int) -> Rgb:
    pixels = np.random.default_rng(2).integers(20, 160, (height, width, 3), np.uint8)
    return Rgb(pixels)


@pytest.mark.parametrize(("height", "width"), [(2 * H, 2 * W), (2 * H - 1, 2 * W - 1)])
def test_the_change_is_enlarged_and_added(small: Repaint, height: int, width: int) -> None:
    picture = frame(height, width)
    out = HalfRepaint(small).apply(picture)
    assert isinstance(out, Rgb)
    low = cv2.resize(picture.pixels, (W, H), interpolation=cv2.INTER_AREA).astype(np.float64)
    change = cv2.resize(np.floor(low * GAIN) - low, (width, height))
    want = np.clip(picture.pixels + change, 0, 255)
    assert np.abs(out.pixels - want).max() <= 1
    detail = np.abs(np.diff(out.pixels.astype(int), axis=1)).mean()
    assert detail > 0.8 * np.abs(np.diff(picture.pixels.astype(int), axis=1)).mean()


def test_strength_mixes_and_planes_come_back(small: Repaint) -> None:
    half, picture = HalfRepaint(small), frame(2 * H, 2 * W)
    none = half.apply(picture, 0.0)
    assert isinstance(none, Rgb)
    np.testing.assert_array_equal(none.pixels, picture.pixels)
    colour = Colour("bt601", True)
    out = half.apply(to_yuv420(picture, colour))
    assert isinstance(out, Yuv420)
    assert (out.colour, out.height, out.width) == (colour, 2 * H, 2 * W)


def test_sizes_are_those_of_the_whole_picture(small: Repaint) -> None:
    HalfRepaint(small).warm(2 * W, 2 * H)
    with pytest.raises(FeedsWrong, match="takes 6x4"):
        HalfRepaint(small).warm(W, H)


def test_half_the_size_passes_the_reference_on(small: Repaint) -> None:
    seen: list[object] = []

    class Spy(Repaint):
        def __init__(self) -> None:
            pass

        def repaint(self, light: Pixels, reference: Pixels | None = None) -> Pixels:
            seen.append(reference)
            return small.repaint(light)

    reference = np.zeros((144, 256, 3), np.uint8)
    half = HalfRepaint(Spy())
    half.apply(frame(2 * H, 2 * W), reference=reference)
    half.apply(frame(2 * H, 2 * W))
    assert seen[0] is reference and seen[1] is None
