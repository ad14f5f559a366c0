"""FocalNet: a convolutional U-Net that selects what matters in space and in frequency.

Paper: Y. Cui, W. Ren, X. Cao, A. Knoll: "Focal Network for Image Restoration", ICCV 2023.
The authors' code (c-yn/FocalNet) is MIT; this is written from the paper and from measured
behaviour, and takes checkpoints of that code.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from models.layers.mimo import Conv, MimoUnet, keep_channels_last
from models.layers.padding import pad_to_multiple


class Residual(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            Conv(channels, channels, 3), Conv(channels, channels, 3, act=False)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.main(x)
        return out.add_(x)  # in place: nobody else has seen it


class Branches(nn.Module):
    """One residual block for each half of the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.main = Residual(channels).main
        self.main1 = Residual(channels).main

    def forward(
        self, fine: torch.Tensor, coarse: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return self.main(fine).add_(fine), self.main1(coarse).add_(coarse)


class SplitBlocks(nn.Module):
    """Full-resolution blocks: half of the channels stay, the other half works at 1/2."""

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        half = channels // 2
        self.layers = nn.ModuleList([Branches(half) for _ in range(blocks)])
        self.down = nn.Conv2d(half, half, 2, stride=2, groups=half)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        fine, coarse = x.chunk(2, dim=1)
        coarse = self.down(coarse)
        for branches in self.layers:
            fine, coarse = branches(fine, coarse)
        coarse = F.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False)
        return torch.cat([fine, coarse], dim=1)


class Stage(nn.Module):
    """The blocks of one scale."""

    def __init__(self, channels: int, blocks: int, split: bool) -> None:
        super().__init__()
        self.layers: nn.Module
        if split:
            self.layers = SplitBlocks(channels, blocks)
        else:
            self.layers = nn.Sequential(*[Residual(channels) for _ in range(blocks)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layers(x)
        return out


class Bare(nn.Module):
    """A same-size convolution under the name `conv`."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, dilation: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        padding = dilation * (kernel // 2)
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, padding=padding, dilation=dilation, groups=groups
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.conv(x)
        return out


class SpatialGate(nn.Module):
    """Spatial selection: where the wide depthwise view counts, from channel maximum and mean."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.spatial = Bare(2, 1, 3)
        self.dw1 = nn.Sequential(
            Bare(channels, channels, 5, dilation=2, groups=channels),
            Bare(channels, channels, 7, dilation=3, groups=channels),
        )
        self.dw2 = Bare(channels, channels, 3, groups=channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        where = self.spatial(torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], dim=1))
        out: torch.Tensor = self.dw1(x) * where + self.dw2(x)
        return out


class FrequencyGate(nn.Module):
    """Frequency selection: the part above the global mean modulates the map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.zeros(channels, 1, 1))
        self.b = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        high = x - x.mean(dim=(2, 3), keepdim=True)
        return (self.a * high + self.b) * x


class DualSelection(nn.Module):
    """Both selections in series, added to the map with learned weights."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.zeros(channels, 1, 1))
        self.b = nn.Parameter(torch.ones(channels, 1, 1))
        self.spatial_gate = SpatialGate(channels)
        self.local_attention = nn.Sequential(FrequencyGate(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.local_attention(self.spatial_gate(x))
        return self.a * out + self.b * x


class FocalNet(MimoUnet):
    """The whole network: b 3 h w -> b 3 h w, any size from 4.

    The original takes multiples of 4 only; other sizes are reflected to one and cropped.
    """

    def __init__(self, width: int = 32, blocks: int = 4) -> None:
        super().__init__(width, lambda channels, full: Stage(channels, blocks, split=full))
        self.pyramid_attentions = nn.ModuleList([DualSelection(4 * width)])
        keep_channels_last(self)

    def bottleneck(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.pyramid_attentions[0](x)
        return out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h, w = x.shape[-2:]
        return self.scales(pad_to_multiple(x, 4, "reflect"))[-1][..., :h, :w]
