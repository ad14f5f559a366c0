"""Channel attention and the gated feed-forward against their formulas."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from models.layers.transposed import (
    ChannelAttention,
    ChannelNorm,
    GatedFeedForward,
    TransposedBlock,
    unit,
)


def maps(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def test_the_norm_is_over_the_channels_of_a_pixel() -> None:
    norm = ChannelNorm(6).double()
    x = maps(2, 6, 4, 5)
    with torch.no_grad():
        norm.body.weight.copy_(torch.arange(6))
        norm.body.bias.fill_(0.5)
        y = norm(x)
    middle = x - x.mean(1, keepdim=True)
    want = middle / (middle.square().mean(1, keepdim=True) + 1e-5).sqrt()
    assert torch.allclose(y, want * torch.arange(6).view(1, 6, 1, 1) + 0.5)


def test_a_channel_attends_to_the_channels_of_its_head() -> None:
    torch.manual_seed(0)
    attention = ChannelAttention(6, heads=2).double()
    x = maps(2, 6, 4, 5)
    with torch.no_grad():
        attention.temperature.copy_(torch.tensor([0.7, 3.0]).view(2, 1, 1))
        q, k, v = attention.qkv_dwconv(attention.qkv(x)).chunk(3, dim=1)
        want = torch.zeros_like(x)
        for picture in range(2):
            for head in range(2):
                own = range(3 * head, 3 * head + 3)
                for i in own:
                    cosines = [
                        F.cosine_similarity(q[picture, i].flatten(), k[picture, j].flatten(), 0)
                        for j in own
                    ]
                    shares = (torch.stack(cosines) * attention.temperature[head].item()).softmax(0)
                    for share, j in zip(shares, own, strict=True):
                        want[picture, i] += share * v[picture, j]
        assert torch.allclose(attention(x), attention.project_out(want))


def test_half_the_channels_gate_the_other_half() -> None:
    torch.manual_seed(0)
    net = GatedFeedForward(48).double()
    assert net.project_out.in_channels == 127  # floor of 48 * 2.66
    x = maps(1, 48, 3, 4)
    with torch.no_grad():
        y = net.dwconv(net.project_in(x))
        want = net.project_out(F.gelu(y[:, :127]) * y[:, 127:])
        assert torch.allclose(net(x), want)


def test_both_branches_are_added_to_what_came_in() -> None:
    block = TransposedBlock(8, 2).double()
    x = maps(1, 8, 4, 4)
    with torch.no_grad():
        block.attn.project_out.weight.zero_()
        assert torch.equal(block(x), x + block.ffn(block.norm2(x)))
        block.ffn.project_out.weight.zero_()
        assert torch.equal(block(x), x)


def test_a_large_picture_does_not_overflow_half_precision() -> None:
    x = torch.full((1, 90_000), 300.0, dtype=torch.float16)  # its length, 90000, passes 65504
    assert torch.allclose(unit(x).float(), torch.full((1, 90_000), 1 / 300), rtol=1e-3)
    assert torch.equal(unit(torch.zeros(1, 4)), torch.zeros(1, 4))
