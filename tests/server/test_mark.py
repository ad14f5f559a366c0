"""The mark says what the provenance field says, can be read back, and leaves the rest alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.picture import Colour, Picture, Rgb, Yuv420
from server import jpeg
from server.frame import Provenance
from server.mark import BEAT_FRAMES, Mark, draw, extent, mark_of, read

SIZES = [(64, 48), (65, 49), (320, 240), (640, 360), (1280, 720), (1920, 1080)]


def noise(width: int, height: int, form: str, seed: int = 0) -> Picture:
    rng = np.random.default_rng(seed)
    if form == "rgb":
        return Rgb(rng.integers(0, 256, (height, width, 3), np.uint8))
    half = ((height + 1) // 2, (width + 1) // 2)
    y, u, v = (rng.integers(16, 236, s, np.uint8) for s in ((height, width), half, half))
    return Yuv420(y, u, v, Colour("bt709", full_range=False))


@pytest.mark.parametrize("form", ["rgb", "yuv"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("stale", [False, True])
def test_what_is_drawn_is_read_also_after_jpeg(
    size: tuple[int, int], form: str, stale: bool
) -> None:
    for beat in range(8):
        picture = noise(*size, form)
        mark = mark_of(Provenance.RESTORED, stale=stale, seq=beat * BEAT_FRAMES)
        assert mark == Mark(True, stale, beat)
        draw(picture, mark)
        assert read(picture) == mark
        assert read(jpeg.decode(jpeg.encode(picture, 75))) == mark


def test_a_fresh_raw_frame_carries_none_and_a_stale_one_says_so() -> None:
    assert mark_of(Provenance.RAW, stale=False, seq=5) is None
    stale = mark_of(Provenance.RAW, stale=True, seq=5)
    assert stale is not None
    assert not stale.restored
    assert stale.label == "STALE"


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(SIZES[:3]))
def test_no_camera_picture_is_taken_for_marked(seed: int, size: tuple[int, int]) -> None:
    assert read(noise(*size, "rgb", seed)) is None


def test_the_counter_moves_with_frames_and_stands_with_them() -> None:
    marks = [mark_of(Provenance.RESTORED, stale=False, seq=seq) for seq in range(64)]
    beats = [mark.beat for mark in marks if mark is not None]
    assert len(beats) == 64
    assert set(beats) == set(range(8))
    assert beats == [seq // BEAT_FRAMES % 8 for seq in range(64)]


@pytest.mark.parametrize("form", ["rgb", "yuv"])
def test_only_a_corner_changes(form: str) -> None:
    before, after = noise(1280, 720, form), noise(1280, 720, form)
    draw(after, Mark(True, False, 3))
    luma = [p.pixels[..., 1] if isinstance(p, Rgb) else p.y for p in (before, after)]
    changed = np.argwhere(luma[0] != luma[1])
    assert changed[:, 0].max() < 720 // 12
    assert changed[:, 1].max() < 1280 // 12


@pytest.mark.parametrize("size", [(1280, 720), (640, 360), (200, 16), (17, 5)])
@pytest.mark.parametrize("mark", [Mark(True, True, 7), Mark(True, False, 3), Mark(False, True, 0)])
def test_no_mark_reaches_beyond_its_extent(size: tuple[int, int], mark: Mark) -> None:
    width, height = size
    before, after = noise(width, height, "rgb"), noise(width, height, "rgb")
    draw(after, mark)
    assert isinstance(before, Rgb) and isinstance(after, Rgb)
    changed = np.argwhere((before.pixels != after.pixels).any(2))
    rows, columns = extent(height, width)
    assert 0 <= changed[:, 0].max() < rows <= height
    assert 0 <= changed[:, 1].max() < columns <= width


def test_a_picture_too_small_for_a_mark_is_left_alone() -> None:
    tiny = noise(15, 3, "rgb")
    draw(tiny, Mark(True, False, 0))
    assert (tiny.pixels == noise(15, 3, "rgb").pixels).all()  # type: ignore[union-attr]
    assert read(tiny) is None
