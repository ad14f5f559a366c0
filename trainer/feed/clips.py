"""Clips with the clear frame from before the smoke (the PS frame): what SelfSVD trains on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch

from trainer import dataset
from trainer.align import reference_mask
from trainer.datasets import Item
from trainer.feed.crops import Window, at_least, tensor
from trainer.feed.data import Data
from trainer.fit.task import Batch
from trainer.pixels import Pixels


@dataclass(frozen=True, slots=True)
class Clip:
    """clear: the PS frame; frames: degraded ones in order; masks: one for each, where the data set
    has it, white where the PS frame must not be used."""

    group: str
    clear: Path
    frames: tuple[Path, ...]
    masks: tuple[Path | None, ...]


def clips(data: Data, length: int) -> tuple[list[Clip], list[Clip]]:
    """Clips of at least `length` frames to train on, and what to keep aside. Raises ValueError
    where there are none."""
    train, aside = (_runs(items, length) for items in data.halves("clips"))
    if not train:
        raise ValueError(f"{data.root} holds no clip of a clear frame and {length} frames after it")
    return train, aside


def _runs(items: Sequence[Item], length: int) -> list[Clip]:
    """Frames one after another, with the same clear frame."""
    scenes: dict[str, list[Item]] = {}
    for item in items:
        scenes.setdefault(item.scene, []).append(item)
    out: list[Clip] = []
    for scene, frames in scenes.items():
        run: list[Item] = []
        for item in sorted(frames, key=_position):
            if run and (item.clear, _position(item)) != (run[-1].clear, _position(run[-1]) + 1):
                out += _clip(scene, run, length)
                run = []
            run.append(item)
        out += _clip(scene, run, length)
    return out


def _position(item: Item) -> int:
    assert item.position is not None
    return item.position


def _clip(scene: str, run: Sequence[Item], length: int) -> list[Clip]:
    """One, or none where the run is too short."""
    frames = tuple(i.degraded for i in run if i.degraded is not None)
    clear = run[0].clear
    assert clear is not None
    return [Clip(scene, clear, frames, tuple(i.mask for i in run))] * (len(run) >= length)


class Clips:
    """input: t 3 h w; reference: 3 h w (the PS frame); mask: t 1 h/4 w/4, 255 where the reference
    must not be used. uint8. One mask a clip window, as in the paper: its middle frame's, the data
    set's own where it has one."""

    def __init__(self, found: Sequence[Clip], size: int, length: int = 5) -> None:
        if size % 4:
            raise ValueError(f"a crop of {size} is no multiple of 4")
        self._clips, self._size, self._length = list(found), size, length
        # a frame is wanted again and again, in ever other windows
        self._load = lru_cache(maxsize=256)(self._read)
        self._mask = lru_cache(maxsize=1024)(self._compare)

    def __len__(self) -> int:
        return len(self._clips)

    def _read(self, path: Path) -> Pixels:
        return at_least(dataset.load(path), (self._size, self._size))

    def _compare(self, clear: Path, frame: Path, mask: Path | None) -> Pixels:
        degraded = self._load(frame)
        if mask is not None:
            size = (degraded.shape[1] // 4, degraded.shape[0] // 4)
            own = cv2.resize(dataset.load(mask)[..., 0], size, interpolation=cv2.INTER_NEAREST)
            return np.where(own > 127, 255, 0).astype(np.uint8)
        return (255 * reference_mask(_like(self._load(clear), degraded), degraded)).astype(np.uint8)

    def sample(self, index: int, rng: np.random.Generator) -> Batch:
        clip = self._clips[index]
        first = int(rng.integers(0, len(clip.frames) - self._length + 1))
        paths = clip.frames[first : first + self._length]
        frames = [self._load(p) for p in paths]
        h, w = frames[0].shape[:2]
        middle = first + self._length // 2
        mask = self._mask(clip.clear, clip.frames[middle], clip.masks[middle])
        side = self._size // 4
        # whole cells of the mask: the window begins at a multiple of 4
        y, x = (int(rng.integers(0, n // 4 - side + 1)) for n in (h, w))
        flip = bool(rng.random() < 0.5)
        window = Window(4 * y, 4 * x, self._size, self._size, flip_x=flip)
        coarse = Window(y, x, side, side, flip_x=flip)
        hidden = tensor(coarse.cut(mask))[None].expand(self._length, -1, -1, -1)
        stack = np.stack([window.cut(f) for f in frames])  # t h w 3
        return {
            "input": torch.from_numpy(np.ascontiguousarray(stack.transpose(0, 3, 1, 2))),
            "reference": tensor(window.cut(_like(self._load(clip.clear), frames[0]))),
            "mask": hidden.contiguous(),
        }


def _like(pixels: Pixels, other: Pixels) -> Pixels:
    same = pixels.shape == other.shape
    return pixels if same else dataset.resize(pixels, (other.shape[0], other.shape[1]))
