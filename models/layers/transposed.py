"""Attention between channels and the gated feed-forward, as Restormer and its descendants use it.

Paper: S. W. Zamir, A. Arora, S. Khan, M. Hayat, F. S. Khan, M.-H. Yang: "Restormer: Efficient
Transformer for High-Resolution Image Restoration", CVPR 2022, sections 3.1 and 3.2. Shared by
Restormer, AMIR and X-Restormer; all maps are b c h w.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

FFN_EXPANSION = 2.66


class Affine(nn.Module):
    """Scale and shift, one pair a channel; holds the parameters of `ChannelNorm`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of each pixel (biased variance, eps 1e-5)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = Affine(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.body.weight
        y = F.layer_norm(x.permute(0, 2, 3, 1), weight.shape, weight, self.body.bias)
        return y.permute(0, 3, 1, 2)


def unit(x: torch.Tensor) -> torch.Tensor:
    """x over its Euclidean norm along the last axis.

    The sum of squares runs over a whole picture, so it is kept in float32 at least: in FP16 it
    would overflow at 65504.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=dtype)
    out: torch.Tensor = x / norm.clamp_min(1e-12)
    return out.to(x.dtype)


class ChannelAttention(nn.Module):
    """Multi-Dconv head transposed attention (Eq. 1): each channel attends to the channels.

    The logits are c x c over h w products: SDPA, made for many tokens of few channels, has no
    kernel for this shape and would fall back to the same three operations.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Conv2d(width, 3 * width, 1, bias=False)
        self.qkv_dwconv = nn.Conv2d(
            3 * width, 3 * width, 3, padding=1, groups=3 * width, bias=False
        )
        self.project_out = nn.Conv2d(width, width, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, c, h, w = x.shape
        qkv = self.qkv_dwconv(self.qkv(x)).reshape(b, 3, self.heads, c // self.heads, h * w)
        q, k, v = qkv.unbind(1)  # b heads (c / heads) (h w)
        attention = (unit(q) @ unit(k).transpose(-2, -1) * self.temperature).softmax(-1)
        out: torch.Tensor = self.project_out((attention @ v).reshape(b, c, h, w))
        return out


class GatedFeedForward(nn.Module):
    """Gated-Dconv feed-forward (Eq. 2): one half, through GELU, gates the other."""

    def __init__(self, width: int, expansion: float = FFN_EXPANSION) -> None:
        super().__init__()
        hidden = int(width * expansion)
        self.project_in = nn.Conv2d(width, 2 * hidden, 1, bias=False)
        self.dwconv = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden, bias=False)
        self.project_out = nn.Conv2d(hidden, width, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate, value = self.dwconv(self.project_in(x)).chunk(2, dim=1)
        out: torch.Tensor = self.project_out(F.gelu(gate) * value)
        return out


class TransposedBlock(nn.Module):
    """Channel attention, then the gated feed-forward; each normed first and added back."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(width)
        self.attn = ChannelAttention(width, heads)
        self.norm2 = ChannelNorm(width)
        self.ffn = GatedFeedForward(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.norm1(x))
        x = x + self.ffn(self.norm2(x))
        return x
