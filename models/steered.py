"""FocalNet beside a clear picture of the same scene: a small branch steers colour and contrast.

Our own addition to models/focalnet.py, in the form of E. Reinhard et al., "Color Transfer between
Images" (IEEE CG&A 2001), only local and learned. FocalNet's answer is left as it is, but for a gain
about its local mean and a shift, which a few convolutions find on a grid of 18 x 32 cells, whatever
the size of the picture, from the means and deviations of the input, the answer and the reference.
So what is learned on small views holds at any size, and no structure of the reference that is finer
than a cell can come into the picture: every edge of the output is one of FocalNet's answer. Its
keys are FocalNet's own and `steer.*`; licence: this project's.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.focalnet import FocalNet

VIEW = (144, 256)  # h w that all pictures are averaged to; a reference of more tells no more
CELL = 8  # side of a cell of the grid, in pixels of VIEW
GAIN_MAX = 2.0  # and its inverse the least
SHIFT_MAX = 0.4  # of 1
LUMA = (0.299, 0.587, 0.114)


def overlaps(pixels: int, cells: int) -> Tensor:
    """cells pixels: the share of each of `pixels` in each of `cells`, of the same length together;
    rows sum to 1. The exact mean over an area is a product with it."""
    edges = np.arange(cells + 1) * pixels / cells
    left = np.maximum(edges[:-1, None], np.arange(pixels))
    right = np.minimum(edges[1:, None], np.arange(pixels) + 1)
    shares = np.clip(right - left, 0, None) * cells / pixels
    return torch.from_numpy(shares.astype(np.float32))


def averaged(x: Tensor, size: tuple[int, int]) -> Tensor:
    """b c h w -> its means over the areas of `size` (h w)."""
    h, w = x.shape[-2:]
    if (h, w) == size:
        return x
    out: Tensor = overlaps(h, size[0]).to(x) @ x @ overlaps(w, size[1]).to(x).T
    return out


def agreement(a: Tensor, b: Tensor) -> Tensor:
    """How well two sets of maps go together, b c h w each: their correlations over the cells, and
    over blocks of 3 by 4 of them, which small movements leave; b 2c, -1 to 1."""
    out = []
    for block in ((1, 1), (3, 4)):
        x, y = (F.avg_pool2d(z, block) for z in (a, b))
        x, y = (z - z.mean((2, 3), keepdim=True) for z in (x, y))
        # a smaller epsilon is taken for nothing by the exporter, and a flat picture gave no number
        deviations = [(z.square().mean((2, 3)) + 1e-6).sqrt() for z in (x, y)]
        out.append((x * y).mean((2, 3)) / (deviations[0] * deviations[1]))
    return torch.cat(out, 1)


class Steer(nn.Module):
    """Three pictures of VIEW's size, b 3 h w -> logarithm of the gain, and shift, on the grid:
    b 3 h/8 w/8 twice, within GAIN_MAX and SHIFT_MAX. Both are 0 before training."""

    luma: Tensor

    def __init__(self, width: int = 24, hidden: int = 32) -> None:
        super().__init__()
        features = 3 * 4  # of each picture three means and a deviation
        self.first = nn.Conv2d(features, width, 3, padding=1)
        self.overall = nn.Sequential(
            nn.Linear(2 * features, hidden), nn.GELU(), nn.Linear(hidden, width)
        )
        self.body = nn.ModuleList(
            [nn.Conv2d(width, width, 3, padding=d, dilation=d) for d in (2, 4, 1)]
        )
        self.last = nn.Conv2d(width + features, 6, 1)
        # one number for the whole picture: a reference of another scene is not to be followed
        decides = nn.Linear(16, 1)
        self.trust = nn.Sequential(nn.Linear(2 * features + 16, 16), nn.GELU(), decides)
        for weight in (*self.last.parameters(), *decides.parameters()):
            nn.init.zeros_(weight)
        nn.init.constant_(decides.bias, 2.0)
        self.register_buffer("luma", torch.tensor(LUMA).view(3, 1, 1), persistent=False)

    def told(self, view: Tensor) -> tuple[Tensor, Tensor]:
        """b 3 h w -> the means of its cells b 3 h/8 w/8, and with them the logarithm of the
        deviation of luma, b 4 h/8 w/8."""
        b, _, h, w = view.shape
        mean = F.avg_pool2d(view, CELL)
        luma = (view * self.luma).sum(1).reshape(b, h // CELL, CELL, w // CELL, CELL)
        around = luma - luma.mean((2, 4), keepdim=True)
        deviation = (around.square().mean((2, 4)) + 1e-4).log() / 8 + 0.6  # about 0 to 0.5
        return mean, torch.cat((mean - 0.4, deviation.unsqueeze(1)), 1)

    def forward(self, image: Tensor, answer: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
        told = [self.told(view)[1] for view in (image, answer, reference)]
        x = torch.cat(told, 1)
        spread = (x - x.mean((2, 3), keepdim=True)).square().mean((2, 3)).add(1e-6).sqrt()
        sums = torch.cat((x.mean((2, 3)), spread), 1)
        overall = self.overall(sums)
        alike = torch.cat([agreement(view, told[2]) for view in told[:2]], 1)
        trust = self.trust(torch.cat((sums, alike), 1)).sigmoid()[..., None, None]
        z = F.gelu(self.first(x) + overall[..., None, None])
        for layer in self.body:
            z = z + F.gelu(layer(z))
        gain, shift = (trust * torch.tanh(self.last(torch.cat((z, x), 1)))).chunk(2, 1)
        return math.log(GAIN_MAX) * gain, SHIFT_MAX * shift


class Steered(FocalNet):
    """b 3 h w -> b 3 h w, any size from 4. reference: b 3 h' w' of any size, a clear picture of the
    scene from before; known: b, how far to go by it, 0-1 (all of the way where it is not given).
    Without a reference, or with known 0, the answer is FocalNet's to the last bit."""

    def __init__(self, width: int = 32, blocks: int = 4) -> None:
        super().__init__(width, blocks)
        self.steer = Steer()

    def forward(
        self, x: Tensor, reference: Tensor | None = None, known: Tensor | None = None
    ) -> Tensor:
        answer = super().forward(x)
        if reference is None:
            return answer
        return self.steered(x, answer, reference, known)

    def steered(
        self, x: Tensor, answer: Tensor, reference: Tensor, known: Tensor | None = None
    ) -> Tensor:
        """The answer to x, steered: b 3 h w."""
        views = [averaged(p, VIEW) for p in (x, answer, reference)]
        log_gain, shift = self.steer(*views)
        maps = torch.cat((log_gain.exp() - 1, shift, self.steer.told(views[1])[0]), 1)
        if known is not None:
            maps = maps * known.view(-1, 1, 1, 1)
        wide = F.interpolate(maps, x.shape[-2:], mode="bilinear", align_corners=False)
        gain, shift, mean = wide.chunk(3, 1)
        return answer + gain * (answer - mean) + shift
