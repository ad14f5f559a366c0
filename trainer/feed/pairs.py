"""Pairs of a degraded and a clear picture, decoded once and held in memory."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from trainer import dataset
from trainer.align import Flow, align
from trainer.datasets import Item
from trainer.feed.data import Data
from trainer.pixels import Pixels, grey_levels

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


def shots(data: Data) -> tuple[list[Shot], list[Shot]]:
    """What to train on, and what to keep aside. Raises ValueError where there is no pair."""
    train, aside = data.halves("pairs")
    return [_shot(i) for i in train], [_shot(i) for i in aside]


def _shot(item: Item) -> Shot:
    assert item.degraded is not None and item.clear is not None
    return Shot(item.scene, item.degraded, item.clear)


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
