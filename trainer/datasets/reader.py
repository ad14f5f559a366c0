"""Pairs as arrays, by number, for a DataLoader: cached, cropped and turned the same on both sides.

Example number i of an epoch is the same whatever came before and however many workers there are.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.cache import Cache, Pixels, decode
from trainer.datasets.item import Found, Item

if TYPE_CHECKING:
    import torch

Example = dict[str, NDArray[np.uint8]]  # input, gt: 3 h w; mask: 1 h w where the data set has them


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """size: h w that every picture is brought to (None: as it is); crop: h w cut out of it at a
    random place (None: none); flip: left-right, up-down and transposed turns at random."""

    size: tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    flip: bool = False


class Reader:
    """Pairs of a data set. cache: folder for decoded pictures (needs a size)."""

    def __init__(
        self, items: Sequence[Item], shape: Shape = Shape(), *, cache: Path | None = None,
        seed: int = 0,
    ) -> None:  # fmt: skip
        self.items = [item for item in items if item.paired]
        if not self.items:
            raise ValueError("the data set holds no pair")
        if cache is not None and shape.size is None:
            raise ValueError("a cache holds pictures of one size: give it")
        self.shape, self.seed, self.epoch = shape, seed, 0
        self._cache = self._masks = None
        if cache is not None and shape.size is not None:
            files = (p for i in self.items for p in (i.degraded, i.clear) if p is not None)
            self._cache = Cache(cache, list(dict.fromkeys(files)), shape.size)
            masks = list(dict.fromkeys(i.mask for i in self.items if i.mask is not None))
            self._masks = Cache(cache, masks, shape.size) if masks else None

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, number: int) -> Example:
        """Raises PictureDamaged, IndexError."""
        item = self.items[number]
        assert item.degraded is not None and item.clear is not None
        sides = {
            "input": self._picture(self._cache, item.degraded),
            "gt": self._picture(self._cache, item.clear),
        }
        if item.mask is not None:
            sides["mask"] = self._picture(self._masks, item.mask)[..., :1]
        shapes = {side.shape[:2] for name, side in sides.items() if name != "mask"}
        if len(shapes) > 1:
            raise ValueError(f"{item.name}: the sides of the pair differ in size, {shapes}")
        return shaped(sides, self.shape, np.random.default_rng((self.seed, self.epoch, number)))

    def _picture(self, cache: Cache | None, path: Path) -> Pixels:
        return decode(path, self.shape.size) if cache is None else cache.get(path)

    def loader(
        self, *, batch: int, workers: int = 2, ahead: int = 4
    ) -> torch.utils.data.DataLoader[Any]:
        """A shuffled DataLoader of uint8 tensors b c h w. ahead: batches fetched by each worker
        before they are asked for. Call `epoch = n` before each pass for another order and cuts."""
        import torch

        return torch.utils.data.DataLoader(
            self,  # type: ignore[arg-type]  # has what a map-style set needs
            batch_size=batch,
            shuffle=True,
            generator=torch.Generator().manual_seed(self.seed),
            num_workers=workers,
            prefetch_factor=ahead if workers else None,
            drop_last=True,
        )


def shaped(sides: dict[str, Pixels], shape: Shape, rng: np.random.Generator) -> Example:
    """The same cut and the same turn of every side. h w c in, c h w out."""
    h, w = sides["gt"].shape[:2]
    top, left, tall, wide = 0, 0, h, w
    if shape.crop is not None:
        tall, wide = shape.crop
        if tall > h or wide > w:
            raise ValueError(f"a crop of {wide}x{tall} does not fit into {w}x{h}")
        top, left = int(rng.integers(h - tall + 1)), int(rng.integers(w - wide + 1))
    turns = rng.random(3) < 0.5 if shape.flip else np.zeros(3, bool)
    out: Example = {}
    for name, side in sides.items():
        if side.shape[:2] != (h, w):  # masks come at a quarter of the size
            side = np.repeat(np.repeat(side, -(-h // side.shape[0]), 0), -(-w // side.shape[1]), 1)
        part = side[top : top + tall, left : left + wide].transpose(2, 0, 1)
        if turns[0]:
            part = part[:, :, ::-1]
        if turns[1]:
            part = part[:, ::-1]
        if turns[2] and tall == wide:
            part = part.transpose(0, 2, 1)
        out[name] = np.ascontiguousarray(part)
    return out


def without(found: Found, report: Path) -> list[Item]:
    """The items none of whose files a saved check (`--json`) of the same data set calls wrong; it
    may have been moved since.

    Raises ValueError for a file that is no such check, OSError for one that cannot be read.
    """
    try:
        told = json.loads(report.read_text())
        name, root = told["dataset"], told["root"]
        bad = {os.path.relpath(problem["path"], root) for problem in told["problems"]}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{report} is no report of surgiclear dataset check --json") from error
    if name != found.dataset:
        raise ValueError(f"{report} is a check of {name}, and {found.root} is {found.dataset}")
    return [i for i in found.items if not bad & {os.path.relpath(p, found.root) for p in i.files}]
