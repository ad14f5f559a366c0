"""What one sampled frame shows, in numbers: the detector's evidence, detail, colour, structure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.picture import Rgb
from engines.restorer import KINDS, Restorer, SplashType

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

SMALL = (144, 256)  # h w at which everything is measured, the size the detector works at
GRID = (9, 16)  # cells in which detail and dark floor are compared with the case's clear frames
SKETCH = (36, 64)
LIT = 24  # a pixel whose brightest channel is above it is lit
LOGIT_MOST = 8.0

# Out of the body, measured on lit pixels. Tissue and blood are red or violet, fat and smoke are
# pale; what is green to blue and saturated is drape, glove or gown. Dense smoke leaves grey, so
# grey alone proves nothing; blue plastic instruments do not either, while there is tissue.
FOREIGN, TISSUE = 0.3, 0.1  # shares of the lit pixels: more than, less than
DARK = 0.04  # share of lit pixels: light off, or inside the trocar

# Two samples in a row, half a second apart: real scopes in quick motion agree in structure to 0.07
# and change colour to 0.4, smoke and splashes stay over 0.5 and under 0.35.
NEW_VIEW = 0.4  # agreement under which a clear view is another one, cut or turned to
CUT_VIEW = 0.5  # agreement under which it is a cut where the colours change as well
CUT_COLOUR = 0.45  # Bhattacharyya distance of colours


@dataclass(frozen=True, slots=True)
class Reading:
    """One sampled frame. logits: smoke, fog, splash; coverage: the detector's, worst kind; detail,
    floor: GRID, mean absolute Laplacian and dark channel, in grey levels; lit: share of the
    picture; foreign, tissue: of the lit; sharp: mean detail of the lit cells; sketch: SKETCH,
    structure without light and contrast; colours: histogram of hue and saturation, sums to 1."""

    time_ns: int
    logits: tuple[float, float, float]
    coverage: float
    splash_type: SplashType | None
    detail: Floats
    floor: Floats
    lit: float
    foreign: float
    tissue: float
    sharp: float
    sketch: Floats
    colours: Floats

    @property
    def outside(self) -> str:
        """Why this is no view of the inside of a body; empty where it may be one."""
        if self.lit < DARK:
            return "dark"
        if self.foreign > FOREIGN and self.tissue < TISSUE:
            return "colours of no tissue"
        return ""


def read(small: Pixels, time_ns: int, restorer: Restorer, reference: Pixels | None) -> Reading:
    """small, reference: SMALL 3, RGB; the reference is the last frame known to be clear."""
    # referring anew makes the restorer look at this very frame, whatever it saw before
    restorer.refer(None if reference is None else Rgb(reference))
    seen = restorer.analyse(Rgb(small)).detection
    kinds = [getattr(seen, kind) for kind in KINDS]
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    cells = (GRID[1], GRID[0])
    laplacian = np.abs(cv2.Laplacian(grey, cv2.CV_32F))
    dark = cv2.erode(small.min(2), np.ones((9, 9), np.uint8)).astype(np.float32)
    detail = cv2.resize(laplacian, cells, interpolation=cv2.INTER_AREA)
    floor = cv2.resize(dark, cells, interpolation=cv2.INTER_AREA)
    lit, foreign, tissue, colours = _colours(small)
    bright = cv2.resize(grey, cells, interpolation=cv2.INTER_AREA) > LIT
    return Reading(
        time_ns=time_ns,
        logits=(_logit(kinds[0]), _logit(kinds[1]), _logit(kinds[2])),
        coverage=max(kind.coverage for kind in kinds),
        splash_type=seen.splash_type,
        detail=detail,
        floor=floor,
        lit=lit,
        foreign=foreign,
        tissue=tissue,
        sharp=float(detail[bright].mean()) if bright.any() else 0.0,
        sketch=sketch(grey),
        colours=colours,
    )


def _logit(kind: object) -> float:
    p = min(max(float(getattr(kind, "probability")), 1e-6), 1 - 1e-6)  # noqa: B009
    return min(max(math.log(p / (1 - p)), -LOGIT_MOST), LOGIT_MOST)


def _colours(small: Pixels) -> tuple[float, float, float, Floats]:
    """Share of lit pixels; of those, in no tissue's colours and in tissue's; histogram of them."""
    hsv = cv2.cvtColor(small, cv2.COLOR_RGB2HSV)
    lit = small.max(2) > LIT
    count = int(lit.sum())
    hue, saturation = hsv[..., 0], hsv[..., 1]  # hue in steps of 2 degrees
    red = lit & ((hue < 18) | (hue > 150)) & (saturation > 64)
    strange = lit & (hue > 35) & (hue < 122) & (saturation > 64)  # 70 to 244 degrees
    histogram = cv2.calcHist([hsv], [0, 1], lit.astype(np.uint8), [12, 4], [0, 180, 0, 256])
    total = max(1.0, float(histogram.sum()))
    shares = [float(part.sum()) / max(1, count) for part in (strange, red)]
    spread = (histogram.ravel() / total).astype(np.float32)
    return count / lit.size, shares[0], shares[1], spread


def sketch(grey: Pixels) -> Floats:
    """Structure alone: each place against its surroundings, in units of their contrast, so that
    a veil, which adds light and takes contrast, changes it little. SKETCH."""
    size = (SKETCH[1], SKETCH[0])
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    mean = cv2.GaussianBlur(small, (0, 0), 4)
    rest = small - mean
    spread = np.sqrt(cv2.GaussianBlur(rest * rest, (0, 0), 6)) + 1.5  # the noise floor
    # the edge of a round field of view is the same in every scene
    lit = cv2.erode((small > LIT).astype(np.uint8), np.ones((5, 5), np.uint8))
    out: Floats = np.clip(rest / spread, -3, 3) * lit
    return out


def agreement(a: Floats, b: Floats, reach: int = 4) -> float:
    """The best correlation of two sketches over shifts up to `reach` cells, -1 to 1."""
    inner = b[reach:-reach, reach:-reach]
    if min(float(a.std()), float(inner.std())) < 1e-3:
        return 0.0  # a blank frame is like no other
    scores = cv2.matchTemplate(a, np.ascontiguousarray(inner), cv2.TM_CCOEFF_NORMED)
    best = float(scores.max())
    return best if math.isfinite(best) else 0.0


def is_cut(before: Reading, now: Reading, *, veiled: bool) -> bool:
    """Whether the view has changed between two samples in a row, more than a scope moves.

    veiled: smoke hides structure, so that only a change of colours too is a cut.
    """
    same = agreement(before.sketch, now.sketch)
    if same >= CUT_VIEW:
        return False
    overlap = float(np.sqrt(before.colours * now.colours).sum())
    recoloured = math.sqrt(max(0.0, 1.0 - overlap)) > CUT_COLOUR
    return recoloured or (same < NEW_VIEW and not veiled)
