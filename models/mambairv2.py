"""MambaIRv2 (light): one scan in which pixels of the same kind are neighbours.

Paper: H. Guo, Y. Guo, Y. Zha, Y. Zhang, W. Li, T. Dai, S.-T. Xia, Y. Li: "MambaIRv2: Attentive
State Space Restoration", CVPR 2025. The authors' code (csguoh/MambaIR) is Apache-2.0; this is
written from the paper and takes checkpoints of that code.

Two departures. The original draws the kind of a pixel at random (hard Gumbel softmax) in
inference too; here the likeliest kind is taken outside training, so that the same picture always
gives the same output. And its sort by kind is unstable; here pixels of one kind keep their order.
A graph counts instead of sorting, since ONNX has only TopK and TensorRT's takes 3840 values.

Maps are channels-last (b h w c, or b l c with l = h w) from the first norm to the last.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from models.layers.fourier import exporting
from models.layers.mamba import Embed, SelectiveScan, rgb_mean
from models.layers.padding import round_up
from models.layers.windows import (
    Masks,
    joined,
    masked,
    merge,
    partition,
    relative_bias,
    relative_index,
    shift_masks,
)

OUTSIDE = -100.0  # logit of a pair from two sides of the wrapped border
LAYER_SCALE = 1e-4


class Gate(nn.Module):
    """One half of the channels, normed and convolved, weighs the other; b h w 2c -> b h w c."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.conv = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value, gate = x.chunk(2, dim=-1)
        out: torch.Tensor = self.conv(self.norm(gate).permute(0, 3, 1, 2))
        return value * out.permute(0, 2, 3, 1)


