"""Judges: figures of what the net makes, beside its input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from training import scene, veiled

from trainer.feed.pairs import Views
from trainer.pixels import unit
from trainer.tasks.judging import PairJudge, middle, restored


class Few:
    """Ten pairs under an even veil."""

    def __len__(self) -> int:
        return 10

    def views(self, index: int) -> Views:
        clear = scene(index, 50, 70)
        return Views(veiled(clear), clear, np.full((50, 70), 255, np.uint8))


class Unveil(nn.Module):
    """The exact inverse of `veiled`, or a share of it."""

    def __init__(self, share: float = 1.0) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.tensor(share))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.share * ((x - 100 / 255) / 0.5 - x)


def test_a_perfect_net_is_perfect_and_gain_is_over_the_input() -> None:
    judge = PairJudge(Few(), count=4)
    perfect, half, none = (judge(Unveil(s)) for s in (1.0, 0.5, 0.0))
    assert perfect["psnr"] > 45 and perfect["ssim"] > 0.98
    assert perfect["score"] == perfect["psnr"] > half["psnr"] > none["psnr"]
    assert none["gain"] == pytest.approx(0, abs=1e-6) and half["gain"] > 1
    assert none["psnr_normalised"] > 35  # an even veil is gain and offset


def test_pictures_come_back_as_they_went() -> None:
    pixels = scene(1, 32, 48)
    assert np.allclose(restored(nn.Conv2d(1, 1, 1), pixels, lambda _, x: x), unit(pixels))
    assert middle(scene(1, 50, 70), 256).shape == (48, 64, 3)
    assert middle(scene(1, 50, 70), 32).shape == (32, 32, 3)
