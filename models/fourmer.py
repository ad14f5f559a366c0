"""Fourmer: invertible spatial blocks beside convolutions of the spectrum.

Paper: M. Zhou, J. Huang, C.-L. Guo, C. Li: "Fourmer: An Efficient Global Modeling Paradigm for
Image Restoration", ICML 2023. The authors' code (manman1995/Fourmer) has no licence; this is
written from the paper and from measured behaviour, and takes checkpoints of that code.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from models.layers.fourier import irfft2, rfft2
from models.layers.instance_norm import InstanceNorm

SLOPE = 0.1
EXPONENT = 0.8  # the invertible block scales by at most exp of this


class HalfNorm(nn.Module):
    """Two 3x3 convolutions, half of the first's channels normalised (L. Chen et al., HINet)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.identity = nn.Conv2d(channels, channels, 1)
        self.conv_1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = InstanceNorm(channels // 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        normed, plain = self.conv_1(x).chunk(2, dim=1)
        out = F.leaky_relu(torch.cat([self.norm(normed), plain], dim=1), SLOPE)
        out = F.leaky_relu(self.conv_2(out), SLOPE)
        total: torch.Tensor = out + self.identity(x)
        return total


class Coupling(nn.Module):
    """One invertible step: each half of the channels is changed by functions of the other."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.F = HalfNorm(channels // 2)
        self.G = HalfNorm(channels // 2)
        self.H = HalfNorm(channels // 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = x.chunk(2, dim=1)
        first = first + self.F(second)
        exponent = EXPONENT * (2.0 * self.H(first).sigmoid() - 1.0)
        return torch.cat([first, second * exponent.exp() + self.G(first)], dim=1)


class Spatial(nn.Module):
    """The invertible step with a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block = Coupling(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.block(x) + x
        return out


def twice(channels: int, kernel: int) -> nn.Sequential:
    """Two convolutions of one part of a spectrum: depthwise 3x3 or pointwise."""

    def conv() -> nn.Conv2d:
        groups = channels if kernel > 1 else 1
        return nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=groups)

    return nn.Sequential(conv(), nn.LeakyReLU(SLOPE), conv())


class Spectral(nn.Module):
    """Convolutions of the real and of the imaginary part of the spectrum, unscaled."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.processreal = twice(channels, kernel)
        self.processimag = twice(channels, kernel)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h, w = x.shape[-2:]
        real, imag = rfft2(x, "backward")
        return irfft2(self.processreal(real), self.processimag(imag), (h, w), "backward")


class Pair(nn.Module):
    """Spatial and spectral branches, merged, with a shortcut; 3x3 or 1x1 throughout."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        padding = kernel // 2
        self.spatial_process = Spatial(channels)
        self.frequency_process = Spectral(channels, kernel)
        self.frequency_spatial = nn.Conv2d(channels, channels, kernel, padding=padding)
        self.cat = nn.Conv2d(2 * channels, channels, kernel, padding=padding)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spectral = self.frequency_spatial(self.frequency_process(x))
        out: torch.Tensor = self.cat(torch.cat([self.spatial_process(x), spectral], dim=1))
        return out + x


class Block(nn.Module):
    """Mixing along space, then along channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.spa = Pair(channels, 3)
        self.cha = Pair(channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.cha(self.spa(x))
        return out


class Features(nn.Module):
    """All blocks between two convolutions, with a shortcut."""

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(channels, channels, 3, padding=1)
        self.process = nn.Sequential(*[Block(channels) for _ in range(blocks)])
        self.convout = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.convout(self.process(self.conv0(x))) + x
        return out


class Fourmer(nn.Module):
    """The whole network: b 3 h w -> b 3 h w, any size. No shortcut from the picture."""

    def __init__(self, channels: int = 32, blocks: int = 10) -> None:
        super().__init__()
        self.extract = nn.Conv2d(3, channels, 1)
        self.process = Features(channels, blocks)
        self.recons = nn.Conv2d(channels, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.recons(self.process(self.extract(x)))
        return out
