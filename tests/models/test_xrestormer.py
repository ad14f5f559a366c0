"""X-Restormer: the official network's keys and answers, and its overlapping windows."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from exported import assert_exportable
from golden import assert_official

from models.xrestormer import Block, OverlappingAttention, RelativePosition, XRestormer
from models.xrestormer import as_published as published


def small() -> XRestormer:
    torch.manual_seed(3)
    return XRestormer(8, (1, 1, 1, 1), 1, head_dim=4).eval()


@pytest.mark.parametrize(
    ("name", "net"), [("xrestormer", XRestormer), ("xrestormer_default", published)]
)
def test_it_is_the_official_network(name: str, net: type[XRestormer]) -> None:
    assert_official(name, net(), double=False)


def test_a_position_is_read_off_by_how_far_the_key_lies() -> None:
    torch.manual_seed(0)
    position = RelativePosition(2, 3, 4)  # windows of 2x2 queries, 3x3 keys
    q = torch.randn(1, 1, 4, 4)
    with torch.inference_mode():
        logits = position(q).view(2, 2, 3, 3)
        for y in range(2):
            for x in range(2):
                for ky in range(3):
                    for kx in range(3):
                        query = q[0, 0, 2 * y + x]
                        want = query @ position.rel_height[ky - y + 2]
                        want = want + query @ position.rel_width[kx - x + 2]
                        assert torch.allclose(logits[y, x, ky, kx], want, atol=1e-6)


def test_a_window_sees_its_margin_and_zeros_outside_the_map() -> None:
    torch.manual_seed(0)
    attention = OverlappingAttention(6, heads=2, head_dim=3, side=4, overlap=0.5).double()
    x = torch.randn(1, 6, 8, 12, dtype=torch.float64)
    with torch.inference_mode():
        q, k, v = attention.qkv(x).chunk(3, dim=1)
        k, v = F.pad(k, (1, 1, 1, 1)), F.pad(v, (1, 1, 1, 1))
        out = torch.zeros(1, 6, 8, 12, dtype=torch.float64)
        for top in range(0, 8, 4):
            for left in range(0, 12, 4):
                for own in (slice(0, 3), slice(3, 6)):
                    queries = q[0, own, top : top + 4, left : left + 4].flatten(1).T / 3**0.5
                    keys = k[0, own, top : top + 6, left : left + 6].flatten(1)
                    values = v[0, own, top : top + 6, left : left + 6].flatten(1).T
                    where = attention.rel_pos_emb(queries[None, None])[0, 0]
                    answer = (queries @ keys + where).softmax(-1) @ values
                    out[0, own, top : top + 4, left : left + 4] = answer.T.view(3, 4, 4)
        assert torch.allclose(attention(x), attention.project_out(out))


def test_channels_come_first_and_each_branch_has_its_own_norm() -> None:
    torch.manual_seed(0)
    block = Block(8, 2, OverlappingAttention(8, 1, 4, 8, 0.5)).double()
    x = torch.randn(1, 8, 8, 8, dtype=torch.float64)
    with torch.inference_mode():
        for i, norm in enumerate((block.norm1, block.norm2, block.norm3, block.norm4)):
            norm.body.bias.fill_(i + 1.0)
        y = x + block.channel_attn(block.norm1(x))
        y = y + block.channel_ffn(block.norm2(y))
        y = y + block.spatial_attn(block.norm3(y))
        y = y + block.spatial_ffn(block.norm4(y))
        assert torch.equal(block(x), y)


def test_pictures_are_padded_with_zeros_to_multiples_of_64() -> None:
    net = small()
    x = torch.rand(1, 3, 20, 70)
    with torch.inference_mode():
        padded = F.pad(x, (0, 128 - 70, 0, 64 - 20))
        assert torch.equal(net(x), net(padded)[..., :20, :70])


def test_it_exports_and_compiles_whole() -> None:
    assert_exportable(small(), (1, 3, 17, 33))
