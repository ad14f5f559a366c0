"""Clips with the clear frame from before the smoke: what SelfSVD trains on.

Layouts: LSVD's (a folder a clip; files in the order of their numbers, the first one is the PS
frame), and the scenes of `pairs/pairs.csv` (runs of consecutive smoky frames, a clear one each).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from trainer import dataset
from trainer.align import reference_mask
from trainer.feed.crops import Window, at_least, tensor
from trainer.feed.pairs import ASIDE, PICTURES
from trainer.fit.task import Batch
from trainer.pixels import Pixels


@dataclass(frozen=True, slots=True)
class Clip:
    """clear: the PS frame; frames: degraded ones in order."""

    group: str
    clear: Path
    frames: tuple[Path, ...]


def _number(path: Path) -> int:
    digits = re.findall(r"\d+", path.stem)
    if not digits:
        raise ValueError(f"{path} has no number in its name: the order of its clip is unknown")
    return int(digits[-1])


def clips(root: Path, length: int) -> tuple[list[Clip], list[Clip]]:
    """Clips of at least `length` frames to train on, and what to keep aside (scenes of pairs.csv
    only). Raises ValueError where there are none."""
    if (root / "pairs" / "pairs.csv").is_file():
        every = _scenes(root, length)
        train = [c for c in every if c.group not in ASIDE]
        aside = [c for c in every if c.group in ASIDE]
    else:
        train, aside = [], []
        for folder in sorted(p for p in root.iterdir() if p.is_dir()):
            files = sorted(
                (f for f in folder.iterdir() if f.suffix.lower() in PICTURES), key=_number
            )
            if len(files) > length:
                train.append(Clip(folder.name, files[0], tuple(files[1:])))
    if not train:
        raise ValueError(f"{root} holds no clip of a clear frame and {length} frames after it")
    return train, aside


def _scenes(root: Path, length: int) -> list[Clip]:
    """Runs of frames one after another with the same clear frame."""
    out: list[Clip] = []
    run: list[dataset.Pair] = []
    ordered = sorted(dataset.pairs(root), key=lambda p: (int(p.scene), _number(p.smoky)))
    for pair in [*ordered, None]:
        follows = (
            pair is not None
            and bool(run)
            and (pair.scene, pair.clear) == (run[-1].scene, run[-1].clear)
            and _number(pair.smoky) == _number(run[-1].smoky) + 1
        )
        if not follows:
            if len(run) >= length:
                out.append(Clip(run[0].scene, run[0].clear, tuple(p.smoky for p in run)))
            run = []
        if pair is not None:
            run.append(pair)
    return out


class Clips:
    """input: t 3 h w; reference: 3 h w (the PS frame); mask: t 1 h/4 w/4, 255 where the reference
    must not be used. uint8. One mask a clip window, as in the paper; from its middle frame."""

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

    def _compare(self, clear: Path, frame: Path) -> Pixels:
        degraded = self._load(frame)
        return (255 * reference_mask(_like(self._load(clear), degraded), degraded)).astype(np.uint8)

    def sample(self, index: int, rng: np.random.Generator) -> Batch:
        clip = self._clips[index]
        first = int(rng.integers(0, len(clip.frames) - self._length + 1))
        paths = clip.frames[first : first + self._length]
        frames = [self._load(p) for p in paths]
        h, w = frames[0].shape[:2]
        mask = self._mask(clip.clear, paths[len(paths) // 2])
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
