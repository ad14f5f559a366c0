"""SFHformer: the official network's keys and answers, and what makes it this network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from exported import assert_exportable
from golden import assert_official

from models.sfhformer import FILTERS, SFHformer, SpectralFilter


def small() -> SFHformer:
    torch.manual_seed(3)
    net = SFHformer(dim=8, depths=(1, 1, 1, 1, 1)).eval()
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if name.endswith(("beta", "gamma")):
                weight.fill_(0.5)  # zero at the start: every block would be the identity
    return net


def test_it_is_the_official_network() -> None:
    assert_official("sfhformer", SFHformer())


def test_a_frequency_blends_its_filters_by_a_softmax() -> None:
    torch.manual_seed(0)
    filters = SpectralFilter(4).eval()
    x = torch.randn(2, 4, 6, 8)
    with torch.inference_mode():
        spectrum = torch.view_as_real(torch.fft.rfft2(x, norm="ortho"))  # b c h w 2
        spectrum = filters.bn(spectrum.permute(0, 1, 4, 2, 3).flatten(1, 2))
        spectrum = spectrum + filters.fpe(spectrum)
        blend = filters.weight(spectrum)
        answers = filters.fdc(spectrum).chunk(FILTERS, dim=1)
        mixed = sum(answers[i] * blend[:, i : i + 1] for i in range(FILTERS))
        mixed = F.gelu(mixed).view(2, 4, 2, 6, 5)
        want = torch.fft.irfft2(torch.complex(mixed[:, :, 0], mixed[:, :, 1]), norm="ortho")
        assert torch.allclose(blend.sum(1), torch.ones(2, 6, 5))
        assert torch.allclose(filters(x), want, atol=1e-6)


def test_fresh_blocks_are_the_identity() -> None:
    block = SFHformer(dim=8, depths=(1, 1, 1, 1, 1)).eval().layer1
    x = torch.rand(1, 8, 12, 12)
    assert torch.equal(block(x), x)


def test_other_sizes_are_reflected_to_multiples_of_four() -> None:
    net = small()
    x = torch.rand(1, 3, 18, 33)
    with torch.inference_mode():
        reflected = F.pad(x, (0, 3, 0, 2), mode="reflect")
        assert torch.equal(net(x), net(reflected)[..., :18, :33])


def test_it_exports_and_compiles_whole() -> None:
    assert_exportable(small(), (1, 3, 17, 33))
