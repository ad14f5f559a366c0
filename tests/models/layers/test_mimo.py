"""The three-scale U-Net without its blocks."""

from __future__ import annotations

import torch
from torch import nn

from models.layers.mimo import Conv, MimoUnet, keep_channels_last


def bare() -> MimoUnet:
    torch.manual_seed(0)
    return MimoUnet(8, lambda channels, full: nn.Identity()).eval()


def test_the_picture_is_added_at_every_scale() -> None:
    net = bare().train()
    with torch.no_grad():
        for weight in net.parameters():
            weight.zero_()
    x = torch.rand(1, 3, 8, 12)
    quarter, half, full = net.scales(x)
    assert torch.equal(full, x)
    assert torch.equal(half, x[..., ::2, ::2])
    assert torch.equal(quarter, torch.nn.functional.interpolate(x, scale_factor=0.25))


def test_every_stage_gets_its_width_and_whether_it_is_at_full_resolution() -> None:
    asked: list[tuple[int, bool]] = []

    def stage(channels: int, full: bool) -> nn.Module:
        asked.append((channels, full))
        return nn.Identity()

    MimoUnet(8, stage)
    assert asked == [(8, True), (16, False), (32, False), (32, False), (16, False), (8, True)]


def test_maps_and_weights_stay_channels_last() -> None:
    conv = Conv(8, 16, 3)
    keep_channels_last(conv)
    (weight,) = (p for p in conv.parameters() if p.dim() == 4)
    assert weight.is_contiguous(memory_format=torch.channels_last)
    x = torch.rand(1, 8, 6, 6).contiguous(memory_format=torch.channels_last)
    assert conv(x).is_contiguous(memory_format=torch.channels_last)


def test_keys_and_values_do_not_change_with_the_layout() -> None:
    net = bare()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    keep_channels_last(net)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
