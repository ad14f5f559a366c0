"""MambaIRv2: the official network's keys and answers, its windows, kinds and order."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from exported import assert_exportable
from golden import assert_official

from models.layers.windows import joined, relative_index, shift_masks
from models.mambairv2 import (
    OUTSIDE,
    AttentiveStateSpace,
    GatedMlp,
    Layer,
    MambaIRv2,
    WindowAttention,
    counted,
    mirror_to_multiple,
)


def small() -> MambaIRv2:
    torch.manual_seed(3)
    return MambaIRv2(16, (2, 1), states=4, heads=2, rank=4, kinds=6).eval()


def state_space() -> AttentiveStateSpace:
    torch.manual_seed(0)
    return AttentiveStateSpace(12, states=3, kinds=5, rank=4, expand=1.0).double().eval()


def test_it_is_the_official_network() -> None:
    # in float64: it chooses a kind for each pixel, and float32 chooses by the processor
    assert_official("mambairv2", MambaIRv2(), single=False)


def test_windows_attend_with_bias_and_mask() -> None:
    torch.manual_seed(0)
    net = WindowAttention(6, heads=2, side=4).double()
    index = relative_index(4)
    masks = shift_masks(4, 8, 4, 2, OUTSIDE, torch.zeros(1, dtype=torch.float64))
    mask = joined(masks)
    windows = torch.randn(4, 16, 18, dtype=torch.float64)  # two pictures of two windows
    with torch.inference_mode():
        net.relative_position_bias_table.normal_()
        q, k, v = windows.chunk(3, dim=-1)
        out = torch.zeros(4, 16, 6, dtype=torch.float64)
        for window in range(4):
            for head, own in enumerate((slice(0, 3), slice(3, 6))):
                logits = q[window, :, own] @ k[window, :, own].T / 3**0.5
                logits = logits + net.relative_position_bias_table[index, head]
                logits = logits + mask[window % 2]
                out[window, :, own] = logits.softmax(-1) @ v[window, :, own]
        assert torch.allclose(net(windows, index, masks), net.proj(out))


def test_every_other_layer_is_shifted_by_half_a_window() -> None:
    net = MambaIRv2()
    shifts = [layer.shift for layer in net.modules() if isinstance(layer, Layer)]
    assert shifts == [0, 8, 0, 8, 0] * 4


def test_pixels_are_scanned_kind_by_kind_and_come_back() -> None:
    """Prompts stay in picture order while the pixels are sorted, as in the original."""
    net = state_space()
    embedding = torch.randn(4, 3, dtype=torch.float64)
    x = torch.randn(2, 3, 5, 12, dtype=torch.float64)
    with torch.inference_mode():
        y = net.in_proj(x.permute(0, 3, 1, 2))
        y = (y * net.CPE(y).sigmoid()).flatten(2)
        want = torch.zeros(2, 15, 12, dtype=torch.float64)
        for picture in range(2):
            kinds = net.route(x[picture].flatten(0, 1)).argmax(-1).tolist()
            assert len(set(kinds)) > 1
            order = sorted(range(15), key=lambda place: kinds[place])  # Python's sort is stable
            prompt = (net.embeddingB.weight @ embedding)[kinds].T
            scanned = net.selectiveScan.scan(y[picture][None, None, :, order], prompt[None, None])
            want[picture, order] = net.out_proj(net.out_norm(scanned[0, 0].T))
        assert torch.allclose(net(x, embedding), want.view(2, 3, 5, 12))


@pytest.mark.parametrize("pixels", [1, 7, 500])
def test_a_graph_counts_to_the_same_order(pixels: int) -> None:
    kind = torch.randint(5, (2, pixels), generator=torch.Generator().manual_seed(pixels))
    order = (kind * pixels + torch.arange(pixels)).argsort(dim=-1)
    assert torch.equal(counted(kind, 6), order.argsort(dim=-1))


def test_a_kind_is_one_hot_and_the_router_still_learns() -> None:
    net = state_space()
    x = torch.randn(1, 9, 12, dtype=torch.float64)
    kind, one_hot = net.choose(x)
    assert torch.equal(one_hot, F.one_hot(kind, 5).double())  # exactly, not to rounding
    (gradient,) = torch.autograd.grad(one_hot[..., 0].sum(), net.route.get_parameter("0.weight"))
    assert gradient.abs().max() > 0


def test_kinds_are_drawn_in_training_only() -> None:
    net = state_space()
    x = torch.randn(1, 2000, 12, dtype=torch.float64)
    with torch.no_grad():
        likeliest, _ = net.choose(x)
        assert torch.equal(net.choose(x)[0], likeliest)
        net.train()
        shares = net.route(x).exp().mean((0, 1))
        drawn = torch.cat([net.choose(x)[0] for _ in range(20)])
    assert not torch.equal(drawn[0], drawn[1])
    counts = drawn.flatten().bincount(minlength=5) / drawn.numel()
    assert torch.allclose(counts.double(), shares, atol=0.01)  # Gumbel draws follow the softmax


def test_branches_contain_what_came_in_and_a_scaled_skip_adds_it_again() -> None:
    torch.manual_seed(0)
    layer = Layer(16, 4, 2, 4, 2, 4, 6, 1.0).double().eval()
    index = relative_index(4)
    mask = shift_masks(8, 8, 4, 2, OUTSIDE, torch.zeros(1, dtype=torch.float64))
    x = torch.randn(1, 8, 8, 16, dtype=torch.float64)
    with torch.inference_mode():
        layer.scale1.normal_()
        layer.scale2.normal_()
        y = x + layer.attend(layer.norm1(x), index, mask)
        z = x * layer.scale1 + y + layer.convffn1(layer.norm2(y))
        y = z + layer.assm(layer.norm3(z), layer.embeddingA.weight)
        y = z * layer.scale2 + y + layer.convffn2(layer.norm4(y))
        assert torch.allclose(layer(x, index, mask), y)


def test_the_gate_is_the_second_half_normed_and_convolved() -> None:
    torch.manual_seed(0)
    net = GatedMlp(8, 8).double()
    x = torch.randn(1, 5, 6, 8, dtype=torch.float64)
    with torch.inference_mode():
        value, gate = F.gelu(net.fc1(x)).chunk(2, dim=-1)
        gate = net.sg.conv(net.sg.norm(gate).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        assert torch.allclose(net(x), net.fc2(value * gate))
    assert net.sg.conv.kernel_size == (5, 5)


@pytest.mark.parametrize(("side", "want"), [(16, 16), (17, 32), (31, 32), (32, 32)])
def test_pictures_are_mirrored_to_multiples_of_sixteen(side: int, want: int) -> None:
    x = torch.rand(1, 3, side, 16)
    y = mirror_to_multiple(x, 16)
    assert y.shape == (1, 3, want, 16)
    assert torch.equal(y[:, :, :side], x)
    for row in range(side, want):  # the edge row is repeated, then those before it
        assert torch.equal(y[:, :, row], x[:, :, 2 * side - 1 - row])
    assert torch.equal(mirror_to_multiple(x.mT, 16), y.mT)


def test_it_exports_and_compiles_whole() -> None:
    assert_exportable(small(), (1, 3, 17, 33))
