"""The patch critic and the generator: published shapes, least squares."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainer.tasks.critic import Critic, Generator, batched, convinced, discerning


def test_the_critic_gives_30x30_for_256() -> None:
    with torch.device("meta"):
        assert Critic()(torch.rand(1, 3, 256, 256)).shape == (1, 1, 30, 30)
        count = sum(p.numel() for p in Generator().parameters())
    assert count == 11_378_179  # CycleGAN's generator of nine blocks


def test_the_generator_keeps_size_and_range() -> None:
    out = Generator(4, 1)(torch.rand(1, 3, 32, 48))
    assert out.shape == (1, 3, 32, 48) and out.min() >= 0 and out.max() <= 1


def test_least_squares() -> None:
    ones, zeros = torch.ones(4), torch.zeros(4)
    assert convinced(ones) == 0 and convinced(zeros) == 1
    assert discerning(ones, zeros) == 0 and discerning(zeros, ones) == 1


def test_one_call_for_two_batches() -> None:
    net = nn.Conv2d(3, 1, 1)
    a, b = torch.rand(2, 3, 4, 4), torch.rand(1, 3, 4, 4)
    x, y = batched(net, a, b)
    assert torch.allclose(x, net(a)) and torch.allclose(y, net(b))
    assert Critic(4).main[0].weight.std().item() == pytest.approx(0.02, rel=0.3)  # type: ignore[operator]
