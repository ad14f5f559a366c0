"""RAMiT: spatial window attention and channel attention side by side, each helping the other.

Paper: H. Choi, C. Na, J. Oh, S. Lee, J. Kim, S. Choe, J. Lee, T. Kim, J. Yang: "Reciprocal
Attention Mixing Transformer for Lightweight Image Restoration", CVPR 2024 Workshops (NTIRE).
The authors' code (rami0205/RAMiT) has no licence; this is written from the paper and from
measured behaviour, and takes checkpoints of that code.

Maps are kept channels-last (b h w c) from the first convolution to the last: a 1x1 convolution
is then a matrix product, LayerNorm needs no transposition, and a window row is one run of memory.
Shortcuts are added in place, into tensors that nobody else has seen.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from models.layers.padding import pad_to_multiple
from models.layers.windows import merge, partition, relative_bias, relative_index

MAX_LOG_SCALE = math.log(100.0)  # cosine logits are multiplied by at most 100
SLOPE = 0.01


def leaky(x: torch.Tensor) -> torch.Tensor:
    return F.leaky_relu(x, SLOPE)


def lengths(x: torch.Tensor, dim: int) -> torch.Tensor:
    """Euclidean norms along `dim`, kept; summed in float32 at least, since FP16 overflows."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    norms: torch.Tensor = torch.linalg.vector_norm(x, dim=dim, keepdim=True, dtype=dtype)
    return norms.clamp_min(1e-12)


class Pointwise(nn.Conv2d):
    """A 1x1 convolution of a channels-last map: ... i -> ... o."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.weight.flatten(1), self.bias)


class Conv3x3(nn.Conv2d):
    """A 3x3 convolution, zero padded, of a channels-last map: b h w i -> b h w o."""

    def __init__(self, inputs: int, outputs: int, groups: int = 1) -> None:
        super().__init__(inputs, outputs, 3, padding=1, groups=groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class Norm(nn.Module):
    """LayerNorm over the channels of a channels-last map (eps 1e-5)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.norm(x)
        return out


