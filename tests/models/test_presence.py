"""The presence head: it replaces presence alone, and no number runs away with it."""

from __future__ import annotations

import torch

from models.presence import FARTHEST, Finding, Presence
from models.veil import Veil


def small_net() -> Veil:
    torch.manual_seed(0)
    return Veil(widths=(8, 8, 16, 16)).eval()


def feeds(n: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    image = torch.rand(n, 3, 32, 48, generator=torch.Generator().manual_seed(1))
    return image, torch.zeros_like(image), torch.zeros_like(image[:, :1])


def test_presence_is_the_heads_and_all_else_the_nets() -> None:
    net = small_net()
    with torch.no_grad():
        plain = net(*feeds())
        torch.manual_seed(2)
        head = Presence(plain.pooled.shape[1]).eval()
        found = Finding(net, head)(*feeds())
    assert torch.equal(found.presence, head(plain.pooled))
    assert not torch.allclose(found.presence, plain.presence, atol=1e-3)
    for name in set(plain._fields) - {"presence"}:
        assert torch.equal(getattr(found, name), getattr(plain, name)), name


def test_every_layer_is_summed_up() -> None:
    net = small_net()
    with torch.no_grad():
        pooled = net(*feeds(3)).pooled
    # mean, deviation, maximum of seven layers; context, areas and the picture's own statistics
    assert pooled.shape == (3, 3 * (8 + 8 + 16 + 16 + 16 + 16 + 8) + 16 + 6 + 19)
    assert torch.isfinite(pooled).all()


def test_a_number_far_out_counts_no_more_than_a_bound() -> None:
    head = Presence(4).eval()
    head.centre, head.spread = torch.full((4,), 2.0), torch.full((4,), 0.5)
    far = torch.tensor([[2 + 0.5 * FARTHEST, 2.0, 2.0, 2.0]])
    with torch.no_grad():
        assert torch.equal(head(far), head(far + torch.tensor([[1e6, 0, 0, 0]])))
        assert not torch.equal(head(far), head(far - torch.tensor([[1.0, 0, 0, 0]])))
    assert torch.equal(head.usual(torch.full((1, 4), 2.5)), torch.ones(1, 4))
