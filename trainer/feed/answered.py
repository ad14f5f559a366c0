"""Samples with the answer of a net that does not change: each is made once, and used many times."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from trainer.fit.task import Batch
from trainer.samples import Samples, moved
from trainer.tensors import chw, hwc

KEPT = ("image", "clear", "reference")
SHAKE = 0.02  # of the width: how far a reference is moved each time
TINT = 0.03  # its gains, one a channel
FARTHEST = 0.25  # share of each side that a stale one is moved by, at most


class Answered:
    """image, answer, clear, reference, far, wrong: 3 h w in [0, 1], of the first `count` samples.
    Each time they are flipped alike, and the reference is moved a little and tinted; far: the same
    moved by up to FARTHEST; wrong: that of another sample, which is mostly another scene.

    net: on the CPU, in eval mode. What it answered is held in memory, by each loading process.
    """

    def __init__(self, samples: Samples, net: nn.Module, count: int) -> None:
        self._samples, self._net, self._count = samples, net, count
        self._held: dict[int, dict[str, Tensor]] = {}

    def __len__(self) -> int:
        return self._count

    def sample(self, index: int, rng: np.random.Generator) -> Batch:
        held = self._answered(index)
        reference = moved(rng, hwc(held["reference"]), float(rng.exponential(SHAKE)))
        tinted = np.clip(reference * np.exp(rng.normal(0, TINT, 3)), 0, 1).astype(np.float32)
        h, w = tinted.shape[:2]
        y, x = rng.uniform(-FARTHEST, FARTHEST, 2)
        far = np.roll(tinted, (round(y * h), round(x * w)), (0, 1))
        other = (index + int(rng.integers(1, max(self._count, 2)))) % self._count
        views = {**held, "reference": chw(tinted), "far": chw(far), "wrong": self._beside(other)}
        sides = [side for side in (1, 2) if rng.random() < 0.5]
        return {name: view.float().flip(sides) for name, view in views.items()}

    def _beside(self, index: int) -> Tensor:
        """The reference of a sample, which need not have been answered."""
        held = self._held.get(index)
        return self._samples[index]["reference"].half() if held is None else held["reference"]

    def _answered(self, index: int) -> dict[str, Tensor]:
        if index not in self._held:
            sample = self._samples[index]
            with torch.inference_mode():
                answer = self._net(sample["image"][None])[0]
            views = {name: sample[name] for name in KEPT}
            # clone: a tensor of inference mode cannot be trained beside
            held = {name: view.half() for name, view in {**views, "answer": answer}.items()}
            self._held[index] = {name: view.clone() for name, view in held.items()}
        return self._held[index]
