"""A picture as the decoder gives it: 8-bit YUV 4:2:0 planes, or packed RGB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.uint8]
Matrix = Literal["bt601", "bt709"]

# Kr, Kb of ITU-R BT.601-7 section 2.5.1 and BT.709-6 section 3.2
LUMA_WEIGHTS: dict[Matrix, tuple[float, float]] = {
    "bt601": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
}


@dataclass(frozen=True, slots=True)
class Colour:
    """How planes encode colour: the matrix, and whether luma uses 0-255 (full) or 16-235."""

    matrix: Matrix = "bt709"
    full_range: bool = False


@dataclass(frozen=True, slots=True)
class Yuv420:
    """Planar YUV 4:2:0, 8 bit. y: h w; u, v: ceil(h/2) ceil(w/2). Rows may be strided."""

    y: Plane
    u: Plane
    v: Plane
    colour: Colour = Colour()

    def __post_init__(self) -> None:
        h, w = self.y.shape
        chroma = ((h + 1) // 2, (w + 1) // 2)
        if self.u.shape != chroma or self.v.shape != chroma:
            raise ValueError(f"chroma planes {self.u.shape}, {self.v.shape} do not fit luma {h, w}")

    @property
    def height(self) -> int:
        return int(self.y.shape[0])

    @property
    def width(self) -> int:
        return int(self.y.shape[1])


@dataclass(frozen=True, slots=True)
class Rgb:
    """Packed RGB, 8 bit, full range. pixels: h w 3."""

    pixels: NDArray[np.uint8]

    def __post_init__(self) -> None:
        if self.pixels.ndim != 3 or self.pixels.shape[2] != 3:
            raise ValueError(f"expected h w 3, got {self.pixels.shape}")

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])


Picture = Yuv420 | Rgb


def rgb_matrix(matrix: Matrix) -> NDArray[np.float64]:
    """3x3 M with (r, g, b) = M (y, u, v) for y in [0, 1] and u, v in [-0.5, 0.5]."""
    kr, kb = LUMA_WEIGHTS[matrix]
    kg = 1.0 - kr - kb
    rv, bu = 2.0 * (1.0 - kr), 2.0 * (1.0 - kb)
    return np.array(
        [[1.0, 0.0, rv], [1.0, -bu * kb / kg, -rv * kr / kg], [1.0, bu, 0.0]], dtype=np.float64
    )
