"""FocalNet: the official network's keys and answers, and what makes it this network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from exported import assert_exportable
from golden import assert_official

from models.focalnet import DualSelection, FocalNet, FrequencyGate, SplitBlocks


def small() -> FocalNet:
    torch.manual_seed(3)
    return FocalNet(width=8, blocks=1).eval()


def test_it_is_the_official_network() -> None:
    assert_official("focalnet", FocalNet())


def test_half_of_the_full_resolution_channels_work_at_half_resolution() -> None:
    torch.manual_seed(0)
    blocks = SplitBlocks(8, 1).eval()
    x = torch.rand(1, 8, 8, 8)
    fine, coarse = x.chunk(2, dim=1)
    with torch.inference_mode():
        out = blocks(x.clone())
        down = blocks.down(coarse)
        branches = blocks.layers[0]
        fine, coarse = branches.main(fine) + fine, branches.main1(down) + down  # type: ignore[operator]
    assert torch.allclose(out[:, :4], fine)
    assert torch.allclose(out[:, 4:], F.interpolate(coarse, scale_factor=2, mode="bilinear"))


def test_a_flat_map_has_no_high_frequency_part() -> None:
    gate = FrequencyGate(4)
    with torch.no_grad():
        gate.a.fill_(3.0)
        gate.b.fill_(0.5)
    flat = torch.full((1, 4, 5, 5), 2.0)
    assert torch.allclose(gate(flat), 0.5 * flat)
    spot = flat.clone()
    spot[..., 2, 2] += 1
    assert gate(spot)[0, 0, 2, 2] > 0.5 * 3.0 + 1.0


def test_the_selection_starts_as_the_identity() -> None:
    x = torch.rand(1, 8, 6, 6)
    assert torch.equal(DualSelection(8)(x), x)


def test_other_sizes_are_reflected_to_multiples_of_four() -> None:
    net = small()
    x = torch.rand(1, 3, 18, 33)
    with torch.inference_mode():
        reflected = F.pad(x, (0, 3, 0, 2), mode="reflect")
        assert torch.equal(net(x), net(reflected)[..., :18, :33])


def test_training_gives_three_scales_and_leaves_no_input_changed() -> None:
    net = small().train()
    x = torch.rand(1, 3, 16, 24)
    before = x.clone()
    assert [tuple(y.shape[-2:]) for y in net.scales(x)] == [(4, 6), (8, 12), (16, 24)]
    assert torch.equal(x, before)
    assert len(net.eval().scales(x)) == 1


def test_half_precision_stays_close() -> None:
    net = small()
    x = torch.rand(1, 3, 24, 32)
    with torch.inference_mode():
        full = net(x)
        half = net.half()(x.half()).float()
    assert (half - full).abs().max() < 0.01


def test_it_exports_and_compiles_whole() -> None:
    assert_exportable(small(), (1, 3, 17, 33))
