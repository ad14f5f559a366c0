"""The visible mark on a picture whose pixels are not the camera's, drawn by the last hop alone.

It is drawn from the frame's provenance field and nothing else. A fresh raw frame carries none: its
pixels leave untouched. The mark is a strip of light and dark cells, with the letters beside it
where there is room; a machine can read it back, and three of its cells count frames, so that a
picture that stands still shows a mark that stands still.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.picture import Picture, Plane, Rgb
from server.frame import Provenance

SYNC = (1, 0, 1, 1, 0, 0, 1, 0)
COLUMNS = len(SYNC)
BEAT_FRAMES = 4  # frames to a step of the counter
CONTRAST = 60  # grey levels between light and dark cells, at least

# 5 wide, 7 high
LETTERS = {
    "A": (0b01110, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001),
    "E": (0b11111, 0b10000, 0b10000, 0b11110, 0b10000, 0b10000, 0b11111),
    "I": (0b11111, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b11111),
    "L": (0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b11111),
    "S": (0b01111, 0b10000, 0b10000, 0b01110, 0b00001, 0b00001, 0b11110),
    "T": (0b11111, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100),
}


@dataclass(frozen=True, slots=True)
class Mark:
    """restored: an engine made these pixels; stale: the picture is old; beat: 0-7."""

    restored: bool
    stale: bool
    beat: int

    @property
    def label(self) -> str:
        """As the event history names it."""
        return "AI" if self.restored else "STALE"

    @property
    def bits(self) -> tuple[int, ...]:
        """The second row: restored, stale, beat (3), their parity, and the first two inverted."""
        state = (int(self.restored), int(self.stale))
        beat = (self.beat >> 2 & 1, self.beat >> 1 & 1, self.beat & 1)
        parity = sum(state + beat) % 2
        return (*state, *beat, parity, 1 - state[0], 1 - state[1])


def mark_of(provenance: Provenance, *, stale: bool, seq: int) -> Mark | None:
    """The mark that a frame has to carry; None for a fresh raw one."""
    restored = provenance is Provenance.RESTORED
    if not restored and not stale:
        return None
    return Mark(restored, stale, seq // BEAT_FRAMES % 8)


def _cell(height: int, width: int) -> int:
    """Side of a cell in pixels: even, so that it covers whole chroma samples."""
    return max(2, min(height // 180, width // 320) * 2)


def _pattern(mark: Mark, height: int, width: int) -> NDArray[np.uint8]:
    """0 dark, 1 light, h w: the strip, and the letters under it where they fit."""
    cell = _cell(height, width)
    strip = np.array([SYNC, mark.bits], np.uint8).repeat(cell, 0).repeat(cell, 1)
    text = ("AI" if mark.restored else "") + (" STALE" if mark.stale else "")
    dot = cell // 2
    letters = [_glyph(letter) for letter in text.strip()]
    line = np.hstack([np.zeros((9, 1), np.uint8), *letters]).repeat(dot, 0).repeat(dot, 1)
    if cell < 4 or strip.shape[0] + line.shape[0] > height or line.shape[1] > width:
        return strip
    box = np.zeros((strip.shape[0] + line.shape[0], max(strip.shape[1], line.shape[1])), np.uint8)
    box[: strip.shape[0], : strip.shape[1]] = strip
    box[strip.shape[0] :, : line.shape[1]] = line
    return box


def extent(height: int, width: int) -> tuple[int, int]:
    """h w of the corner that no mark of a picture of this size reaches beyond."""
    box = _pattern(Mark(restored=True, stale=True, beat=0), height, width)
    return min(box.shape[0], height), min(box.shape[1], width)


def _glyph(letter: str) -> NDArray[np.uint8]:
    """9 high, 6 wide, with a border of one dot above, below and to the right."""
    rows = LETTERS.get(letter, (0,) * 7)
    bits = [[row >> (4 - column) & 1 for column in range(5)] for row in rows]
    return np.pad(np.array(bits, np.uint8), ((1, 1), (0, 1)))


def draw(picture: Picture, mark: Mark) -> None:
    """Draws into the picture's own memory, top left. A picture under 16x4 is left alone."""
    if picture.width < 2 * COLUMNS or picture.height < 4:
        return
    box = _pattern(mark, picture.height, picture.width)
    h, w = min(box.shape[0], picture.height), min(box.shape[1], picture.width)
    box = box[:h, :w]
    if isinstance(picture, Rgb):
        picture.pixels[:h, :w] = (box * 255)[..., None]
        return
    dark, light = (0, 255) if picture.colour.full_range else (16, 235)
    picture.y[:h, :w] = np.where(box, light, dark)
    picture.u[: (h + 1) // 2, : (w + 1) // 2] = 128
    picture.v[: (h + 1) // 2, : (w + 1) // 2] = 128


def read(picture: Picture) -> Mark | None:
    """The mark that a picture carries, also after JPEG; None where there is none."""
    if picture.width < 2 * COLUMNS or picture.height < 4:
        return None
    luma: Plane = picture.pixels[..., 1] if isinstance(picture, Rgb) else picture.y
    cell = _cell(picture.height, picture.width)
    strip = luma[: 2 * cell, : COLUMNS * cell].astype(np.float32)
    means = strip.reshape(2, cell, COLUMNS, cell).mean(axis=(1, 3))  # 2 columns
    sync = np.array(SYNC, bool)
    dark, light = float(means[0][~sync].max()), float(means[0][sync].min())
    if light - dark < CONTRAST:
        return None
    bits = [int(value > (dark + light) / 2) for value in means[1]]
    beat = bits[2] << 2 | bits[3] << 1 | bits[4]
    mark = Mark(bool(bits[0]), bool(bits[1]), beat)
    return mark if tuple(bits) == mark.bits else None
