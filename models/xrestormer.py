"""X-Restormer: Restormer with attention between pixels of overlapping windows added.

Paper: X. Chen, Z. Li, Y. Pu, Y. Liu, J. Zhou, Y. Qiao, C. Dong: "A Comparative Study of Image
Restoration Networks for General Backbone Network Design", ECCV 2024. The authors' code
(Andrew0613/X-Restormer) is MIT; this is written from the paper and takes checkpoints of that
code. Relative positions as in P. Shaw et al., "Self-Attention with Relative Position
Representations", NAACL 2018, one table an axis.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from models.layers.padding import pad_to_multiple
from models.layers.pyramid import Pyramid
from models.layers.transposed import ChannelAttention, ChannelNorm, GatedFeedForward
from models.layers.windows import merge, partition

PAD_MULTIPLE = 64  # the smallest level, an eighth, is then whole windows


class RelativePosition(nn.Module):
    """Logits that depend on the query and on where in its own, larger window the key lies."""

    offset: torch.Tensor

    def __init__(self, side: int, reach: int, head_dim: int) -> None:
        super().__init__()
        rows = 2 * reach - 1
        self.rel_height = nn.Parameter(torch.randn(rows, head_dim) * head_dim**-0.5)
        self.rel_width = nn.Parameter(torch.randn(rows, head_dim) * head_dim**-0.5)
        # table row of (query i, key j): both counted from the top left of their own windows
        offset = torch.arange(reach)[None, :] - torch.arange(side)[:, None] + reach - 1
        self.register_buffer("offset", offset.flatten(), persistent=False)
        self.side, self.reach = side, reach

    def forward(self, q: torch.Tensor) -> torch.Tensor:
        """Scaled queries n heads (side side) c -> logits n heads (side side) (reach reach)."""
        n, heads, _, c = q.shape
        s, r = self.side, self.reach
        q = q.reshape(n, heads, s, s, c)  # n heads y x c
        rows = self.rel_height[self.offset].view(s, r, c)  # y j c
        columns = self.rel_width[self.offset].view(s, r, c)  # x j c
        down = torch.einsum("nhyxc,yjc->nhyxj", q, rows)
        across = torch.einsum("nhyxc,xjc->nhyxj", q, columns)
        return (down.unsqueeze(-1) + across.unsqueeze(-2)).reshape(n, heads, s * s, r * r)


class OverlappingAttention(nn.Module):
    """Queries of a window attend to a larger window around it (section 4.2).

    Keys and values outside the map are zero and are not masked, as in the original.
    """

    def __init__(self, width: int, heads: int, head_dim: int, side: int, overlap: float) -> None:
        super().__init__()
        inner = heads * head_dim
        self.heads, self.head_dim, self.side = heads, head_dim, side
        self.reach = side + int(side * overlap)
        self.qkv = nn.Conv2d(width, 3 * inner, 1, bias=False)
        self.project_out = nn.Conv2d(inner, width, 1, bias=False)
        self.rel_pos_emb = RelativePosition(side, self.reach, head_dim)

    def split(self, windows: torch.Tensor, parts: int) -> torch.Tensor:
        """n t (parts heads c) -> parts n heads t c."""
        n, t, _ = windows.shape
        x = windows.view(n, t, parts, self.heads, self.head_dim)
        return x.permute(2, 0, 3, 1, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h, w = x.shape[-2:]
        inner, s, r = self.heads * self.head_dim, self.side, self.reach
        margin = (r - s) // 2
        qkv = self.qkv(x).permute(0, 2, 3, 1)  # b h w (3 heads c)
        (q,) = self.split(partition(qkv[..., :inner], s), 1)
        around = F.pad(qkv[..., inner:], (0, 0, margin, margin, margin, margin))
        around = around.unfold(1, r, s).unfold(2, r, s)  # b h/s w/s (2 heads c) r r
        around = around.permute(0, 1, 2, 4, 5, 3).reshape(-1, r * r, 2 * inner)
        k, v = self.split(around, 2)
        q = q * self.head_dim**-0.5
        position = self.rel_pos_emb(q)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=position, scale=1.0)
        out = merge(out.transpose(1, 2).reshape(-1, s * s, inner), s, h, w)
        attended: torch.Tensor = self.project_out(out.permute(0, 3, 1, 2))
        return attended


class Block(nn.Module):
    """Channel attention, then overlapping-window attention, each with its own feed-forward."""

    def __init__(self, width: int, channel_heads: int, spatial: nn.Module) -> None:
        super().__init__()
        self.spatial_attn = spatial
        self.channel_attn = ChannelAttention(width, channel_heads)
        self.norm1 = ChannelNorm(width)
        self.norm2 = ChannelNorm(width)
        self.norm3 = ChannelNorm(width)
        self.norm4 = ChannelNorm(width)
        self.channel_ffn = GatedFeedForward(width)
        self.spatial_ffn = GatedFeedForward(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.channel_attn(self.norm1(x))
        x = x + self.channel_ffn(self.norm2(x))
        x = x + self.spatial_attn(self.norm3(x))
        x = x + self.spatial_ffn(self.norm4(x))
        return x


class XRestormer(Pyramid):
    """The whole network: b 3 h w -> b 3 h w, any size.

    As in the original, sides are padded below and at the right with zeros to multiples of 64.
    The original returns the padded picture; here the output is cropped to the input's size.
    """

    def __init__(
        self,
        width: int = 48,
        depths: tuple[int, int, int, int] = (2, 4, 4, 4),
        refinement: int = 4,
        channel_heads: tuple[int, int, int, int] = (1, 2, 4, 8),
        spatial_heads: tuple[int, int, int, int] = (1, 2, 4, 8),
        head_dim: int = 16,
        side: int = 8,
        overlap: float = 0.5,
    ) -> None:
        def block(channels: int, level: int) -> nn.Module:
            heads = spatial_heads[level]
            spatial = OverlappingAttention(channels, heads, head_dim, side, overlap)
            return Block(channels, channel_heads[level], spatial)

        super().__init__(width, depths, refinement, block)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h, w = x.shape[-2:]
        return self.restore(pad_to_multiple(x, PAD_MULTIPLE))[..., :h, :w]


def as_published() -> XRestormer:
    """The configuration of the paper's table, 42.5 M parameters."""
    return XRestormer(depths=(4, 6, 6, 8), spatial_heads=(2, 2, 3, 4))
