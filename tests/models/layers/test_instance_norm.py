"""Instance normalisation."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from models.layers.instance_norm import InstanceNorm


def test_it_is_torchs_instance_norm() -> None:
    torch.manual_seed(0)
    norm = InstanceNorm(4).double()
    with torch.no_grad():
        norm.weight.normal_()
        norm.bias.normal_()
    x = torch.randn(3, 4, 5, 6, dtype=torch.float64) * 7 + 100
    want = F.instance_norm(x, weight=norm.weight, bias=norm.bias)
    assert torch.allclose(norm(x), want)


def test_channels_last_stays_channels_last() -> None:
    x = torch.rand(1, 4, 6, 6).contiguous(memory_format=torch.channels_last)
    assert InstanceNorm(4)(x).is_contiguous(memory_format=torch.channels_last)


def test_a_large_mean_costs_no_precision() -> None:
    x = torch.randn(1, 1, 64, 64, dtype=torch.float64) + 1000
    want = F.instance_norm(x)
    assert (InstanceNorm(1)(x.float()) - want).abs().max() < 2e-3
