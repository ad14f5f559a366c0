"""The signal-lost card: unlike any scene, at any size, with the time of the last picture."""

from __future__ import annotations

import numpy as np
import pytest

from server.card import GROUND, INK, card
from server.mark import read


@pytest.mark.parametrize("size", [(64, 48), (65, 49), (640, 480), (1280, 720), (1920, 1080)])
def test_it_fills_the_picture_and_carries_no_mark(size: tuple[int, int]) -> None:
    picture = card(*size, 0.0)
    assert (picture.width, picture.height) == size
    assert read(picture) is None
    colours = picture.pixels.reshape(-1, 3)
    assert (np.abs(colours.astype(int) - GROUND).max(axis=1) < 10).mean() > 0.5
    assert (np.abs(colours.astype(int) - INK).max(axis=1) < 10).sum() > size[0] // 4


def test_it_tells_when_the_last_picture_was() -> None:
    one, other, never = card(320, 240, 0.0), card(320, 240, 61.0), card(320, 240, None)
    assert (one.pixels != other.pixels).any()
    assert (one.pixels != never.pixels).any()
    assert (one.pixels == card(320, 240, 0.0).pixels).all()
