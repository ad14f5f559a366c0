"""SFHformer: local convolutions beside a learned filter of the whole spectrum.

Paper: X. Jiang, X. Zhang, N. Gao, Y. Deng: "When Fast Fourier Transform Meets Transformer for
Image Restoration", ECCV 2024. The authors' code (deng-ai-lab/SFHformer) is MIT; this is written
from the paper and from measured behaviour, and takes checkpoints of that code.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from models.layers.fourier import irfft2, rfft2
from models.layers.padding import pad_to_multiple

FILTERS = 4  # that a frequency chooses among


def pointwise(inputs: int, outputs: int, act: bool = False) -> nn.Sequential:
    """A 1x1 convolution, with GELU after it if asked for."""
    conv = nn.Conv2d(inputs, outputs, 1)
    return nn.Sequential(conv, nn.GELU()) if act else nn.Sequential(conv)


def depthwise(channels: int, kernel: int, dilation: int = 1) -> nn.Conv2d:
    padding = dilation * (kernel // 2)
    return nn.Conv2d(
        channels, channels, kernel, padding=padding, dilation=dilation, groups=channels
    )


class SpectralFilter(nn.Module):
    """Filters the spectrum; each frequency blends the answers of four channel groups' filters.

    The 2c channels of a spectrum are interleaved: real, imaginary, real, ...
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        both = 2 * channels
        self.bn = nn.BatchNorm2d(both)
        self.fdc = nn.Conv2d(both, FILTERS * both, 1, groups=FILTERS)
        self.weight = nn.Sequential(nn.Conv2d(both, FILTERS, 1), nn.Softmax(dim=1))
        self.fpe = depthwise(both, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h, w = x.shape[-2:]
        spectrum = torch.stack(rfft2(x, "ortho"), dim=2).flatten(1, 2)  # b (c 2) h w/2+1
        spectrum = self.bn(spectrum)
        spectrum = spectrum + self.fpe(spectrum)
        blend = self.weight(spectrum).unsqueeze(2)  # b 4 1 h w/2+1
        b, both, *area = spectrum.shape
        answers = self.fdc(spectrum).view(b, FILTERS, both, *area)
        spectrum = F.gelu((answers * blend).sum(dim=1))
        return irfft2(spectrum[:, 0::2], spectrum[:, 1::2], (h, w), "ortho")


class GlobalMixer(nn.Module):
    """The spectral filter between two pointwise layers, with a shortcut around it."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv_init = pointwise(dim, 2 * dim, act=True)
        self.conv_fina = pointwise(2 * dim, dim, act=True)
        self.FFC = SpectralFilter(2 * dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv_init(x)
        out: torch.Tensor = self.conv_fina(x + self.FFC(x))
        return out


class LocalMixer(nn.Module):
    """Depthwise 3x3 on one half of the channels, the same with dilation 2 on the other."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.CDilated_1 = depthwise(dim // 2, 3)
        self.CDilated_2 = depthwise(dim // 2, 3, dilation=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        near, far = x.chunk(2, dim=1)
        return torch.cat([self.CDilated_1(near), self.CDilated_2(far)], dim=1)


class Mixer(nn.Module):
    """Local and global mixers side by side, then channel attention."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.mixer_local = LocalMixer(dim)
        self.mixer_gloal = GlobalMixer(dim)  # the checkpoints' spelling
        self.ca_conv = pointwise(2 * dim, dim)
        self.ca = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(2 * dim, dim, 1),
            nn.ReLU(),
            nn.Conv2d(dim, 2 * dim, 1),
            nn.Sigmoid(),
        )
        self.conv_init = pointwise(dim, 2 * dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        local, whole = self.conv_init(x).chunk(2, dim=1)
        x = F.gelu(torch.cat([self.mixer_local(local), self.mixer_gloal(whole)], dim=1))
        out: torch.Tensor = self.ca_conv(self.ca(x) * x)
        return out


class FeedForward(nn.Module):
    """Depthwise kernels of 1 (none), 3, 5 and 7, each on a quarter of the channels."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        part = dim // 2
        self.conv_init = pointwise(dim, 2 * dim)
        self.conv1_1 = nn.Sequential(depthwise(part, 3))
        self.conv1_2 = nn.Sequential(depthwise(part, 5))
        self.conv1_3 = nn.Sequential(depthwise(part, 7))
        self.conv_fina = pointwise(2 * dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one, three, five, seven = self.conv_init(x).chunk(4, dim=1)
        parts = [one, self.conv1_1(three), self.conv1_2(five), self.conv1_3(seven)]
        out: torch.Tensor = self.conv_fina(F.gelu(torch.cat(parts, dim=1)))
        return out


class Block(nn.Module):
    """Mixer and feed-forward, each after a batch norm, added with learned weights."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.zeros(1, dim, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, dim, 1, 1))
        self.norm1 = nn.BatchNorm2d(dim)
        self.norm2 = nn.BatchNorm2d(dim)
        self.mixer = Mixer(dim)
        self.ffn = FeedForward(dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.beta * self.mixer(self.norm1(x))
        out: torch.Tensor = x + self.gamma * self.ffn(self.norm2(x))
        return out


class Stage(nn.Module):
    """The blocks of one scale."""

    def __init__(self, dim: int, depth: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*[Block(dim) for _ in range(depth)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.blocks(x)
        return out


class Step(nn.Module):
    """One change of resolution, or of picture to features."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.proj = nn.Sequential(*layers) if len(layers) > 1 else layers[0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.proj(x)
        return out


class SFHformer(nn.Module):
    """The whole network: b 3 h w -> b 3 h w, any size from 4.

    The original takes multiples of 4 only; other sizes are reflected to one and cropped.
    """

    def __init__(
        self, dim: int = 32, depths: tuple[int, int, int, int, int] = (6, 6, 10, 6, 6)
    ) -> None:
        super().__init__()
        d1, d2, d4 = dim, 2 * dim, 4 * dim
        self.patch_embed = Step(nn.Conv2d(3, d1, 3, padding=1))
        self.layer1 = Stage(d1, depths[0])
        self.skip1 = nn.Conv2d(d2, d1, 1)
        self.downsample1 = Step(nn.Sequential(nn.Conv2d(d1, d2, 2, stride=2)))
        self.layer2 = Stage(d2, depths[1])
        self.skip2 = nn.Conv2d(d4, d2, 1)
        self.downsample2 = Step(nn.Sequential(nn.Conv2d(d2, d4, 2, stride=2)))
        self.layer3 = Stage(d4, depths[2])
        self.upsample3 = Step(nn.Conv2d(d4, 4 * d2, 1, bias=False), nn.PixelShuffle(2))
        self.layer8 = Stage(d2, depths[3])
        self.upsample4 = Step(nn.Conv2d(d2, 4 * d1, 1, bias=False), nn.PixelShuffle(2))
        self.layer9 = Stage(d1, depths[4])
        self.patch_unembed = Step(nn.Sequential(nn.Conv2d(d1, 3, 3, padding=1)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h, w = x.shape[-2:]
        image = pad_to_multiple(x, 4, "reflect")
        skip1 = self.layer1(self.patch_embed(image))
        skip2 = self.layer2(self.downsample1(skip1))
        x = self.upsample3(self.layer3(self.downsample2(skip2)))
        x = self.layer8(self.skip2(torch.cat([x, skip2], dim=1)))
        x = self.upsample4(x)
        x = self.layer9(self.skip1(torch.cat([x, skip1], dim=1)))
        out: torch.Tensor = self.patch_unembed(x) + image
        return out[..., :h, :w]
