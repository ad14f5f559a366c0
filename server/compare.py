"""Raw beside restored in one picture: split down the middle, or side by side, both labelled."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.picture import Picture, Rgb, Yuv420

Compare = Literal["split", "side", "none"]
COMPARISONS: tuple[Compare, ...] = ("split", "side", "none")
LABELS = ("RAW", "RESTORED")
LINE_SHARE = 400  # the dividing line is 1/400 of the side, at least 2 pixels
LABELLED_FROM = 120  # pixels of height; smaller pictures carry no text

Pixels = NDArray[np.uint8]


def size_of(
    compare: Compare, width: int, height: int, *, sideways: bool = False
) -> tuple[int, int]:
    """Width and height of the comparison; always even where two pictures stand together."""
    if compare != "side":
        return width, height
    even_w, even_h = width + width % 2, height + height % 2
    return (even_w, 2 * even_h) if sideways else (2 * even_w, even_h)


def compared(raw: Picture, shown: Picture, compare: Compare, *, sideways: bool = False) -> Picture:
    """raw: the input; shown: what the chain gave; sideways: players turn the picture by a
    quarter, so what is to stand side by side is stacked. Pictures of one kind and size."""
    if compare == "none":
        return shown
    if isinstance(raw, Yuv420) and isinstance(shown, Yuv420):
        black, white = (0, 255) if raw.colour.full_range else (16, 235)
        if compare == "side":
            y, u, v = (
                _together(a, b, sideways) for a, b in zip(_even(raw), _even(shown), strict=True)
            )
        else:
            y = _split(raw.y, shown.y, sideways, white)
            u = _split(raw.u, shown.u, sideways, 128)
            v = _split(raw.v, shown.v, sideways, 128)
        if not sideways:
            _label(y, black, white, u, v)
        return replace(raw, y=y, u=u, v=v)
    if isinstance(raw, Rgb) and isinstance(shown, Rgb):
        if compare == "side":
            pixels = _together(raw.pixels, shown.pixels, sideways)
        else:
            pixels = _split(raw.pixels, shown.pixels, sideways, 255)
        _label(pixels, 0, 255)
        return Rgb(pixels)
    raise TypeError(f"{type(raw).__name__} against {type(shown).__name__}")


def _even(picture: Yuv420) -> tuple[Pixels, Pixels, Pixels]:
    """The planes, the luma's last row and column repeated where a side is odd."""
    h, w = picture.y.shape
    y = np.pad(picture.y, ((0, h % 2), (0, w % 2)), mode="edge")
    return y, picture.u, picture.v


def _together(a: Pixels, b: Pixels, sideways: bool) -> Pixels:
    return np.concatenate((a, b), axis=0 if sideways else 1)


def _split(a: Pixels, b: Pixels, sideways: bool, line: int) -> Pixels:
    """The first half of `a`, the second of `b`, and a line between."""
    out = b.copy()
    side = a.shape[0] if sideways else a.shape[1]
    middle, half = side // 2, max(1, side // LINE_SHARE)
    if sideways:
        out[:middle] = a[:middle]
        out[middle - half : middle + half] = line
    else:
        out[:, :middle] = a[:, :middle]
        out[:, middle - half : middle + half] = line
    return out


def _label(
    pixels: Pixels, black: int, white: int, u: Pixels | None = None, v: Pixels | None = None
) -> None:
    """Names each half in its lower outer corner, in place."""
    h, w = pixels.shape[:2]
    if h < LABELLED_FROM:
        return
    scale, thick, edge = h / 900, max(1, h // 450), max(4, h // 60)
    for text, left in zip(LABELS, (True, False), strict=True):
        (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
        x = edge if left else w - edge - width
        top, bottom = h - edge - height - below - edge // 2, h - edge
        x0, x1 = max(0, x - edge // 2), min(w, x + width + edge // 2)
        pixels[top:bottom, x0:x1] = black
        for chroma in (u, v):
            if chroma is not None:
                chroma[top // 2 : (bottom + 1) // 2, x0 // 2 : (x1 + 1) // 2] = 128
        colour = white if pixels.ndim == 2 else (white,) * 3
        where = (x, h - edge - below)
        font = cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(pixels, text, where, font, scale, colour, thick, cv2.LINE_AA)
