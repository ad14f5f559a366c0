"""Data sets by folder: what it is, what it holds, what is wrong with it; pictures at a size.

The layouts are in trainer/datasets/, one file each.
"""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.datasets import LAYOUTS, Found
from trainer.datasets.cache import picture
from trainer.datasets.check import Report, examine
from trainer.datasets.scenes import (
    HELD_OUT_SHARE,
    ClearFrame,
    Pair,
    clear_frames,
    pairs,
    patient_of,
    references,
)

__all__ = [
    "CACHE_SIZE", "HAZY_LIMIT", "HELD_OUT_SHARE", "ClearFrame", "Pair", "Pixels", "Report",
    "check", "clear_frames", "hazy", "load", "pairs", "patient_of", "recognise", "references",
    "resize", "shared_data",
]  # fmt: skip

Pixels = NDArray[np.uint8]
CACHE_SIZE = (180, 320)  # h w; crops of it are resized to the net's input
HAZY_LIMIT = 0.23  # clear frames over this dark channel are no ground truth for synthesis


def shared_data() -> Path | None:
    """The data folder: $SURGICLEAR_SHARED/data, else ../shared/data beside the repository."""
    named = os.environ.get("SURGICLEAR_SHARED")
    root = Path(named) if named else Path(__file__).parent.parent.parent / "shared"
    data = root / "data"
    return data if data.is_dir() else None


def recognise(folder: Path) -> Found:
    """What data set a folder is, with its items by name; no picture is opened.

    Raises FileNotFoundError for no folder, ValueError for one that is no known layout.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder")
    for layout in LAYOUTS:
        root = layout.recognise(folder)
        if root is not None:
            return layout.read(root)
    known = "; ".join(f"{layout.name} ({layout.about})" for layout in LAYOUTS)
    raise ValueError(f"{folder} is no data set that is known here. Known are: {known}")


def check(folder: Path, *, decode: bool = True, workers: int | None = None) -> Report:
    """Counts and every problem. decode: open every picture whole (else names alone).

    Raises as `recognise`.
    """
    return examine(recognise(folder), decode=decode, workers=workers)


def load(path: Path, size: tuple[int, int] | None = None) -> Pixels:
    """RGB h w 3. Raises PictureDamaged for a file that is no picture."""
    pixels: Pixels = np.ascontiguousarray(picture(path)[..., ::-1])
    return pixels if size is None else resize(pixels, size)


def resize(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """To h w by area, as the run time does."""
    out: Pixels = cv2.resize(pixels, (size[1], size[0]), interpolation=cv2.INTER_AREA)
    return out


def hazy(pixels: Pixels) -> float:
    """How veiled a frame looks: its dark channel (He et al., CVPR 2009), 20th percentile, 0-1."""
    dark = cv2.erode(pixels.min(2), np.ones((9, 9), np.uint8))
    lit = dark[pixels.max(2) > 24]
    return float(np.percentile(lit, 20)) / 255.0 if lit.size else 0.0
