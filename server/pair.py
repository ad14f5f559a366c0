"""Both pictures of one frame in one: raw above, what was chosen below, for who compares them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from engines.picture import Picture, Rgb, Yuv420
from server import jpeg


def pair(raw: Picture, chosen: Picture) -> Picture:
    """Twice as high as each. Raises ValueError for pictures of two sizes."""
    if (raw.width, raw.height) != (chosen.width, chosen.height):
        sizes = f"{raw.width}x{raw.height}, {chosen.width}x{chosen.height}"
        raise ValueError(f"two pictures of one frame have one size, not {sizes}")
    if (
        isinstance(raw, Yuv420)
        and isinstance(chosen, Yuv420)
        and raw.colour == chosen.colour
        and raw.height % 2 == 0  # else the lower one's chroma would start half a sample off
    ):
        planes = ((raw.y, chosen.y), (raw.u, chosen.u), (raw.v, chosen.v))
        y, u, v = (np.vstack(two) for two in planes)
        return replace(raw, y=y, u=u, v=v)
    return Rgb(np.vstack([_pixels(raw), _pixels(chosen)]))


def _pixels(picture: Picture) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return (picture if isinstance(picture, Rgb) else jpeg.to_rgb(picture)).pixels
