"""AST: the official network's keys and answers, and what makes it this network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from exported import assert_exportable
from golden import assert_official

from models.ast import AST, FAR, SparseAttention, Stage
from models.layers.windows import joined, shift_masks


def small() -> AST:
    torch.manual_seed(3)
    return AST(dim=4, depth=2).eval()


def test_it_is_the_official_network() -> None:
    assert_official("ast", AST())


def test_attention_mixes_softmax_and_squared_relu_of_the_same_logits() -> None:
    torch.manual_seed(0)
    attention = SparseAttention(6, 2).double()
    x = torch.randn(3, 64, 6, dtype=torch.float64)
    masks = shift_masks(8, 24, 8, 4, FAR, x)
    mask = joined(masks)
    with torch.inference_mode():
        attention.w.copy_(torch.tensor([0.3, -0.7]))
        q = attention.qkv.to_q(x).view(3, 64, 2, 3).transpose(1, 2)
        k, v = attention.qkv.to_kv(x).view(3, 64, 2, 2, 3).permute(2, 0, 3, 1, 4)
        index, table = attention.relative_position_index, attention.relative_position_bias_table
        logits = q @ k.mT / 3**0.5 + table[index].permute(2, 0, 1) + mask[:, None]
        dense, sparse = attention.w.softmax(0)
        weights = dense * logits.softmax(-1) + sparse * logits.clamp(min=0).square()
        want = attention.proj((weights @ v).transpose(1, 2).reshape(3, 64, 6))
        assert torch.allclose(attention(x, masks), want)


def test_only_decoder_and_bottleneck_attend() -> None:
    attending = {
        name.split(".")[0] for name, _ in AST(dim=4).named_modules() if name.endswith("attn")
    }
    assert attending == {"conv", *(f"decoderlayer_{i}" for i in range(4))}


def test_every_other_block_is_shifted() -> None:
    assert [block.shift for block in Stage(8, 4, heads=2).blocks] == [0, 4, 0, 4]


def test_pictures_are_padded_with_zeros_to_a_square() -> None:
    net = small()
    x = torch.rand(1, 3, 20, 140)
    with torch.inference_mode():
        square = F.pad(x, (0, 256 - 140, 0, 256 - 20))
        assert torch.equal(net(x), net(square)[..., :20, :140])


def test_it_exports_and_compiles_whole() -> None:
    assert_exportable(small(), (1, 3, 17, 33))
