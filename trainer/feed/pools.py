"""Degraded and clear pictures that belong to no pair: what unpaired recipes train on.

Layouts: `hazy/` and `clear/`, in the folder or in one folder a case (Desmoke-LAP); `input/` and
`gt/`, whose pairing is then ignored; `smoky/` and `clean/`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from trainer import dataset
from trainer.feed.crops import Window, at_least, tensor
from trainer.feed.pairs import PICTURES
from trainer.fit.task import Batch
from trainer.pixels import Pixels

NAMES = (("hazy", "clear"), ("input", "gt"), ("smoky", "clean"))


def pools(root: Path) -> tuple[list[Path], list[Path]]:
    """Degraded pictures, clear pictures. Raises ValueError where one of them is missing."""

    def pictures(name: str) -> list[Path]:
        folders = [root / name, *sorted(root.glob(f"*/{name}"))]
        return sorted(
            f for d in folders if d.is_dir() for f in d.iterdir() if f.suffix.lower() in PICTURES
        )

    for degraded, clear in NAMES:
        found = pictures(degraded), pictures(clear)
        if all(found):
            return found
    raise ValueError(f"{root} holds neither of {', '.join('/ and '.join(n) + '/' for n in NAMES)}")


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
