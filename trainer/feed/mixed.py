"""Real pairs mixed with synthetic degradations over clear frames, whose truth is exact.

Pairs alone are few and of one camera; their misalignment teaches a net to blur and to hold back.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from trainer import dataset
from trainer.degrade import Camera, Recipe, degrade
from trainer.feed.crops import Crops, Window, at_least, covering, tensor
from trainer.fit.task import Batch
from trainer.pixels import Pixels, grey_levels, unit

VIEW = (256, 456)  # h w at which a whole view is degraded, before the crop: smoke fills views
CLEAR = 0.1  # share of synthetic samples left clear: what is clear must stay as it is


def truthful(root: Path, size: tuple[int, int] = VIEW) -> list[Pixels]:
    """The clear frames of the training patients in `root`/clean that are clear enough to stand
    for truth, at `size`; none where there is no such folder."""
    found = (f.path for f in dataset.clear_frames(root) if not f.held_out)
    held = (dataset.load(path, size) for path in found)
    return [pixels for pixels in held if dataset.hazy(pixels) < dataset.HAZY_LIMIT]


class Mixed:
    """As Crops; a share of the samples is synthetic. input, target: 3 h w; mask: 1 h w. uint8."""

    def __init__(self, real: Crops, clear: Sequence[Pixels], share: float) -> None:
        self._real, self._clear, self._share = real, clear, share

    def __len__(self) -> int:
        return len(self._real)

    def sample(self, index: int, rng: np.random.Generator) -> Batch:
        if not self._clear or rng.random() >= self._share:
            return self._real.sample(index, rng)
        size = self._real.size
        camera = Camera.draw(rng)
        recipe = Recipe() if rng.random() < CLEAR else Recipe.draw(rng)
        view = unit(self._clear[int(rng.integers(len(self._clear)))])
        done = degrade(view, recipe, rng, camera)
        zoom = float(rng.uniform(1, 1.6))  # real views come in many sizes
        sides = []
        for image in (done.image, done.truth.clear):
            h, w = image.shape[:2]
            shape = (round(w * zoom), round(h * zoom))
            sides.append(cv2.resize(grey_levels(image), shape, interpolation=cv2.INTER_LINEAR))
        sides = [at_least(s, size) for s in sides]
        if self._real.whole and rng.random() < self._real.whole:
            sides = [covering(s, size) for s in sides]
        window = Window.draw(rng, sides[0].shape, size)
        open_mask = np.full(sides[0].shape[:2], 255, np.uint8)
        cut = (tensor(window.cut(v)) for v in (*sides, open_mask))
        return dict(zip(("input", "target", "mask"), cut, strict=True))
