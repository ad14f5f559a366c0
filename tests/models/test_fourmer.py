"""Fourmer: the official network's keys and answers, and what makes it this network."""

from __future__ import annotations

import torch
from exported import assert_exportable
from golden import assert_official

from models.fourmer import EXPONENT, Coupling, Fourmer, Spectral


def small() -> Fourmer:
    torch.manual_seed(3)
    return Fourmer(channels=8, blocks=1).eval()


def test_it_is_the_official_network() -> None:
    assert_official("fourmer", Fourmer())


def test_the_coupling_can_be_undone() -> None:
    torch.manual_seed(0)
    coupling = Coupling(8).double()
    x = torch.randn(1, 8, 6, 7, dtype=torch.float64)
    with torch.inference_mode():
        first, second = coupling(x).chunk(2, dim=1)
        exponent = EXPONENT * (2 * coupling.H(first).sigmoid() - 1)
        second = (second - coupling.G(first)) / exponent.exp()
        first = first - coupling.F(second)
    assert torch.allclose(torch.cat([first, second], dim=1), x)


def test_a_spectral_branch_that_changes_nothing_gives_the_picture_back() -> None:
    spectral = Spectral(3, 1)
    with torch.no_grad():
        for convs in (spectral.processreal, spectral.processimag):
            first, second = convs[0], convs[2]
            eye = torch.eye(3)[..., None, None]
            first.weight.copy_(eye)  # type: ignore[operator]
            second.weight.copy_(eye)  # type: ignore[operator]
            first.bias.fill_(1e4)  # type: ignore[operator]
            second.bias.fill_(-1e4)  # type: ignore[operator]
        x = torch.rand(1, 3, 9, 7)  # the bias keeps all coefficients above the leaky slope
        assert torch.allclose(spectral(x), x, atol=1e-3)


def test_every_pixel_sees_every_other() -> None:
    x = torch.rand(1, 3, 33, 35, requires_grad=True)
    (gradient,) = torch.autograd.grad(small()(x)[0, :, 0, 0].sum(), x)
    assert (gradient.abs().sum(1) > 0).all()


def test_it_exports_and_compiles_whole() -> None:
    assert_exportable(small(), (1, 3, 17, 33))
    assert_exportable(small(), (1, 3, 16, 24))
