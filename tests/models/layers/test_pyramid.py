"""The four levels: which stage sees what, and what is added to what."""

from __future__ import annotations

import torch
from torch import nn

from models.layers.pyramid import Double, Halve, Pyramid


def pyramid() -> tuple[Pyramid, list[tuple[int, int]]]:
    """Blocks that do nothing, and a list of the (channels, level) asked for."""
    asked: list[tuple[int, int]] = []

    def block(channels: int, level: int) -> nn.Module:
        asked.append((channels, level))
        return nn.Identity()

    torch.manual_seed(0)
    return Pyramid(4, (1, 2, 3, 4), 5, block), asked


def test_every_level_gets_its_width_and_number_of_blocks() -> None:
    _, asked = pyramid()
    want = [(4, 0)] + [(8, 1)] * 2 + [(16, 2)] * 3 + [(32, 3)] * 4
    want += [(16, 2)] * 3 + [(8, 1)] * 2 + [(8, 0)] + [(8, 0)] * 5
    assert asked == want


def test_a_stage_is_entered_once_in_order_at_its_size() -> None:
    net, _ = pyramid()
    seen: list[tuple[str, tuple[int, ...]]] = []

    def enter(stage: str, x: torch.Tensor) -> torch.Tensor:
        assert hasattr(net, stage)
        seen.append((stage, tuple(x.shape[1:])))
        return x

    with torch.inference_mode():
        net.restore(torch.rand(1, 3, 16, 24), enter)
    assert seen == [
        ("encoder_level1", (4, 16, 24)),
        ("encoder_level2", (8, 8, 12)),
        ("encoder_level3", (16, 4, 6)),
        ("latent", (32, 2, 3)),
        ("decoder_level3", (16, 4, 6)),
        ("decoder_level2", (8, 8, 12)),
        ("decoder_level1", (8, 16, 24)),
    ]


def test_what_entering_returns_is_what_goes_on() -> None:
    net, _ = pyramid()
    x = torch.rand(1, 3, 16, 16)

    def doubled(stage: str) -> torch.Tensor:
        def enter(at: str, y: torch.Tensor) -> torch.Tensor:
            return 2 * y if at == stage else y

        return net.restore(x, enter)

    with torch.inference_mode():
        plain = net.restore(x)
        for stage in ("encoder_level1", "latent", "decoder_level1"):
            assert not torch.allclose(doubled(stage), plain), stage


def test_the_residual_is_added_to_the_picture() -> None:
    net, _ = pyramid()
    x = torch.rand(1, 3, 8, 8)
    with torch.inference_mode():
        net.output.weight.zero_()
        assert torch.equal(net.restore(x), x)


def test_halving_and_doubling_keep_the_number_of_values() -> None:
    x = torch.rand(2, 8, 6, 4)
    assert Halve(8)(x).shape == (2, 16, 3, 2)
    assert Double(8)(x).shape == (2, 4, 12, 8)
