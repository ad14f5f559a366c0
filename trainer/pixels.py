"""uint8 to float and back: the one place where grey levels become [0, 1]."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Image = NDArray[np.float32]


def unit(pixels: Pixels) -> Image:
    """0-255 to [0, 1]."""
    return pixels.astype(np.float32) / np.float32(255)


def grey_levels(image: Image) -> Pixels:
    """[0, 1] to 0-255, rounded; values beyond are clipped."""
    return np.round(np.clip(image, 0, 1) * np.float32(255)).astype(np.uint8)
