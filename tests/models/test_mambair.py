"""MambaIR: the official networks' keys and answers, and its scan in four directions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from exported import assert_exportable
from golden import assert_official

from models.mambair import Block, FourWayScan, MambaIR, Squeeze, of_test_files
from models.mambair import as_published as published


def small() -> MambaIR:
    torch.manual_seed(3)
    return MambaIR(32, (1, 1), states=4).eval()


@pytest.mark.parametrize(
    ("name", "make"),
    [("mambair", MambaIR), ("mambair_default", published), ("mambair_testyml", of_test_files)],
)
def test_it_is_the_official_network(name: str, make: Callable[[], MambaIR]) -> None:
    assert_official(name, make(), double=False)


def test_rows_columns_and_both_backwards_are_summed() -> None:
    torch.manual_seed(0)
    net = FourWayScan(16, states=3, expand=1.5).double()
    x = torch.randn(2, 5, 7, 16, dtype=torch.float64)
    with torch.inference_mode():
        net.Ds.normal_()
        inner, gate = net.in_proj(x).chunk(2, dim=-1)
        inner = F.silu(net.conv2d(inner.permute(0, 3, 1, 2)))
        places = torch.arange(35).view(5, 7)
        orders = [places.flatten(), places.T.flatten()]
        orders += [order.flip(0) for order in orders]
        ways = torch.stack([inner.flatten(2)[..., order] for order in orders], dim=1)
        answers = net.scan(ways)
        total = torch.zeros_like(inner).flatten(2)
        for way, order in enumerate(orders):
            total[..., order] += answers[:, way]
        y = net.out_norm(total.view_as(inner).permute(0, 2, 3, 1)) * F.silu(gate)
        assert torch.allclose(net(x), net.out_proj(y))


def test_the_squeeze_weighs_channels_by_their_means() -> None:
    """With both ReLUs open: on the reference weights some are shut and tell nothing."""
    torch.manual_seed(0)
    net = Squeeze(60)
    x = torch.rand(2, 60, 4, 6)
    with torch.inference_mode():
        down, shift, up, rise = (
            value.flatten(1) if value.dim() > 1 else value for value in net.attention.parameters()
        )
        shift.fill_(1.0)
        few = x.mean((2, 3)) @ down.T + shift
        assert few.shape == (2, 2)
        assert (few > 0).all()
        weights = (few @ up.T + rise).sigmoid()
        assert torch.allclose(net(x), x * weights[:, :, None, None], atol=1e-6)


def test_both_skips_are_scaled_by_channel() -> None:
    torch.manual_seed(0)
    block = Block(32, 4, 1.2).double()
    x = torch.randn(1, 4, 6, 32, dtype=torch.float64)
    with torch.inference_mode():
        block.skip_scale.normal_()
        block.skip_scale2.normal_()
        y = x * block.skip_scale + block.self_attention(block.ln_1(x))
        y = y * block.skip_scale2 + block.conv_blk(block.ln_2(y))
        assert torch.equal(block(x), y)


def test_training_recomputes_the_scan_and_gets_the_same_gradient() -> None:
    net = small().double()
    x = torch.rand(1, 3, 9, 12, dtype=torch.float64)
    weights = list(net.parameters())
    kept: list[int] = []

    def gradients() -> list[torch.Tensor]:
        kept.append(0)

        def keep(x: torch.Tensor) -> torch.Tensor:
            kept[-1] += x.numel()
            return x

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
            loss = net(x).square().sum()
        return list(torch.autograd.grad(loss, weights))

    stored, again = gradients(), (net.train(), gradients())[1]
    for one, other in zip(stored, again, strict=True):
        assert torch.allclose(one, other)
    assert kept[1] < kept[0] / 2  # values held for the backward pass


def test_nothing_is_padded() -> None:
    """A pixel far from the border sees it only through the scans: cut off by a huge decay, the
    middle of a picture is the same whatever lies beyond."""
    net = small().double()
    with torch.no_grad():
        for key, weight in net.named_parameters():
            if key.endswith("A_logs"):
                weight.fill_(30.0)
            if "attention.3.weight" in key:
                weight.zero_()  # the squeeze looks at the whole picture
    x = torch.rand(1, 3, 21, 35, dtype=torch.float64)
    with torch.inference_mode():
        whole, part = net(x), net(x[..., :19, :33])
    assert torch.allclose(whole[..., :8, :20], part[..., :8, :20])


def test_it_exports_and_compiles_whole() -> None:
    assert_exportable(small(), (1, 3, 17, 33))
