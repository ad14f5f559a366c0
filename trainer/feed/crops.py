"""Crops of pairs, flipped and turned: what still-picture recipes train on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from trainer.feed.pairs import Pairs
from trainer.fit.task import Batch
from trainer.pixels import Pixels


@dataclass(frozen=True, slots=True)
class Window:
    """One of the eight ways to lay a rectangle h w at y, x over a picture."""

    y: int
    x: int
    h: int
    w: int
    flip_x: bool = False
    flip_y: bool = False
    turn: bool = False

    @staticmethod
    def draw(rng: np.random.Generator, shape: Sequence[int], size: tuple[int, int]) -> Window:
        """Anywhere in a picture of `shape`; turned only where it is square."""
        h, w = size
        y, x = (int(rng.integers(0, n - m + 1)) for n, m in zip(shape, size, strict=False))
        flips = rng.random(3) < 0.5
        return Window(y, x, h, w, bool(flips[0]), bool(flips[1]), bool(flips[2]) and h == w)

    def cut(self, pixels: Pixels) -> Pixels:
        """h w c or h w -> the window of it."""
        part = pixels[self.y : self.y + self.h, self.x : self.x + self.w]
        part = part[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]
        return np.swapaxes(part, 0, 1) if self.turn else part


def covering(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """The picture, scaled so that the window only just fits: it shows as much as it can."""
    h, w = pixels.shape[:2]
    scale = max(size[0] / h, size[1] / w)
    shape = (max(size[1], round(w * scale)), max(size[0], round(h * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    out: Pixels = cv2.resize(pixels, shape, interpolation=how)
    return out


def at_least(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """The picture, enlarged where a side is shorter than the window's."""
    h, w = pixels.shape[:2]
    return pixels if h >= size[0] and w >= size[1] else covering(pixels, size)


def tensor(pixels: Pixels) -> Tensor:
    """h w 3 or h w -> c h w, still uint8: a quarter of the bytes between processes and to a GPU."""
    chw = pixels.transpose(2, 0, 1) if pixels.ndim == 3 else pixels[None]
    return torch.from_numpy(np.ascontiguousarray(chw))


class Crops:
    """input, target: 3 h w; mask: 1 h w, 255 where the pair may teach. uint8.

    whole: share of the samples that show the view and not a detail of it; overall colour and
    brightness cannot be learned from details."""

    def __init__(self, pairs: Pairs, size: tuple[int, int], whole: float = 0.0) -> None:
        self._pairs, self.size, self.whole = pairs, size, whole

    def __len__(self) -> int:
        return len(self._pairs)

    def sample(self, index: int, rng: np.random.Generator) -> Batch:
        views = [at_least(v, self.size) for v in self._pairs.views(index)]
        if self.whole and rng.random() < self.whole:
            views = [covering(v, self.size) for v in views]
        window = Window.draw(rng, views[0].shape, self.size)
        cut = (tensor(window.cut(v)) for v in views)
        return dict(zip(("input", "target", "mask"), cut, strict=True))


def unit(value: Tensor) -> Tensor:
    """uint8 to [0, 1] on the device; floats as they are."""
    return value.float().div_(255) if value.dtype == torch.uint8 else value
