"""Clear frames by patient and real smoky-clear pairs by scene, cached at training size."""

from __future__ import annotations

import csv
import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
CACHE_SIZE = (180, 320)  # h w; crops of it are resized to the net's input
# patients no model ever trains on; cholec80 and "unknown" cannot be told apart, so they train
HELD_OUT_SHARE = 0.2


def shared_data() -> Path | None:
    """The data folder: $SURGICLEAR_SHARED/data, else ../shared/data beside the repository."""
    named = os.environ.get("SURGICLEAR_SHARED")
    root = Path(named) if named else Path(__file__).parent.parent.parent / "shared"
    data = root / "data"
    return data if data.is_dir() else None


@dataclass(frozen=True, slots=True)
class ClearFrame:
    """One clear frame and whose it is."""

    path: Path
    patient: str

    @property
    def held_out(self) -> bool:
        """Whether the patient is kept for testing: by a hash of the name, so it never moves."""
        if "unknown" in self.patient or "unkno" in self.patient:
            return False
        digest = hashlib.sha256(self.patient.encode()).digest()
        return digest[0] < 256 * HELD_OUT_SHARE


@dataclass(frozen=True, slots=True)
class Pair:
    """A real smoky frame and a real clear frame of the same scene, seconds apart."""

    scene: str
    smoky: Path
    clear: Path
    ncc: float


PATIENT = re.compile(r"^([a-z0-9]+)_+(?:t[_-])?([A-Za-z0-9]+(?:_[0-9]+)?)")


def patient_of(name: str) -> str:
    """The patient or case in a file name of shared/data/clean."""
    match = PATIENT.match(name)
    return "-".join(match.groups()) if match else name


def clear_frames(root: Path) -> list[ClearFrame]:
    """All clear frames, sorted by name."""
    return [ClearFrame(p, patient_of(p.name)) for p in sorted((root / "clean").glob("*.jpg"))]


def pairs(root: Path) -> list[Pair]:
    """All real pairs as pairs.csv lists them."""
    with (root / "pairs" / "pairs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        Pair(r["scene"], root / "pairs" / r["smoky"], root / "pairs" / r["clear"], float(r["ncc"]))
        for r in rows
    ]


def references(root: Path, scene: str) -> list[Path]:
    """All clear frames of one scene."""
    return sorted((root / "pairs" / f"scene{int(scene):02d}").glob("clear_*.jpg"))


def load(path: Path, size: tuple[int, int] | None = None) -> Pixels:
    """RGB h w 3. Raises ValueError for a file that is no picture."""
    data = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if data is None:
        raise ValueError(f"{path} is not a readable picture")
    pixels: Pixels = np.ascontiguousarray(data[..., ::-1])
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
