"""The signal-lost card: what is shown when no picture is fit to be shown."""

from __future__ import annotations

import time

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from engines.picture import Rgb

GROUND, INK, FAINT = (24, 24, 28), (255, 176, 0), (200, 200, 200)
SHADE_WIDTH = 8  # pixels; of the hatching that no tissue shows


def card(width: int, height: int, lost_wall_s: float | None) -> Rgb:
    """lost_wall_s: UNIX time of the last picture, None when there never was one."""
    image = Image.new("RGB", (width, height), GROUND)
    drawing = ImageDraw.Draw(image)
    edge = max(2, height // 24)
    for x in range(-height, width, 2 * SHADE_WIDTH):
        drawing.line([(x, edge), (x + edge, 0)], INK, SHADE_WIDTH // 2)
        drawing.line([(x, height), (x + edge, height - edge)], INK, SHADE_WIDTH // 2)
    since = "no picture yet"
    if lost_wall_s is not None:
        since = "last picture " + time.strftime("%H:%M:%S", time.localtime(lost_wall_s))
    _centred(drawing, "NO SIGNAL", width, height * 0.42, max(8, min(height // 6, width // 8)), INK)
    _centred(drawing, since, width, height * 0.66, max(6, min(height // 16, width // 18)), FAINT)
    return Rgb(np.asarray(image).copy())


def _centred(
    drawing: ImageDraw.ImageDraw,
    text: str,
    width: int,
    y: float,
    size: int,
    colour: tuple[int, int, int],
) -> None:
    drawing.text((width / 2, y), text, colour, ImageFont.load_default(size), anchor="mm")
