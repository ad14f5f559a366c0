"""RAMiT: the official network's keys and answers, and what makes it this network."""

from __future__ import annotations

import math

import pytest
import torch
from exported import assert_exportable
from golden import assert_official

from models.ramit import (
    MAX_LOG_SCALE,
    Block,
    ChannelAttention,
    RAMiT,
    SpatialAttention,
    enlarge,
    lengths,
    shrink,
)


def small() -> RAMiT:
    torch.manual_seed(3)
    return RAMiT(dim=16, depths=(2, 1, 1, 2)).eval()


def test_it_is_the_official_network() -> None:
    assert_official("ramit", RAMiT())


def test_the_temperature_stops_at_100() -> None:
    torch.manual_seed(0)
    attention = SpatialAttention(heads=1, head_dim=4, side=2)
    qkv = torch.randn(3, 4, 12)
    with torch.no_grad():
        attention.logit_scale.fill_(MAX_LOG_SCALE)
        at_limit = attention(qkv, None)
        attention.logit_scale.fill_(math.log(1e4))
        beyond = attention(qkv, None)
        attention.logit_scale.fill_(math.log(10.0))
        below = attention(qkv, None)
    assert torch.equal(at_limit, beyond)
    assert not torch.allclose(at_limit, below, atol=1e-3)


def test_the_second_block_needs_the_first_ones_attention() -> None:
    stage = small().stage1
    x = torch.randn(1, 32, 32, 16)
    first, second = stage.blocks.values()
    with torch.inference_mode():
        y, attention, _ = first(x, None)
        helped, _, _ = second(y, attention)
        alone, _, _ = second(y, None)
    assert (helped - alone).abs().max() > 1e-3


def test_shifted_windows_see_over_the_border_of_the_plain_ones() -> None:
    plain, shifted = small().stage1.blocks.values()
    assert isinstance(plain, Block) and isinstance(shifted, Block)
    x = torch.randn(1, 16, 16, 16, requires_grad=True)

    def reach(block: Block) -> tuple[int, int]:
        """From which row or column to which the first window's first pixel sees."""
        first = block.sp_attn(block.qkv_proj(block.windows(x))[..., :36], None)[0, 0].sum()
        (gradient,) = torch.autograd.grad(first, x)
        seen = gradient.abs().sum(-1)[0].nonzero()
        return int(seen.amin()), int(seen.amax())

    assert reach(plain) == (0, 7)
    assert reach(shifted) == (4, 11)


def test_spatial_attention_is_cosine_attention_with_bias_and_gated_values() -> None:
    torch.manual_seed(1)
    attention = SpatialAttention(heads=2, head_dim=3, side=2).double()
    qkv = torch.randn(5, 4, 18, dtype=torch.float64)
    gate = torch.randn(5, 4, 3, dtype=torch.float64)
    q, k, v = qkv.view(5, 4, 2, 3, 3).permute(3, 0, 2, 1, 4)  # n heads t c
    cosine = torch.cosine_similarity(q[..., :, None, :], k[..., None, :, :], dim=-1)
    index, table = attention.relative_position_index, attention.relative_position_bias_table
    weights = (cosine * 10 + table[index].permute(2, 0, 1)).softmax(-1)
    plain = (weights @ (v * gate[:, None])).transpose(1, 2).reshape(5, 4, 6)
    assert torch.allclose(attention(qkv, gate), attention.proj(plain))


def test_channel_attention_is_cosine_attention_over_the_whole_map() -> None:
    torch.manual_seed(1)
    attention = ChannelAttention(heads=2, head_dim=3).double()
    qkv = torch.randn(2, 50, 18, dtype=torch.float64)
    gate = torch.randn(2, 50, 1, dtype=torch.float64)
    q, k, v = qkv.view(2, 50, 2, 3, 3).permute(3, 0, 2, 4, 1)  # b heads c p
    cosine = torch.cosine_similarity(q[..., :, None, :], k[..., None, :, :], dim=-1)
    plain = (cosine * 10).softmax(-1) @ (v * gate.view(2, 1, 1, 50))
    plain = plain.flatten(1, 2).mT  # b p (heads c)
    assert torch.allclose(attention(qkv, gate), attention.proj(plain))


def test_norms_do_not_overflow_in_half_precision() -> None:
    x = torch.full((1, 4096), 8.0, dtype=torch.float16)  # its square sum is 262144
    assert lengths(x, -1).item() == pytest.approx(512.0)


def test_shrink_is_a_maximum_and_enlarge_a_pixel_shuffle() -> None:
    x = torch.randn(2, 6, 4, 8)
    pooled = torch.nn.functional.max_pool2d(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
    assert torch.equal(shrink(x), pooled)
    assert enlarge(x, 2)[1, 3, 4, 1] == x[1, 1, 2, 6]  # odd row, even column: second in its four


def test_the_padded_border_does_not_depend_on_the_picture_beyond_it() -> None:
    net = small()
    x = torch.rand(1, 3, 17, 33)
    with torch.inference_mode():
        padded = torch.nn.functional.pad(x, (0, 64 - 33, 0, 32 - 17))
        assert torch.equal(net(x), net(padded)[..., :17, :33])


def test_it_exports_and_compiles_whole() -> None:
    assert_exportable(small(), (1, 3, 40, 72))
