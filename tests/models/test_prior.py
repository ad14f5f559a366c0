"""The brightness prior: it learns a law, knows what it does not know, and moves luma alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.prior import MOST, WEIGHT, Brightness, Steadied, features
from models.veil import Maps, Veil, to_yuv

H, W = 32, 48


def views(n: int, seed: int = 0) -> Tensor:
    """Pictures of many brightnesses: n 3 h w."""
    generator = torch.Generator().manual_seed(seed)
    level = 0.2 + 0.5 * torch.rand(n, 3, 1, 1, generator=generator)
    depth = 0.05 + 0.2 * torch.rand(n, 1, 1, 1, generator=generator)
    return (level + depth * torch.randn(n, 3, H, W, generator=generator)).clamp(0, 1)


def law(x: Tensor) -> Tensor:
    return 0.15 + 0.4 * x[:, 0] + 0.3 * x[:, 3]


def fitted(n: int = 200, answer: Tensor | None = None) -> Brightness:
    x = features(views(n))
    return Brightness.fitted(x, law(x) if answer is None else answer, torch.full((n,), 1 / n))


class Told(Veil):
    """Says the maps that it is told: no repair but a veil of one opacity."""

    def __init__(self, opacity: float) -> None:
        super().__init__((8, 8, 8, 8))
        self.opacity = opacity

    def forward(self, image: Tensor, reference: Tensor, known: Tensor) -> Maps:
        b, _, h, w = image.shape
        t = torch.full((b, 1, h // 4, w // 4), 1 - self.opacity)
        unit = torch.tensor([1.0, 1, 0, 0, 0])
        return Maps(
            coefficients=unit[None, :, None, None].expand(b, 5, h // 4, w // 4),
            transmission=t,
            soiling=torch.zeros_like(t),
            withheld=torch.ones_like(t),  # so that exposure alone shows
            veil=torch.zeros(b, 3, h // 16, w // 16),
            exposure=unit[None].expand(b, 5),
            presence=torch.zeros(b, 3),
            coverage=torch.zeros(b, 3),
            splash_type=torch.zeros(b, 4),
            pooled=torch.zeros(b, 0),
        )


def factor(image: Tensor, prior: Brightness, *, opacity: float = 0.5, known: float = 0.0) -> float:
    net = Steadied(Told(opacity), prior, share=1.0)
    flag = torch.full_like(image[:, :1], known)
    return float(net(image, torch.zeros_like(image), flag).exposure[0, 0])


def test_a_law_is_found_again() -> None:
    new = views(20, seed=5)
    usual, trust = fitted()(new)
    spread = law(features(new)).std()
    assert (usual - law(features(new))).abs().mean() < 0.35 * spread  # a ridge holds back
    assert trust.mean() > 0.5


def test_far_from_all_it_has_seen_it_does_not_trust_itself() -> None:
    at_home, abroad = views(1, seed=9), torch.zeros(1, 3, H, W)
    abroad[:, 2] = 1  # pure blue
    prior = fitted()
    assert float(prior(abroad)[1]) < 0.2 * float(prior(at_home)[1])


def test_a_hidden_view_comes_half_way_to_the_usual_brightness() -> None:
    image = torch.full((1, 3, H, W), 0.4)
    x = features(views(50))
    prior = fitted(50, torch.full((50,), 0.5))  # whatever it sees: 0.5
    prior.usual.fill_(1e6)  # at home everywhere
    net = Steadied(Told(0.5), prior, share=1.0)
    maps = net(image, torch.zeros_like(image), torch.zeros_like(image[:, :1]))
    assert float(maps.exposure[0, 0]) == pytest.approx(1 + WEIGHT * 0.1 / 0.4, abs=1e-3)
    assert float(maps.exposure[0, 1]) == float(maps.exposure[0, 0])
    assert float(maps.coefficients[0, 0].mean()) == pytest.approx(float(maps.exposure[0, 0]))
    assert x.shape == (50, 6)


def test_a_clear_view_and_one_beside_a_reference_are_left_alone() -> None:
    image = views(1, seed=3)
    prior = fitted(200, torch.full((200,), 0.9))
    assert factor(image, prior) > 1.05
    assert factor(image, prior, opacity=0.0) == 1
    assert factor(image, prior, known=1.0) == 1


def test_a_prior_that_was_never_fitted_is_silent() -> None:
    assert factor(views(1, seed=3), Brightness()) == pytest.approx(1, abs=1e-6)


def test_the_change_is_bounded() -> None:
    dark = torch.full((1, 3, H, W), 0.02)
    prior = fitted(50, torch.full((50,), 1.0))
    prior.usual.fill_(1e6)
    assert factor(dark, prior) == pytest.approx(MOST)


def test_half_the_repair_needs_the_stronger_factor() -> None:
    """share is what the run time does of the repair: the picture shown is what is steadied."""
    image = torch.full((1, 3, H, W), 0.4)
    prior = fitted(50, torch.full((50,), 0.5))
    prior.usual.fill_(1e6)
    net = Steadied(Told(0.5), prior, share=0.5)
    maps = net(image, torch.zeros_like(image), torch.zeros_like(image[:, :1]))
    shown = 0.5 * 0.4 + 0.5 * 0.4 * float(maps.exposure[0, 0])
    assert shown == pytest.approx(0.4 + WEIGHT * 0.1, abs=1e-3)


def test_nothing_to_fit_is_an_error() -> None:
    with pytest.raises(ValueError, match="1 views"):
        Brightness.fitted(torch.zeros(1, 6), torch.zeros(1), torch.ones(1))


def test_features_are_means_and_deviations() -> None:
    image = views(1)
    yuv = to_yuv(image)[0].flatten(1)
    want = torch.cat((yuv.mean(1), yuv.std(1, unbiased=False)))
    assert torch.allclose(features(image)[0], want, atol=1e-4)