class GatedMlp(nn.Module):
    """Feed-forward with a spatial gate; b h w c."""

    def __init__(self, width: int, hidden: int, kernel: int = 5) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.sg = Gate(hidden // 2, kernel)
        self.fc2 = nn.Linear(hidden // 2, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.fc2(self.sg(F.gelu(self.fc1(x))))
        return out


class WindowAttention(nn.Module):
    """Attention inside windows with relative position bias, given the projected q, k, v."""

    def __init__(self, width: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads = heads
        table = torch.empty((2 * side - 1) ** 2, heads)
        self.relative_position_bias_table = nn.Parameter(nn.init.trunc_normal_(table, std=0.02))
        self.proj = nn.Linear(width, width)

    def forward(
        self, windows: torch.Tensor, index: torch.Tensor, masks: Masks | None
    ) -> torch.Tensor:
        """(b n) t 3c, index t t, masks of shifted windows -> (b n) t c."""
        count, t, _ = windows.shape
        q, k, v = windows.view(count, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        bias = relative_bias(self.relative_position_bias_table, index)  # heads t t
        if masks is not None and exporting():  # no joined masks, which a graph would hold
            logits = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5 + bias
            out = masked(logits, masks).softmax(-1) @ v
        else:
            bias = bias.unsqueeze(0)
            if masks is not None:
                mask = joined(masks).unsqueeze(1)  # n 1 t t
                bias = (bias + mask).repeat(count // mask.shape[0], 1, 1, 1)
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.contiguous())
        attended: torch.Tensor = self.proj(out.transpose(1, 2).reshape(count, t, -1))
        return attended


def counted(kind: torch.Tensor, kinds: int) -> torch.Tensor:
    """The place of each pixel when all are sorted by kind, equal ones in order: b l -> b l.

    So many are of a smaller kind, and so many of the same come before it: sums in float32, which
    holds every count to 2^24.
    """
    hot = (kind.unsqueeze(-1) == torch.arange(kinds, device=kind.device)).to(torch.float32)
    before = hot.cumsum(1) - hot
    totals = hot.sum(1, keepdim=True)
    smaller = totals.cumsum(-1) - totals
    return ((before + smaller) * hot).sum(-1).long()


class AttentiveStateSpace(nn.Module):
    """Sorts pixels by kind, scans them with a prompt for each kind, and puts them back."""

    def __init__(self, width: int, states: int, kinds: int, rank: int, expand: float) -> None:
        super().__init__()
        inner = int(width * expand)
        self.selectiveScan = SelectiveScan(1, inner, math.ceil(inner / 16), states)
        self.out_norm = nn.LayerNorm(inner)
        self.out_proj = nn.Linear(inner, width)
        self.in_proj = nn.Sequential(nn.Conv2d(width, inner, 1))
        self.CPE = nn.Sequential(nn.Conv2d(inner, inner, 3, padding=1, groups=inner))
        self.embeddingB = nn.Embedding(kinds, rank)
        nn.init.uniform_(self.embeddingB.weight, -1 / kinds, 1 / kinds)
        self.route = nn.Sequential(
            nn.Linear(width, width // 3),
            nn.GELU(),
            nn.Linear(width // 3, kinds),
            nn.LogSoftmax(dim=-1),
        )

    def choose(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """b l c -> each pixel's kind, b l, and the same one-hot, b l kinds.

        The one-hot carries the softmax's gradient (straight-through), without which the
        router would learn nothing.
        """
        scores: torch.Tensor = self.route(x)
        if self.training:  # Gumbel noise: minus the log of an exponential draw
            draws = torch.empty_like(scores, dtype=torch.float32).exponential_()
            scores = scores - draws.log().to(scores.dtype)
        soft = scores.softmax(-1)
        kind = scores.argmax(-1)
        hard = torch.zeros_like(soft).scatter(-1, kind.unsqueeze(-1), 1.0)
        return kind, hard + (soft - soft.detach())

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """b h w c, embedding rank states -> b h w c."""
        b, h, w, c = x.shape
        kind, one_hot = self.choose(x.view(b, h * w, c))
        prompt = one_hot @ (self.embeddingB.weight @ embedding)  # b l states
        position = torch.arange(h * w, device=x.device)
        if exporting():
            back = counted(kind, self.embeddingB.num_embeddings)
            order = torch.zeros_like(back).scatter(1, back, position.expand_as(back))
        else:
            order = (kind * (h * w) + position).argsort(dim=-1)
            back = torch.zeros_like(order).scatter(1, order, position.expand_as(order))
        y: torch.Tensor = self.in_proj(x.permute(0, 3, 1, 2))
        y = (y * self.CPE(y).sigmoid()).flatten(2)  # b inner l
        y = y.gather(-1, order.unsqueeze(1).expand_as(y)).unsqueeze(1)
        # as in the original, the pixels go in sorted but their prompts in picture order
        y = self.selectiveScan.scan(y, prompt.transpose(1, 2).unsqueeze(1))
        y = y.squeeze(1).transpose(1, 2)  # b l inner
        y = self.out_proj(self.out_norm(y))
        return y.gather(1, back.unsqueeze(-1).expand_as(y)).view(b, h, w, c)


class Layer(nn.Module):
    """Window attention, then the attentive state space, each with a gated feed-forward."""

    def __init__(
        self,
        width: int,
        states: int,
        heads: int,
        side: int,
        shift: int,
        rank: int,
        kinds: int,
        expand: float,
    ) -> None:
        super().__init__()
        self.side, self.shift = side, shift
        hidden = int(width * expand)
        self.scale1 = nn.Parameter(torch.full((width,), LAYER_SCALE))
        self.scale2 = nn.Parameter(torch.full((width,), LAYER_SCALE))
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)
        self.norm4 = nn.LayerNorm(width)
        self.wqkv = nn.Linear(width, 3 * width)
        self.win_mhsa = WindowAttention(width, heads, side)
        self.assm = AttentiveStateSpace(width, states, kinds, rank, expand)
        self.convffn1 = GatedMlp(width, hidden)
        self.convffn2 = GatedMlp(width, hidden)
        self.embeddingA = nn.Embedding(rank, states)
        nn.init.uniform_(self.embeddingA.weight, -1 / rank, 1 / rank)

    def attend(self, x: torch.Tensor, index: torch.Tensor, masks: Masks) -> torch.Tensor:
        """b h w c, over windows that are moved by `shift` and wrap around the border."""
        h, w = x.shape[1:3]
        qkv = self.wqkv(x)
        if not self.shift:
            return merge(self.win_mhsa(partition(qkv, self.side), index, None), self.side, h, w)
        qkv = qkv.roll((-self.shift, -self.shift), (1, 2))
        y = self.win_mhsa(partition(qkv, self.side), index, masks)
        return merge(y, self.side, h, w).roll((self.shift, self.shift), (1, 2))

    def forward(self, x: torch.Tensor, index: torch.Tensor, masks: Masks) -> torch.Tensor:
        y = x + self.attend(self.norm1(x), index, masks)
        y = y + self.convffn1(self.norm2(y))
        x = x * self.scale1 + y
        y = x + self.assm(self.norm3(x), self.embeddingA.weight)
        y = y + self.convffn2(self.norm4(y))
        out: torch.Tensor = x * self.scale2 + y
        return out


class Layers(nn.Module):
    """The layers of a group, in order."""

    def __init__(self, layers: list[Layer]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)


class Group(nn.Module):
    """Layers, a convolution, and the group's input added back; b h w c."""

    def __init__(self, width: int, layers: list[Layer]) -> None:
        super().__init__()
        self.residual_group = Layers(layers)
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: torch.Tensor, index: torch.Tensor, masks: Masks) -> torch.Tensor:
        y = x
        for layer in self.residual_group.layers:
            y = layer(y, index, masks)
        out: torch.Tensor = self.conv(y.permute(0, 3, 1, 2))
        return x + out.permute(0, 2, 3, 1)


def mirror_to_multiple(x: torch.Tensor, multiple: int) -> torch.Tensor:
    """b c h w, sides no less than what is missing: rows, then columns, added from the flipped
    picture, the edge pixel repeated."""
    h, w = x.shape[-2:]
    x = torch.cat([x, x.flip(2)], dim=2)[:, :, : round_up(h, multiple)]
    return torch.cat([x, x.flip(3)], dim=3)[:, :, :, : round_up(w, multiple)]


class MambaIRv2(nn.Module):
    """The whole network: b 3 h w -> b 3 h w, sides from 8 up; the picture is predicted whole,
    not as a residual. As in the original, sides are mirrored up to multiples of 16."""

    relative_position_index_SA: torch.Tensor  # noqa: N815  # its name in the checkpoints

    def __init__(
        self,
        width: int = 48,
        depths: tuple[int, ...] = (5, 5, 5, 5),
        states: int = 8,
        heads: int = 4,
        side: int = 16,
        rank: int = 32,
        kinds: int = 64,
        expand: float = 1.0,
    ) -> None:
        super().__init__()
        self.side = side
        self.register_buffer("relative_position_index_SA", relative_index(side))
        self.conv_first = nn.Conv2d(3, width, 3, padding=1)
        self.patch_embed = Embed(width)
        self.layers = nn.ModuleList(
            Group(
                width,
                [
                    Layer(width, states, heads, side, side // 2 * (i % 2), rank, kinds, expand)
                    for i in range(depth)
                ],
            )
            for depth in depths
        )
        self.norm = nn.LayerNorm(width)
        self.conv_after_body = nn.Conv2d(width, width, 3, padding=1)
        self.upsample = nn.Sequential(nn.Conv2d(width, 3, 3, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h, w = x.shape[-2:]
        mean = rgb_mean(x)
        shallow = self.conv_first(mirror_to_multiple(x - mean, self.side))
        height, width = shallow.shape[-2:]
        masks = shift_masks(height, width, self.side, self.side // 2, OUTSIDE, shallow)
        y = self.patch_embed(shallow.permute(0, 2, 3, 1))
        for group in self.layers:
            y = group(y, self.relative_position_index_SA, masks)
        deep = self.conv_after_body(self.norm(y).permute(0, 3, 1, 2)) + shallow
        out: torch.Tensor = self.upsample(deep)[..., :h, :w] + mean
        return out
