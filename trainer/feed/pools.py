"""Degraded and clear pictures that belong to no pair, or whose pairing is ignored: what unpaired
recipes train on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from trainer import dataset
from trainer.feed.crops import Window, at_least, tensor
from trainer.feed.data import Data
from trainer.fit.task import Batch
from trainer.pixels import Pixels


def pools(data: Data) -> tuple[list[Path], list[Path]]:
    """Degraded pictures, clear pictures, by name. Raises ValueError where either is missing."""
    train, _ = data.halves("pools")
    degraded = sorted({i.degraded for i in train if i.degraded is not None})
    clear = sorted({i.clear for i in train if i.clear is not None})
    if not degraded or not clear:
        raise ValueError(f"{data.root} holds no {'clear' if degraded else 'degraded'} picture")
    return degraded, clear


class Pools:
    """input: 3 h w of a degraded picture, target: 3 h w of any clear one. uint8."""

    def __init__(self, degraded: Sequence[Path], clear: Sequence[Path], size: int) -> None:
        self._degraded, self._clear, self._size = list(degraded), list(clear), (size, size)
        self._load = lru_cache(maxsize=512)(self._read)

    def __len__(self) -> int:
        return len(self._degraded)

    def _read(self, path: Path) -> Pixels:
        return at_least(dataset.load(path), self._size)

    def sample(self, index: int, rng: np.random.Generator) -> Batch:
        other = self._clear[int(rng.integers(len(self._clear)))]
        out = {}
        for name, path in (("input", self._degraded[index]), ("target", other)):
            pixels = self._load(path)
            out[name] = tensor(Window.draw(rng, pixels.shape, self._size).cut(pixels))
        return out
