"""ConvIR: the official network's keys and answers, and what makes it this network."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from exported import assert_exportable
from golden import assert_official

from models.convir import ConvIR, DynamicFilter, MultiShape, filtered


def small() -> ConvIR:
    torch.manual_seed(3)
    return ConvIR(width=8, blocks=1).eval()


def test_it_is_the_official_network() -> None:
    assert_official("convir", ConvIR())


@pytest.mark.parametrize(("size", "dilation"), [((3, 3), 3), ((1, 3), 2), ((3, 1), 1)])
def test_the_filter_is_a_reflected_depthwise_convolution(
    size: tuple[int, int], dilation: int
) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 4, 9, 11, dtype=torch.float64)
    taps = torch.randn(2, 4, size[0] * size[1], dtype=torch.float64)
    pad = [dilation * (side // 2) for side in size]
    padded = F.pad(x, (pad[1], pad[1], pad[0], pad[0]), mode="reflect").view(1, 8, *_grown(x, pad))
    kernel = taps.view(8, 1, *size)
    want = F.conv2d(padded, kernel, groups=8, dilation=dilation).view_as(x)
    assert torch.allclose(filtered(x, taps, size, dilation), want)


def _grown(x: torch.Tensor, pad: list[int]) -> tuple[int, int]:
    return x.shape[2] + 2 * pad[0], x.shape[3] + 2 * pad[1]


def test_fresh_filters_are_the_identity() -> None:
    x = torch.rand(1, 16, 12, 12)
    for size in ((3, 3), (1, 3), (3, 1)):
        assert torch.equal(DynamicFilter(16, size, 3).eval()(x), x)


def test_a_strip_takes_its_mean_along_itself() -> None:
    row = DynamicFilter(8, (1, 3), 1).eval()
    with torch.no_grad():
        row.lamb_l.fill_(1.0)
        row.lamb_h.fill_(-1.0)  # only the low part is left
        row.inside_all.fill_(-1.0)  # and of it only the mean
        x = torch.rand(1, 8, 6, 7)
        assert torch.allclose(row(x), x.mean(dim=3, keepdim=True).expand_as(x))


def test_the_multi_shape_module_works_coarse_to_fine() -> None:
    torch.manual_seed(0)
    shapes = MultiShape(8).eval()
    sizes = []
    for dyna in shapes.dynas:
        dyna.register_forward_hook(lambda _m, args, _out: sizes.append(args[0].shape[-1]))
    assert shapes(torch.rand(1, 8, 64, 128)).shape == (1, 8, 64, 128)
    assert sizes == [16, 32, 64]


def test_small_pictures_are_padded_with_zeros_to_128() -> None:
    net = small()
    x = torch.rand(1, 3, 17, 33)
    with torch.inference_mode():
        padded = F.pad(x, (0, 128 - 33, 0, 128 - 17))
        assert torch.equal(net(x), net(padded)[..., :17, :33])


def test_its_filters_export_and_compile_whole() -> None:
    assert_exportable(MultiShape(8), (1, 8, 64, 96))  # the rest is plain convolutions
