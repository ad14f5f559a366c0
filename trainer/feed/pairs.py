"""Pairs of a degraded and a clear picture: where they are, which are kept aside, held in memory.

Two layouts are read here: `input/` beside `gt/` with equal file names (also under `train/`, with
what is kept aside in `test/` or `val/`), and `pairs/pairs.csv` (see trainer/dataset.py).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from trainer import dataset
from trainer.align import Flow, align
from trainer.pixels import Pixels, grey_levels

ASIDE = ("6", "9", "15")  # scenes of pairs.csv that are never trained on
ASIDE_SHARE = 0.15  # of the groups, where a folder does not say itself what to keep aside
PICTURES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
BUDGET_MIB = 4096  # decoded pictures held in memory; the rest is decoded each time
UNSURE = 77  # weight, of 255, where the flow is a guess: dense smoke lies there and must teach too


@dataclass(frozen=True, slots=True)
class Shot:
    """A degraded picture and a clear one of the same view; group: frames that must not be split
    between training and judging (a scene, a video)."""

    group: str
    degraded: Path
    clear: Path


class Views(NamedTuple):
    """degraded, clear: h w 3; mask: h w, 255 where the pair may teach, less where it may less."""

    degraded: Pixels
    clear: Pixels
    mask: Pixels


class Pairs(Protocol):
    """Pairs by index, as any data set can give them."""

    def __len__(self) -> int: ...

    def views(self, index: int) -> Views: ...


def shots(root: Path) -> tuple[list[Shot], list[Shot]]:
    """What to train on, and what to keep aside. Raises ValueError for a folder of neither layout,
    FileNotFoundError where a picture has no partner."""
    if (root / "pairs" / "pairs.csv").is_file():
        every = [Shot(p.scene, p.smoky, p.clear) for p in dataset.pairs(root)]
        return [s for s in every if s.group not in ASIDE], [s for s in every if s.group in ASIDE]
    inner = root / "train" if (root / "train" / "input").is_dir() else root
    if not (inner / "input").is_dir() or not (inner / "gt").is_dir():
        raise ValueError(f"{root} holds neither input/ and gt/ nor pairs/pairs.csv")
    train = _folder(inner)
    for name in ("val", "test"):
        if (root / name / "input").is_dir():
            return train, _folder(root / name)
    aside = [s for s in train if _kept_aside(s.group)]
    return [s for s in train if not _kept_aside(s.group)], aside


def _folder(root: Path) -> list[Shot]:
    found = []
    for path in sorted(p for p in (root / "input").iterdir() if p.suffix.lower() in PICTURES):
        partner = root / "gt" / path.name
        if not partner.is_file():
            raise FileNotFoundError(f"{path} has no partner {partner}")
        found.append(Shot(re.sub(r"[_-]?\d+$", "", path.stem) or path.stem, path, partner))
    return found


def _kept_aside(group: str) -> bool:
    """By a hash of the name, so that it never moves."""
    return hashlib.sha256(group.encode()).digest()[0] < 256 * ASIDE_SHARE


class Kept:
    """Shots, decoded once. aligned: the clear picture is warped onto the degraded one, and the
    mask says how far that can be believed (trainer/align.py); otherwise the mask is open."""

    def __init__(
        self,
        found: Sequence[Shot],
        *,
        aligned: bool = False,
        flow: Flow | None = None,
        budget_mib: int = BUDGET_MIB,
        threads: int = 2,
    ) -> None:
        self._shots, self._aligned, self._flow = list(found), aligned, flow
        self._held: list[Views] = []
        budget = budget_mib * 2**20
        # before the loading processes are forked, so that they share the memory
        with ThreadPoolExecutor(threads) as pool:
            for at in range(0, len(self._shots), 64):
                if budget <= 0:
                    break
                part = list(pool.map(self._read, self._shots[at : at + 64]))
                self._held += part
                budget -= sum(v.nbytes for views in part for v in views)

    def __len__(self) -> int:
        return len(self._shots)

    def views(self, index: int) -> Views:
        return self._held[index] if index < len(self._held) else self._read(self._shots[index])

    def _read(self, shot: Shot) -> Views:
        degraded, clear = dataset.load(shot.degraded), dataset.load(shot.clear)
        if degraded.shape != clear.shape:
            clear = dataset.resize(clear, degraded.shape[:2])
        mask = np.full(degraded.shape[:2], 255, np.uint8)
        if self._aligned:
            found = align(clear, degraded, flow=self._flow)
            clear = grey_levels(found.warped)
            mask = np.where(found.mask, 255, np.where(found.valid, UNSURE, 0)).astype(np.uint8)
        return Views(degraded, clear, mask)
