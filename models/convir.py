"""ConvIR: a convolutional U-Net whose filters depend on the picture, square and strip-shaped.

Paper: Y. Cui, W. Ren, X. Cao, A. Knoll: "Revitalizing Convolutional Network for Image
Restoration", IEEE TPAMI 46(12), 2024. The authors' code (c-yn/ConvIR) is MIT; this is written
from the paper and from measured behaviour, and takes checkpoints of that code.
"""

from __future__ import annotations

from functools import reduce

import torch
import torch.nn.functional as F
from torch import nn

from models.layers.mimo import Conv, MimoUnet, keep_channels_last
from models.layers.padding import pad_to, round_up

FILTER_GROUPS = 8
SMALLEST = 128  # the reflection paddings need this padded side


def filtered(
    x: torch.Tensor, taps: torch.Tensor, size: tuple[int, int], dilation: int
) -> torch.Tensor:
    """A depthwise filter with weights of its own for each picture, reflected at the border.

    x: b c h w; taps: b c (kh kw); size: (kh, kw). Written as shifted sums, which any exporter
    takes; the filter works on pooled maps, where it costs nothing.
    """
    h, w = x.shape[-2:]
    up, left = dilation * (size[0] // 2), dilation * (size[1] // 2)
    x = F.pad(x, (left, left, up, up), mode="reflect")
    terms = []
    for i in range(size[0]):
        for j in range(size[1]):
            y0, x0 = i * dilation, j * dilation
            weight = taps[:, :, i * size[1] + j, None, None]
            terms.append(weight * x[:, :, y0 : y0 + h, x0 : x0 + w])
    return reduce(torch.add, terms)


class DynamicFilter(nn.Module):
    """Splits a map into the part that a predicted filter keeps, and the rest, and reweighs both.

    size: of the filter; the mean is taken over the same directions.
    """

    def __init__(self, channels: int, size: tuple[int, int], dilation: int) -> None:
        super().__init__()
        self.size, self.dilation = size, dilation
        self.spread = channels // FILTER_GROUPS
        taps = size[0] * size[1]
        self.lamb_l = nn.Parameter(torch.zeros(channels))
        self.lamb_h = nn.Parameter(torch.zeros(channels))
        self.inside_all = nn.Parameter(torch.zeros(channels, 1, 1))
        self.conv = nn.Conv2d(channels, FILTER_GROUPS * taps, 1, bias=False)
        self.square = size[0] == size[1]  # only the square filter is normalised
        if self.square:
            self.bn = nn.BatchNorm2d(FILTER_GROUPS * taps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kh, kw = self.size
        taps = self.conv(x.mean(dim=(2, 3), keepdim=True))
        if self.square:
            taps = self.bn(taps)
        taps = taps.tanh().view(-1, FILTER_GROUPS, kh * kw)
        taps = taps.repeat_interleave(self.spread, dim=1)  # b c (kh kw)
        low = filtered(x, taps, self.size, self.dilation)
        dims = [d for d, k in ((2, kh), (3, kw)) if k > 1]
        low = low * (self.inside_all + 1) - self.inside_all * x.mean(dim=dims, keepdim=True)
        return low * self.lamb_l[:, None, None] + x * (self.lamb_h[:, None, None] + 1)


class Strips(nn.Module):
    """A row filter, then a column filter, mixed with the map."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(channels, 1, 1))
        self.beta = nn.Parameter(torch.ones(channels, 1, 1))
        self.H_spatial_att = DynamicFilter(channels, (1, 3), dilation)
        self.W_spatial_att = DynamicFilter(channels, (3, 1), dilation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        strips: torch.Tensor = self.W_spatial_att(self.H_spatial_att(x))
        return self.gamma * strips + self.beta * x


class Shapes(nn.Module):
    """The square filter's and the strips' answers, added."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.square_att = DynamicFilter(channels, (3, 3), dilation)
        self.strip_att = Strips(channels, dilation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.strip_att(x) + self.square_att(x)
        return out


class MultiShape(nn.Module):
    """The filters at 1/8, 1/4 and 1/2, coarse to fine, added to the map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pools = (8, 4, 2)
        self.convs = nn.ModuleList(
            [nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in self.pools]
        )
        self.dynas = nn.ModuleList([Shapes(channels, dilation) for dilation in (3, 7, 9)])
        self.conv_sum = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total, before = x, None
        for pool, conv, dyna in zip(self.pools, self.convs, self.dynas, strict=True):
            y = F.avg_pool2d(x, pool)
            if before is not None:
                y = y + F.interpolate(before, scale_factor=2.0, mode="bilinear", align_corners=True)
            before = dyna(conv(y))
            total = total + F.interpolate(before, x.shape[2:], mode="bilinear", align_corners=True)
        out: torch.Tensor = self.conv_sum(F.gelu(total))
        return out


class Residual(nn.Module):
    """Two 3x3 convolutions and a shortcut, the multi-shape module between them if asked for."""

    def __init__(self, channels: int, shapes: bool) -> None:
        super().__init__()
        between = MultiShape(channels) if shapes else nn.Identity()
        self.main = nn.Sequential(
            Conv(channels, channels, 3), between, Conv(channels, channels, 3, act=False)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.main(x)
        return out.add_(x)  # in place: nobody else has seen it


class Stage(nn.Module):
    """The blocks of one scale; the last one has the multi-shape module."""

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *[Residual(channels, shapes=i == blocks - 1) for i in range(blocks)]
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layers(x)
        return out


class ConvIR(MimoUnet):
    """The whole network (ConvIR-L by default): b 3 h w -> b 3 h w, any size.

    As in the original, sides are padded below and at the right with zeros to multiples of 64,
    and the output is cropped; sides up to 128, which the original refuses, are padded to 128.
    """

    def __init__(self, width: int = 32, blocks: int = 16) -> None:
        super().__init__(width, lambda channels, _full: Stage(channels, blocks))
        keep_channels_last(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h, w = x.shape[-2:]
        height, width = (max(round_up(side, 64), SMALLEST) for side in (h, w))
        return self.scales(pad_to(x, height, width))[-1][..., :h, :w]
