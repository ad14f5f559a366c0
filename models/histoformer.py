"""Histoformer: attention among pixels of like intensity, wherever in the picture they are.

Paper: S. Sun, W. Ren, X. Gao, R. Wang, X. Cao: "Restoring Images in Adverse Weather Conditions
via Histogram Transformer", ECCV 2024. The authors' code (sunshangquan/Histoformer) has no
licence; this is written from the paper and from measured behaviour, and takes checkpoints of
that code.

Sorting and gathering is the method itself, so the graph has TopK (what ONNX has for Sort),
GatherElements and ScatterElements. TensorRT takes 3840 values at once; more are sorted by columns,
after which equal values are in an order of their own (here they keep the one they had; in the
original they keep none).
A pixel that changes place in the order moves its output, so the net is discontinuous: float32
runs on two machines can differ, and comparisons are made in float64.
"""

from __future__ import annotations

import math
from functools import cache

import torch
import torch.nn.functional as F
from torch import nn

from models.layers.fourier import exporting
from models.layers.padding import pad_to_multiple, round_up
from models.layers.pyramid import MULTIPLE, Pyramid
from models.layers.transposed import unit

FFN_EXPANSION = 2.667
TOPK_MOST = 3840  # that TensorRT takes at once

Pair = tuple[torch.Tensor, torch.Tensor]  # values, and where each was


