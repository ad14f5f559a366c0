"""AST: a U-shaped transformer whose window attention keeps only what is similar.

Paper: S. Zhou, D. Chen, J. Pan, J. Shi, J. Yang: "Adapt or Perish: Adaptive Sparse Transformer
with Attentive Feature Refinement for Image Restoration", CVPR 2024. The authors' code
(joshyZhou/AST) is Apache-2.0; this is written from the paper and from measured behaviour, and
takes checkpoints of that code. As there, the feed-forward is the one of Uformer (Z. Wang et al.,
CVPR 2022) and the encoder has no attention.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from models.layers.padding import pad_to, round_up
from models.layers.windows import (
    Masks,
    masked,
    merge,
    partition,
    relative_bias,
    relative_index,
    shift_masks,
)

SIDE = 8  # of a window
MULTIPLE = 128  # the bottleneck, at 1/16, must be whole windows
FAR = -100.0  # added to logits between pixels that only the wrap-around made neighbours


class Projection(nn.Module):
    """Query, and key and value, from one map."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.to_q = nn.Linear(dim, dim)
        self.to_kv = nn.Linear(dim, 2 * dim)

    def forward(self, x: torch.Tensor, heads: int) -> tuple[torch.Tensor, ...]:
        """n t c -> q, k, v, each n heads t (c / heads)."""
        n, t, _ = x.shape
        q = self.to_q(x).view(n, t, heads, -1).transpose(1, 2)
        k, v = self.to_kv(x).view(n, t, 2, heads, -1).permute(2, 0, 3, 1, 4)
        return q, k, v


class SparseAttention(nn.Module):
    """Window attention with two readings of the same logits: softmax, and squared ReLU."""

    relative_position_index: torch.Tensor

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        table = torch.empty((2 * SIDE - 1) ** 2, heads)
        self.relative_position_bias_table = nn.Parameter(nn.init.trunc_normal_(table, std=0.02))
        self.w = nn.Parameter(torch.ones(2))
        self.register_buffer("relative_position_index", relative_index(SIDE))
        self.qkv = Projection(dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: torch.Tensor, masks: Masks | None) -> torch.Tensor:
        """(b windows) t c -> the same; masks: of shifted windows."""
        n, t, c = x.shape
        q, k, v = self.qkv(x, self.heads)
        bias = relative_bias(self.relative_position_bias_table, self.relative_position_index)
        logits = (q * (c // self.heads) ** -0.5) @ k.transpose(-1, -2) + bias
        if masks is not None:
            logits = masked(logits, masks)
        dense, sparse = self.w.softmax(dim=0)
        attention = dense * logits.softmax(dim=-1) + sparse * F.relu(logits).square()
        out: torch.Tensor = self.proj((attention @ v).transpose(1, 2).reshape(n, t, c))
        return out


class FeedForward(nn.Module):
    """Linear, depthwise 3x3, linear, with GELU between: b h w c -> b h w c."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.linear1 = nn.Sequential(nn.Linear(dim, hidden), nn.GELU())
        depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.dwconv = nn.Sequential(depthwise, nn.GELU())
        self.linear2 = nn.Sequential(nn.Linear(hidden, dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.linear1(x).permute(0, 3, 1, 2)
        out: torch.Tensor = self.linear2(self.dwconv(x).permute(0, 2, 3, 1))
        return out


class Block(nn.Module):
    """Attention if it has heads, then the feed-forward; norms before each. b h w c."""

    def __init__(self, dim: int, heads: int, shift: int) -> None:
        super().__init__()
        self.heads, self.shift = heads, shift
        if heads:
            self.norm1 = nn.LayerNorm(dim)
            self.attn = SparseAttention(dim, heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = FeedForward(dim, 4 * dim)

    def attend(self, x: torch.Tensor) -> torch.Tensor:
        h, w = x.shape[1:3]
        masks = None
        if self.shift:
            x = x.roll((-self.shift, -self.shift), (1, 2))
            masks = shift_masks(h, w, SIDE, self.shift, FAR, x)
        x = merge(self.attn(partition(x, SIDE), masks), SIDE, h, w)
        return x.roll((self.shift, self.shift), (1, 2)) if self.shift else x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.heads:
            x = x + self.attend(self.norm1(x))
        out: torch.Tensor = x + self.mlp(self.norm2(x))
        return out


class Stage(nn.Module):
    """The blocks of one scale; windows of every other one are shifted by half a side."""

    def __init__(self, dim: int, depth: int, heads: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*[Block(dim, heads, SIDE // 2 * (i % 2)) for i in range(depth)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.blocks(x)
        return out


class Halve(nn.Module):
    """A 4x4 convolution of stride 2: b h w c -> b (h/2) (w/2) 2c."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(dim, 2 * dim, 4, stride=2, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return out


class Double(nn.Module):
    """A 2x2 transposed convolution of stride 2: b h w i -> b 2h 2w o."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.deconv = nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 2, stride=2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.deconv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return out


class InputProjection(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Sequential(nn.Conv2d(3, dim, 3, padding=1), nn.LeakyReLU())


class OutputProjection(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Sequential(nn.Conv2d(dim, 3, 3, padding=1))


class AST(nn.Module):
    """The whole network: b 3 h w -> b 3 h w, any size.

    As in the original, the picture is padded below and at the right with zeros to a square; the
    sides are multiples of 128, the only ones that the original can run. It is cropped at the end,
    which the original leaves to its caller.
    """

    def __init__(self, dim: int = 32, depth: int = 2) -> None:
        super().__init__()
        self.input_proj = InputProjection(dim)
        self.output_proj = OutputProjection(2 * dim)
        for i in range(4):
            self.add_module(f"encoderlayer_{i}", Stage(dim << i, depth, heads=0))
            self.add_module(f"dowsample_{i}", Halve(dim << i))
        self.conv = Stage(dim << 4, depth, heads=16)
        for i in range(4):
            inputs = dim << (4 if i == 0 else 5 - i)  # two maps side by side after the first
            self.add_module(f"upsample_{i}", Double(inputs, dim << (3 - i)))
            self.add_module(f"decoderlayer_{i}", Stage(dim << (4 - i), depth, heads=16 >> i))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h, w = x.shape[-2:]
        side = round_up(max(h, w), MULTIPLE)
        image = pad_to(x, side, side)
        x = self.input_proj.proj(image).permute(0, 2, 3, 1)
        skips = []
        for i in range(4):
            x = self.get_submodule(f"encoderlayer_{i}")(x)
            skips.append(x)
            x = self.get_submodule(f"dowsample_{i}")(x)
        x = self.conv(x)
        for i in range(4):
            x = torch.cat([self.get_submodule(f"upsample_{i}")(x), skips[3 - i]], dim=-1)
            x = self.get_submodule(f"decoderlayer_{i}")(x)
        out: torch.Tensor = self.output_proj.proj(x.permute(0, 3, 1, 2)) + image
        return out[..., :h, :w]
