"""The nets of adversarial training that never ship: a patch critic and a residual generator.

Papers: P. Isola, J.-Y. Zhu, T. Zhou, A. Efros, CVPR 2017 (PatchGAN); J.-Y. Zhu, T. Park, P. Isola,
A. Efros, ICCV 2017 (CycleGAN); X. Mao et al., ICCV 2017 (least squares). Written from the papers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def _drawn(net: nn.Module) -> None:
    """Weights from N(0, 0.02), as both papers do."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class Critic(nn.Module):
    """b 3 h w -> b 1 h' w' of scores, 30x30 for 256x256: each judges 70x70 pixels."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for number, stride in enumerate((2, 2, 1)):
            inner, outer = width * 2**number, width * 2 ** (number + 1)
            layers += [
                nn.Conv2d(inner, outer, 4, stride, 1),
                nn.InstanceNorm2d(outer),
                nn.LeakyReLU(0.2),
            ]
        self.main = nn.Sequential(*layers, nn.Conv2d(8 * width, 1, 4, 1, 1))
        _drawn(self)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.main(2 * x - 1)
        return out


class _Residual(nn.Module):
    """Two reflected 3x3 convolutions and a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect"),
            nn.InstanceNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect"),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.main(x)
        return out


class Generator(nn.Module):
    """b 3 h w in [0, 1] -> the same; sides are multiples of 4."""

    def __init__(self, width: int = 64, blocks: int = 9) -> None:
        super().__init__()
        c = width
        self.main = nn.Sequential(
            nn.Conv2d(3, c, 7, padding=3, padding_mode="reflect"), nn.InstanceNorm2d(c), nn.ReLU(),
            nn.Conv2d(c, 2 * c, 3, 2, 1), nn.InstanceNorm2d(2 * c), nn.ReLU(),
            nn.Conv2d(2 * c, 4 * c, 3, 2, 1), nn.InstanceNorm2d(4 * c), nn.ReLU(),
            *[_Residual(4 * c) for _ in range(blocks)],
            nn.ConvTranspose2d(4 * c, 2 * c, 3, 2, 1, 1), nn.InstanceNorm2d(2 * c), nn.ReLU(),
            nn.ConvTranspose2d(2 * c, c, 3, 2, 1, 1), nn.InstanceNorm2d(c), nn.ReLU(),
            nn.Conv2d(c, 3, 7, padding=3, padding_mode="reflect"), nn.Tanh(),
        )  # fmt: skip
        _drawn(self)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = (self.main(2 * x - 1) + 1) / 2
        return out


def convinced(scores: Tensor) -> Tensor:
    """What a maker pays for scores of what it made (least squares)."""
    return ((scores - 1) ** 2).mean()


def discerning(real: Tensor, made: Tensor) -> Tensor:
    """What a critic pays."""
    return 0.5 * (((real - 1) ** 2).mean() + (made**2).mean())


def batched(net: nn.Module, *pictures: Tensor) -> list[Tensor]:
    """One call for several batches."""
    joined = torch.cat(pictures)
    return list(torch.split(net(joined), [len(p) for p in pictures]))