def ordered(x: torch.Tensor, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """x in rising order along one axis, equal values in the order they had, and where each was."""
    if exporting():
        return ordered_by_topk(x.movedim(dim, -1), dim)
    values, order = x.sort(dim=dim, stable=True)
    return values, order


def ordered_by_topk(
    x: torch.Tensor, dim: int, most: int = TOPK_MOST
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same for the last axis, which is then put at `dim`; sorts no more than `most` at once.

    Equal values keep their order only where the axis is no longer than `most`.
    """
    order = torch.arange(x.shape[-1], device=x.device).expand(x.shape)
    values, order = sort_columns(x, order, most)
    return values.movedim(-1, dim), order.movedim(-1, dim)


def sort_columns(
    values: torch.Tensor, order: torch.Tensor, most: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sorts the last axis, and `order` along with it: columnsort (F. T. Leighton: "Tight Bounds
    on the Complexity of Parallel Sorting", IEEE Trans. Computers C-34, 1985).

    The axis is the columns of a matrix, one after the other. Four times all columns are sorted,
    with a fixed exchange of their elements between; columns that are too long are sorted so too.
    """
    n = int(values.shape[-1])
    if n <= most:
        values, at = values.topk(n, dim=-1, largest=False, sorted=True)
        return values, order.gather(-1, at)
    count, side = columns(n, most)
    margin = (0, count * side - n)
    # what fills the last column up stays last
    pair = (F.pad(values, margin, value=torch.inf), F.pad(order, margin))
    shape = (*values.shape[:-1], count, side)

    def each(z: Pair) -> Pair:
        return sort_columns(z[0].reshape(shape), z[1].reshape(shape), most)

    def taken(z: torch.Tensor) -> torch.Tensor:  # column by column, and put down row by row
        return z.reshape(*shape[:-2], side, count).mT

    def back(z: torch.Tensor) -> torch.Tensor:
        return z.mT.reshape(shape)

    pair = each(pair)
    pair = each((taken(pair[0]), taken(pair[1])))
    pair = each((back(pair[0]), back(pair[1])))
    whole = [z.flatten(-2) for z in pair]
    half = side // 2  # the last time in columns that begin half a column later
    inner = [z[..., half:-half].reshape(*shape[:-2], count - 1, side) for z in whole]
    inner = [z.flatten(-2) for z in sort_columns(inner[0], inner[1], most)]
    values, order = (
        torch.cat([z[..., :half], middle, z[..., -half:]], -1)[..., :n]
        for z, middle in zip(whole, inner, strict=True)
    )
    return values, order


def columns(n: int, most: int) -> tuple[int, int]:
    """Into how many columns of which length n elements are best cut: the fewest passes, then the
    fewest elements to fill up. The length is even, divides by the count, and is no less than
    2 (count - 1)^2, which is what columnsort asks."""
    best: tuple[int, int, int] | None = None
    count = 2
    while best is None or 2 * (count - 1) ** 2 * count <= 2 * n:
        side = round_up(-(-n // count), math.lcm(count, 2))
        if side < n and side >= 2 * (count - 1) ** 2:
            found = passes(side, most), count * side, count
            best = min(best or found, found)
        count += 1
    return best[2], best[1] // best[2]


@cache
def passes(n: int, most: int) -> int:
    """How often n elements pass through a sort of at most `most`, one within another."""
    return 1 if n <= most else 4 * passes(columns(n, most)[1], most)


class PlainNorm(nn.Module):
    """LayerNorm over the channels of each pixel, without parameters."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2]).permute(0, 3, 1, 2)


def softmax_with_none(logits: torch.Tensor) -> torch.Tensor:
    """Softmax along the last axis with a 1 added to the denominator: may attend to nothing."""
    weights = logits.exp()
    return weights / (weights.sum(-1, keepdim=True) + 1)


class HistogramAttention(nn.Module):
    """Dynamic-range histogram self-attention (section 3.1).

    The first half of the channels is sorted along columns, then rows. The pixels of each value
    channel are then ordered by value and cut into bins: `box` bins hold neighbours in the order,
    the other bins are spread over the whole range. Attention is between the (channel, bin) rows.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads  # also the number of bins
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Conv2d(width, 5 * width, 1, bias=False)
        self.qkv_dwconv = nn.Conv2d(
            5 * width, 5 * width, 3, padding=1, groups=5 * width, bias=False
        )
        self.project_out = nn.Conv2d(width, width, 1, bias=False)

    def rows(self, x: torch.Tensor, box: bool) -> torch.Tensor:
        """b c p -> b heads (c / heads * bins) (p / bins)."""
        b, c, p = x.shape
        n = self.heads
        if box:
            return x.reshape(b, n, c // n * n, p // n)
        return x.reshape(b, n, c // n, p // n, n).transpose(-2, -1).reshape(b, n, -1, p // n)

    def pixels(self, x: torch.Tensor, box: bool) -> torch.Tensor:
        """Undoes `rows`."""
        b, n, rows, columns = x.shape
        if box:
            return x.reshape(b, rows, n * columns)
        x = x.view(b, n, rows // n, n, columns).transpose(-2, -1)
        return x.reshape(b, rows, n * columns)

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, box: bool) -> torch.Tensor:
        """b c p each, pixels in order of value -> b c p."""
        p = q.shape[-1]
        margin = (0, round_up(p, self.heads) - p)
        q, k, v = (self.rows(F.pad(z, margin), box) for z in (q, k, v))
        logits = unit(q) @ unit(k).transpose(-2, -1)
        out = softmax_with_none(logits * self.temperature) @ v
        return self.pixels(out, box)[..., :p]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, c, h, w = x.shape
        first, second = x.chunk(2, dim=1)
        first, row_order = ordered(first, -2)
        first, column_order = ordered(first, -1)
        x = torch.cat([first, second], dim=1)
        q1, k1, q2, k2, v = self.qkv_dwconv(self.qkv(x)).flatten(2).chunk(5, dim=1)  # b c (h w)
        v, order = ordered(v, -1)
        q1, k1, q2, k2 = (z.gather(-1, order) for z in (q1, k1, q2, k2))
        out = self.attend(q1, k1, v, box=True) * self.attend(q2, k2, v, box=False)
        out = torch.zeros_like(out).scatter(-1, order, out).view(b, c, h, w)
        first, second = self.project_out(out).chunk(2, dim=1)
        first = torch.zeros_like(first).scatter(-1, column_order, first)
        first = torch.zeros_like(first).scatter(-2, row_order, first)
        return torch.cat([first, second], dim=1)


class DualScaleFeedForward(nn.Module):
    """Dual-scale gated feed-forward (section 3.2), at twice the resolution inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = int(width * FFN_EXPANSION)
        half = hidden // 4  # channels of each scale after the pixel shuffle
        self.project_in = nn.Conv2d(width, 2 * hidden, 1, bias=False)
        self.dwconv_5 = nn.Conv2d(half, half, 5, padding=2, groups=half, bias=False)
        self.dwconv_dilated2_1 = nn.Conv2d(
            half, half, 3, padding=2, dilation=2, groups=half, bias=False
        )
        self.project_out = nn.Conv2d(hidden, width, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value, gate = F.pixel_shuffle(self.project_in(x), 2).chunk(2, dim=1)
        x = F.mish(self.dwconv_dilated2_1(gate)) * self.dwconv_5(value)
        x = self.project_out(F.pixel_unshuffle(x, 2))
        return x


class Block(nn.Module):
    """Histogram attention, then the dual-scale feed-forward."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm_g = PlainNorm()
        self.attn_g = HistogramAttention(width, heads)
        self.norm_ff1 = PlainNorm()
        self.ffn = DualScaleFeedForward(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn_g(self.norm_g(x))
        x = x + self.ffn(self.norm_ff1(x))
        return x


class SkipEmbed(nn.Module):
    """Half-size picture for the next level: b 3 h w -> b 3 h/2 w/2."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Sequential(
            nn.AvgPool2d(2),
            nn.Conv2d(3, 3, 1, bias=False),
            nn.Conv2d(3, 3, 3, padding=1, groups=3, bias=False),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.proj(x)
        return out


class Histoformer(Pyramid):
    """The whole network: b 3 h w -> b 3 h w, sides from 8 up.

    The original takes multiples of 8 only; other sides are padded below and at the right by
    reflection, and the output is cropped.
    """

    def __init__(
        self,
        width: int = 48,
        depths: tuple[int, int, int, int] = (4, 6, 6, 8),
        refinement: int = 4,
        heads: tuple[int, int, int, int] = (1, 2, 4, 8),
    ) -> None:
        def block(channels: int, level: int) -> nn.Module:
            return Block(channels, heads[level])

        super().__init__(width, depths, refinement, block)
        self.skip_patch_embed1 = SkipEmbed()
        self.skip_patch_embed2 = SkipEmbed()
        self.skip_patch_embed3 = SkipEmbed()
        self.reduce_chan_level_1 = nn.Conv2d(2 * width + 3, 2 * width, 1, bias=False)
        self.reduce_chan_level_2 = nn.Conv2d(4 * width + 3, 4 * width, 1, bias=False)
        self.reduce_chan_level_3 = nn.Conv2d(8 * width + 3, 8 * width, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h, w = x.shape[-2:]
        image = pad_to_multiple(x, MULTIPLE, "reflect")
        half = self.skip_patch_embed1(image)
        quarter = self.skip_patch_embed2(half)
        eighth = self.skip_patch_embed3(quarter)
        joins = {
            "encoder_level2": (self.reduce_chan_level_1, half),
            "encoder_level3": (self.reduce_chan_level_2, quarter),
            "latent": (self.reduce_chan_level_3, eighth),
        }

        def remind(stage: str, features: torch.Tensor) -> torch.Tensor:
            if stage not in joins:
                return features
            reduce, picture = joins[stage]
            joined: torch.Tensor = reduce(torch.cat([features, picture], dim=1))
            return joined

        return self.restore(image, remind)[..., :h, :w]
