"""Restormer: the official network's keys and answers, and its padding."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from exported import assert_exportable
from golden import assert_official

from models.restormer import Restormer


def small() -> Restormer:
    torch.manual_seed(3)
    return Restormer(8, (1, 1, 1, 1), 1).eval()


def test_it_is_the_official_network() -> None:
    assert_official("restormer", Restormer(), double=False)


def test_other_sizes_are_reflected_to_multiples_of_eight() -> None:
    net = small()
    x = torch.rand(1, 3, 18, 33)
    with torch.inference_mode():
        reflected = F.pad(x, (0, 7, 0, 6), mode="reflect")
        assert torch.equal(net(x), net(reflected)[..., :18, :33])


def test_a_level_has_its_number_of_heads() -> None:
    net = Restormer(8, (1, 1, 1, 1), 1)
    stages = (net.encoder_level1, net.encoder_level2, net.encoder_level3, net.latent)
    heads = [len(stage.get_parameter("0.attn.temperature")) for stage in stages]
    assert heads == [1, 2, 4, 8]
    assert len(net.refinement.get_parameter("0.attn.temperature")) == 1


def test_it_exports_and_compiles_whole() -> None:
    assert_exportable(small(), (1, 3, 17, 33))