class MobiVari(nn.Module):
    """Depthwise then pointwise convolution, each with its own shortcut where shapes allow.

    b h w i -> b h w o.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.dw_conv = Conv3x3(inputs, inputs, groups=inputs)
        self.pw_conv = Pointwise(inputs, outputs)
        self.residual = inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = leaky(self.pw_conv(leaky(self.dw_conv(x)).add_(x)))
        return out.add_(x) if self.residual else out


class FeedForward(nn.Module):
    """Two pointwise layers around an exact GELU."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.hidden = Pointwise(dim, hidden)
        self.out = Pointwise(hidden, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.out(F.gelu(self.hidden(x)))
        return out


class Projection(nn.Module):
    """Query, key and value in one pointwise layer; outputs are ordered head, (q k v), channel."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.qkv = Pointwise(dim, 3 * dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.qkv(x)
        return out


class SpatialAttention(nn.Module):
    """Cosine attention between the pixels of a window, with relative position bias."""

    relative_position_index: torch.Tensor

    def __init__(self, heads: int, head_dim: int, side: int) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, head_dim
        self.logit_scale = nn.Parameter(torch.full((heads, 1, 1), math.log(10.0)))
        table = torch.empty((2 * side - 1) ** 2, heads)
        self.relative_position_bias_table = nn.Parameter(nn.init.trunc_normal_(table, std=0.02))
        self.register_buffer("relative_position_index", relative_index(side))
        self.proj = Pointwise(heads * head_dim, heads * head_dim)

    def forward(self, qkv: torch.Tensor, gate: torch.Tensor | None) -> torch.Tensor:
        """n t (heads 3 c), gate of the values n t c or None -> n t (heads c)."""
        n, t, _ = qkv.shape
        qkv = qkv.view(n, t, self.heads, 3, self.head_dim)
        qk, v = qkv[:, :, :, :2], qkv[:, :, :, 2]
        # normalise q and k together and put the temperature on q: one pass over memory
        scale = self.logit_scale.clamp(max=MAX_LOG_SCALE).exp().flatten()
        scale = torch.stack([scale, torch.ones_like(scale)], dim=1).unsqueeze(-1)  # heads 2 1
        qk = qk * (scale / lengths(qk, -1)).to(qk.dtype)
        if gate is not None:
            v = v * gate.unsqueeze(2)
        bias = relative_bias(self.relative_position_bias_table, self.relative_position_index)
        q, k, v = (z.transpose(1, 2) for z in (qk[:, :, :, 0], qk[:, :, :, 1], v))  # n heads t c
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.unsqueeze(0), scale=1.0)
        merged: torch.Tensor = self.proj(out.transpose(1, 2).reshape(n, t, -1))
        return merged


class ChannelAttention(nn.Module):
    """Cosine attention between the channels of the whole map."""

    def __init__(self, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, head_dim
        self.logit_scale = nn.Parameter(torch.full((heads, 1, 1), math.log(10.0)))
        self.proj = Pointwise(heads * head_dim, heads * head_dim)

    def forward(self, qkv: torch.Tensor, gate: torch.Tensor | None) -> torch.Tensor:
        """b p (heads 3 c) for p pixels, gate of the values b p 1 or None -> b p (heads c)."""
        b, p, _ = qkv.shape
        qkv = qkv.view(b, p, self.heads, 3, self.head_dim)
        q, k, v = qkv.permute(3, 0, 2, 4, 1)  # b heads c p
        q, k = (z * lengths(z, -1).reciprocal().to(z.dtype) for z in (q, k))
        scale = self.logit_scale.clamp(max=MAX_LOG_SCALE).exp()
        attention = (q @ k.transpose(-1, -2) * scale).softmax(dim=-1)  # b heads c c
        if gate is not None:
            v = v * gate.view(b, 1, 1, p)
        out: torch.Tensor = self.proj((attention @ v).permute(0, 3, 1, 2).reshape(b, p, -1))
        return out


class Block(nn.Module):
    """Dimensional reciprocal attention mixing, norms after the branches."""

    def __init__(self, dim: int, heads: int, channel_heads: int, side: int, shift: int) -> None:
        super().__init__()
        head_dim = dim // heads
        self.side, self.shift = side, shift
        self.heads, self.channel_heads, self.head_dim = heads, channel_heads, head_dim
        self.spatial = (heads - channel_heads) * head_dim  # channels of the spatial attention
        self.qkv_proj = Projection(dim)
        self.sp_attn = SpatialAttention(heads - channel_heads, head_dim, side)
        self.ch_attn = ChannelAttention(channel_heads, head_dim)
        self.mobivari = MobiVari(dim, dim)
        self.norm1 = Norm(dim)
        self.ffn = FeedForward(dim, 2 * dim)
        self.norm2 = Norm(dim)

    def windows(self, x: torch.Tensor) -> torch.Tensor:
        if self.shift:
            x = x.roll((-self.shift, -self.shift), (1, 2))
        return partition(x, self.side)

    def attend(self, x: torch.Tensor, before: torch.Tensor | None) -> torch.Tensor:
        """Both attentions, side by side: b h w dim. Everything inside is in window order; the
        channel attention does not care about the order of pixels."""
        b, h, w, dim = x.shape
        windows = self.windows(x)
        values_gate = pixel_gate = None
        if before is not None:  # each attention's values are weighted by the other's last output
            seen = self.windows(before)
            pixel_gate = seen[..., : self.spatial].mean(-1).view(b, h * w, 1)
            channel = seen[..., self.spatial :].contiguous()
            per_head = channel.view(*channel.shape[:2], self.channel_heads, self.head_dim)
            values_gate = per_head.mean(2)
        qkv = self.qkv_proj(windows)
        spatial = self.sp_attn(qkv[..., : 3 * self.spatial], values_gate)
        qkv = qkv[..., 3 * self.spatial :].reshape(b, h * w, -1)
        channel = self.ch_attn(qkv, pixel_gate).view(-1, self.side**2, dim - self.spatial)
        out = merge(torch.cat([spatial, channel], dim=-1), self.side, h, w)
        return out.roll((self.shift, self.shift), (1, 2)) if self.shift else out

    def forward(self, x: torch.Tensor, before: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
        """b h w dim and the attention of the block before, or None -> map, attention, mixed."""
        attention = self.attend(x, before)
        mixed = self.mobivari(attention)
        x = self.norm1(mixed).add_(x)
        x = self.norm2(self.ffn(x)).add_(x)
        return x, attention, mixed


class Stage(nn.Module):
    """Blocks at one resolution; windows of every other block are shifted by half a side."""

    def __init__(self, depth: int, dim: int, heads: int, channel_heads: int, side: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleDict(
            {
                f"block{i}": Block(dim, heads, channel_heads, side, side // 2 * (i % 2))
                for i in range(depth)
            }
        )

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """b h w dim -> the map, and the last block's mixed attention (both b h w dim)."""
        attention = mixed = None
        for block in self.blocks.values():
            x, attention, mixed = block(x, attention)
        assert mixed is not None
        return x, mixed


class Downsize(nn.Module):
    """Halves both sides: each 2x2 square becomes one pixel, then back to dim channels."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = Norm(4 * dim)
        self.reduction = MobiVari(4 * dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, h, w, c = x.shape
        x = x.view(b, h // 2, 2, w // 2, 2, c).transpose(2, 3)
        x = x.reshape(b, h // 2, w // 2, 4 * c)  # top left, top right, bottom left, bottom right
        out: torch.Tensor = self.reduction(self.norm(x))
        return out


def enlarge(x: torch.Tensor, factor: int) -> torch.Tensor:
    """Pixel shuffle of a channels-last map: b h w (c factor^2) -> b (h factor) (w factor) c."""
    return F.pixel_shuffle(x.permute(0, 3, 1, 2), factor).permute(0, 2, 3, 1)


def shrink(x: torch.Tensor) -> torch.Tensor:
    """2x2 maximum of a channels-last map."""
    b, h, w, c = x.shape
    x = x.view(b, h // 2, 2, w // 2, 2, c)
    x = torch.maximum(x[:, :, 0], x[:, :, 1])  # b (h/2) (w/2) 2 c
    return torch.maximum(x[..., 0, :], x[..., 1, :])


class Bottleneck(nn.Module):
    """Joins the three resolutions at full size, each reminded of the shallow features."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.mobivari = MobiVari(dim + dim // 4 + dim // 16, dim)
        self.norm = Norm(dim)

    def forward(self, maps: list[torch.Tensor], shallow: torch.Tensor) -> torch.Tensor:
        parts = []
        for level, x in enumerate(maps):
            parts.append(enlarge(x + leaky(shallow), 2**level))
            if level + 1 < len(maps):
                shallow = shrink(shallow)
        out: torch.Tensor = self.norm(self.mobivari(torch.cat(parts, dim=-1)))
        return out


class Mixer(nn.Module):
    """H-RAMi: one attention map from the four stages'."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.mobivari = MobiVari(2 * dim + dim // 4 + dim // 16, dim)

    def forward(self, first: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        half, quarter, last = others
        parts = [first, enlarge(half, 2), enlarge(quarter, 4), last]
        out: torch.Tensor = self.mobivari(torch.cat(parts, dim=-1))
        return out


class Shallow(nn.Module):
    """The first convolution."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv = Conv3x3(3, dim)


class ToTarget(nn.Module):
    """Features to the residual image: b h w dim -> b h w 3."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.mobivari = nn.ModuleDict({f"mobivari{i}": MobiVari(dim, dim) for i in range(2)})
        self.conv = Conv3x3(dim, 3)
        self.final_conv = Conv3x3(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for mobivari in self.mobivari.values():
            x = mobivari(x)
        out: torch.Tensor = self.final_conv(self.conv(x))
        return out


class RAMiT(nn.Module):
    """The whole network: b 3 h w -> b 3 h w, any size.

    As in the original, sides are padded below and at the right with zeros to multiples of 32,
    and the output is cropped; shifted windows wrap around the padded map, without a mask.
    """

    def __init__(
        self,
        dim: int = 48,
        depths: tuple[int, int, int, int] = (4, 2, 2, 4),
        heads: int = 4,
        channel_heads: int = 1,
        side: int = 8,
    ) -> None:
        super().__init__()
        self.multiple = 4 * side
        stage1, stage2, stage3, stage4 = (
            Stage(depth, dim, heads, channel_heads, side) for depth in depths
        )
        self.shallow = Shallow(dim)
        self.stage1 = stage1
        self.down1 = Downsize(dim)
        self.stage2 = stage2
        self.down2 = Downsize(dim)
        self.stage3 = stage3
        self.bottleneck = Bottleneck(dim)
        self.stage4 = stage4
        self.attn_mix = Mixer(dim)
        self.to_target = ToTarget(dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h, w = x.shape[-2:]
        image = pad_to_multiple(x, self.multiple).permute(0, 2, 3, 1)
        shallow = self.shallow.conv(image)
        full, mixed1 = self.stage1(shallow)
        half, mixed2 = self.stage2(self.down1(full))
        quarter, mixed3 = self.stage3(self.down2(half))
        x, mixed4 = self.stage4(self.bottleneck([full, half, quarter], shallow))
        x = (x * self.attn_mix(mixed1, mixed2, mixed3, mixed4)).add_(shallow)
        out: torch.Tensor = self.to_target(x).add_(image)
        return out.permute(0, 3, 1, 2)[..., :h, :w]
