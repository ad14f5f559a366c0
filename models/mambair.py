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

from models.layers.selective_scan import selective_scan

RGB_MEAN = (0.4488, 0.4371, 0.4040)  # taken off the picture and put back; in no checkpoint
DIRECTIONS = 4
DELTA_RANGE = (1e-3, 1e-1)  # of the step sizes at the start of training
CAB_COMPRESS, CAB_SQUEEZE = 3, 30


def rgb_mean(like: torch.Tensor) -> torch.Tensor:
    """1 3 1 1, in the type and on the device of `like`."""
    return torch.tensor(RGB_MEAN, dtype=like.dtype, device=like.device).view(1, 3, 1, 1)


def initial_delta_bias(*shape: int) -> torch.Tensor:
    """Biases whose softplus is log-uniform over DELTA_RANGE (Gu and Dao, section 3.6)."""
    low, high = (math.log(x) for x in DELTA_RANGE)
    delta = torch.exp(torch.rand(*shape) * (high - low) + low)
    return delta + torch.log(-torch.expm1(-delta))  # the inverse of softplus


class FourWayScan(nn.Module):
    """2D selective scan: rows, columns, and both backwards, summed (section 3.3)."""

    def __init__(self, width: int, states: int, expand: float) -> None:
        super().__init__()
        inner, rank, k = int(expand * width), math.ceil(width / 16), DIRECTIONS
        self.rank, self.states = rank, states
        self.x_proj_weight = nn.Parameter(torch.empty(k, rank + 2 * states, inner))
        self.dt_projs_weight = nn.Parameter(torch.empty(k, inner, rank))
        self.dt_projs_bias = nn.Parameter(initial_delta_bias(k, inner))
        decay = torch.arange(1, states + 1, dtype=torch.float32).log()
        self.A_logs = nn.Parameter(decay.repeat(k * inner, 1))
        self.Ds = nn.Parameter(torch.ones(k * inner))
        self.in_proj = nn.Linear(width, 2 * inner, bias=False)
        self.conv2d = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.out_norm = nn.LayerNorm(inner)
        self.out_proj = nn.Linear(inner, width, bias=False)
        nn.init.uniform_(self.x_proj_weight, -(inner**-0.5), inner**-0.5)
        nn.init.uniform_(self.dt_projs_weight, -(rank**-0.5), rank**-0.5)

    def scan(self, x: torch.Tensor) -> torch.Tensor:
        """b k c l, one sequence a direction -> the same."""
        projected = torch.einsum("bkcl,kdc->bkdl", x, self.x_proj_weight)
        steps, b, c = projected.split([self.rank, self.states, self.states], dim=2)
        delta = torch.einsum("bkrl,kcr->bkcl", steps, self.dt_projs_weight)
        delta = F.softplus(delta + self.dt_projs_bias.unsqueeze(-1))
        a = -self.A_logs.float().exp() if self.A_logs.dtype.itemsize < 4 else -self.A_logs.exp()
        k = x.shape[1]
        return selective_scan(x, delta, a.unflatten(0, (k, -1)), b, c, self.Ds.view(k, -1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, h, w, _ = x.shape
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
        y = self.out_norm(y.permute(0, 2, 3, 1)) * F.silu(gate)
        y = self.out_proj(y)
        return y


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
        return x * self.attention(x)


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
        y = self.conv(self.residual_group.blocks(x).permute(0, 3, 1, 2))
        return x + y.permute(0, 2, 3, 1)


class Embed(nn.Module):
    """The norm before the first group."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)


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
        y = self.patch_embed.norm(shallow.permute(0, 2, 3, 1))
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
