"""MambaIR: a selective state-space model that reads the picture in four directions.

Paper: H. Guo, J. Li, T. Dai, Z. Ouyang, X. Ren, S.-T. Xia: "MambaIR: A Simple Baseline for Image
Restoration with State-Space Model", ECCV 2024; the two-dimensional scan is that of Y. Liu et
al.: "VMamba: Visual State Space Model", 2024. The authors' code (csguoh/MambaIR) is Apache-2.0;
this is written from the papers and takes checkpoints of that code.

Maps are channels-last (b h w c) from the first norm to the last.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from models.layers.mamba import Embed, SelectiveScan, rgb_mean

DIRECTIONS = 4
CAB_COMPRESS, CAB_SQUEEZE = 3, 30


class FourWayScan(SelectiveScan):
    """2D selective scan: rows, columns, and both backwards, summed (section 3.3); b h w c."""

    def __init__(self, width: int, states: int, expand: float) -> None:
        inner = int(expand * width)
        super().__init__(DIRECTIONS, inner, math.ceil(width / 16), states)
        self.in_proj = nn.Linear(width, 2 * inner, bias=False)
        self.conv2d = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.out_norm = nn.LayerNorm(inner)
        self.out_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h, w = x.shape[1:3]
        x, gate = self.in_proj(x).chunk(2, dim=-1)
        x = F.silu(self.conv2d(x.permute(0, 3, 1, 2)))  # b c h w
        ways = torch.stack([x.flatten(2), x.transpose(2, 3).flatten(2)], dim=1)
        ways = torch.cat([ways, ways.flip(-1)], dim=1)  # b 4 c l
        if self.training and torch.is_grad_enabled():  # the scan's steps would fill the memory
            y = checkpoint(self.scan, ways, use_reentrant=False)
        else:
            y = self.scan(ways)
        y = y[:, :2] + y[:, 2:].flip(-1)
        y = y[:, 0].unflatten(-1, (h, w)) + y[:, 1].unflatten(-1, (w, h)).transpose(2, 3)
        out: torch.Tensor = self.out_proj(self.out_norm(y.permute(0, 2, 3, 1)) * F.silu(gate))
        return out


class Squeeze(nn.Module):
    """Weighs each channel by what the whole map holds; b c h w."""

    def __init__(self, width: int) -> None:
        super().__init__()
        few = width // CAB_SQUEEZE
        self.attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(width, few, 1),
            nn.ReLU(),
            nn.Conv2d(few, width, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = x * self.attention(x)
        return out


class ChannelBlock(nn.Module):
    """Two convolutions through a bottleneck, then channel attention; b h w c."""

    def __init__(self, width: int) -> None:
        super().__init__()
        few = width // CAB_COMPRESS
        self.cab = nn.Sequential(
            nn.Conv2d(width, few, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(few, width, 3, padding=1),
            Squeeze(width),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.cab(x.permute(0, 3, 1, 2))
        return out.permute(0, 2, 3, 1)


class Block(nn.Module):
    """Residual state-space block: the scan, then the channel block (section 3.2)."""

    def __init__(self, width: int, states: int, expand: float) -> None:
        super().__init__()
        self.skip_scale = nn.Parameter(torch.ones(width))
        self.skip_scale2 = nn.Parameter(torch.ones(width))
        self.ln_1 = nn.LayerNorm(width)
        self.self_attention = FourWayScan(width, states, expand)
        self.conv_blk = ChannelBlock(width)
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x * self.skip_scale + self.self_attention(self.ln_1(x))
        x = x * self.skip_scale2 + self.conv_blk(self.ln_2(x))
        return x


class Blocks(nn.Module):
    """The blocks of a group, in order."""

    def __init__(self, depth: int, width: int, states: int, expand: float) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Block(width, states, expand) for _ in range(depth)))


class Group(nn.Module):
    """Blocks, a convolution, and the group's input added back; b h w c."""

    def __init__(self, depth: int, width: int, states: int, expand: float) -> None:
        super().__init__()
        self.residual_group = Blocks(depth, width, states, expand)
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.conv(self.residual_group.blocks(x).permute(0, 3, 1, 2))
        return x + y.permute(0, 2, 3, 1)


class MambaIR(nn.Module):
    """The whole network: b 3 h w -> b 3 h w, any size, nothing padded.

    The arguments' defaults are those of the training files that the benchmark released.
    """

    def __init__(
        self,
        width: int = 64,
        depths: tuple[int, ...] = (3, 3, 3, 3, 3, 3),
        states: int = 16,
        expand: float = 1.2,
    ) -> None:
        super().__init__()
        self.conv_first = nn.Conv2d(3, width, 3, padding=1)
        self.patch_embed = Embed(width)
        self.layers = nn.ModuleList(Group(depth, width, states, expand) for depth in depths)
        self.norm = nn.LayerNorm(width)
        self.conv_after_body = nn.Conv2d(width, width, 3, padding=1)
        self.conv_last = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = rgb_mean(x)
        image = x - mean
        shallow = self.conv_first(image)
        y = self.patch_embed(shallow.permute(0, 2, 3, 1))
        for group in self.layers:
            y = group(y)
        deep = self.conv_after_body(self.norm(y).permute(0, 3, 1, 2)) + shallow
        out: torch.Tensor = image + self.conv_last(deep) + mean
        return out


def as_published() -> MambaIR:
    """The configuration of the paper and of the benchmark's table, 4.31 M parameters."""
    return MambaIR(width=96, depths=(6, 6, 6, 6), expand=2.0)


def of_test_files() -> MambaIR:
    """The configuration of the benchmark's test files, 1.72 M parameters."""
    return MambaIR(width=60, depths=(6, 6, 6, 6), states=10, expand=2.0)
