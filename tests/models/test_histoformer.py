"""Histoformer: the official network's keys and answers, its sorting and its bins."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from exported import assert_exportable
from golden import assert_official

from models.histoformer import (
    TOPK_MOST,
    DualScaleFeedForward,
    Histoformer,
    HistogramAttention,
    PlainNorm,
    SkipEmbed,
    columns,
    ordered,
    ordered_by_topk,
    passes,
    softmax_with_none,
)


def small() -> Histoformer:
    torch.manual_seed(3)
    return Histoformer(12, (1, 1, 1, 1), 1).eval()


def attention(width: int, heads: int) -> HistogramAttention:
    torch.manual_seed(0)
    return HistogramAttention(width, heads).double().eval()


def test_it_is_the_official_network() -> None:
    assert_official("histoformer", Histoformer(), single=False)


@pytest.mark.parametrize("box", [True, False])
def test_bins_are_undone(box: bool) -> None:
    x = torch.randn(2, 6, 12)
    net = attention(6, 3)
    assert torch.equal(net.pixels(net.rows(x, box), box), x)


def test_a_box_holds_neighbours_and_the_other_bins_are_spread() -> None:
    x = torch.arange(12.0).view(1, 1, 12).expand(1, 3, 12)  # places in the order of values
    net = attention(3, 3)
    assert net.rows(x, box=True)[0, 0].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert net.rows(x, box=False)[0, 0].tolist() == [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]]


def test_rows_of_channels_and_bins_attend_to_each_other() -> None:
    """Eleven pixels in two bins: one zero is added, and cut off again."""
    net = attention(4, 2)
    q, k, v = torch.randn(3, 1, 4, 11, dtype=torch.float64)
    with torch.inference_mode():
        net.temperature.copy_(torch.tensor([0.4, 2.0]).view(2, 1, 1))
        for box in (True, False):
            want = torch.zeros(1, 4, 12, dtype=torch.float64)
            padded = [F.pad(z, (0, 1)) for z in (q, k, v)]
            for head in range(2):
                cuts = [
                    (c, slice(6 * i, 6 * i + 6) if box else slice(i, None, 2))
                    for c in (2 * head, 2 * head + 1)
                    for i in range(2)
                ]
                queries, keys, values = (torch.stack([z[0][cut] for cut in cuts]) for z in padded)
                cosines = F.normalize(queries, dim=-1) @ F.normalize(keys, dim=-1).T
                weights = (cosines * net.temperature[head]).exp()
                weights = weights / (1 + weights.sum(-1, keepdim=True))
                for cut, row in zip(cuts, weights @ values, strict=True):
                    want[0][cut] = row
            assert torch.allclose(net.attend(q, k, v, box), want[..., :11])


def test_the_softmax_may_attend_to_nothing() -> None:
    weights = softmax_with_none(torch.tensor([0.0, 0.0, 0.0]))
    assert torch.allclose(weights, torch.full((3,), 0.25))
    assert softmax_with_none(torch.full((3,), -50.0)).sum() < 1e-20


def test_pixels_come_back_where_they_were() -> None:
    """Through the sorts and back, a pixel's answer depends on its own value and place only by
    the order: moving columns about moves the answers of the unsorted half with them."""
    net = attention(2, 1)
    with torch.inference_mode():
        # a depthwise kernel that looks at no neighbour, so that places matter to nothing
        net.qkv_dwconv.weight.zero_()
        net.qkv_dwconv.weight[:, :, 1, 1] = 1
        net.project_out.weight.copy_(torch.eye(2)[:, :, None, None])
        net.qkv.weight[:, 0] = 0  # the answers read the unsorted channel alone
        x = torch.randn(1, 2, 4, 5, dtype=torch.float64)
        order = torch.randperm(20)
        moved = x.flatten(2)[..., order].view(1, 2, 4, 5)
        y, z = net(x)[:, 1].flatten(), net(moved)[:, 1].flatten()
        assert torch.allclose(z, y[order])


def test_the_first_half_is_sorted_and_unsorted() -> None:
    net = attention(2, 1)
    x = torch.randn(1, 2, 4, 5, dtype=torch.float64)
    with torch.inference_mode():
        first, rows = x[:, :1].sort(-2)
        first, columns = first.sort(-1)
        net.qkv_dwconv.weight.zero_()
        net.qkv_dwconv.weight[:, :, 1, 1] = 1
        inner = net.qkv(torch.cat([first, x[:, 1:]], 1)).flatten(2).chunk(5, 1)
        v, order = inner[4].sort(-1)
        q1, k1, q2, k2 = (z.gather(-1, order) for z in inner[:4])
        out = net.attend(q1, k1, v, True) * net.attend(q2, k2, v, False)
        placed = torch.zeros_like(out).scatter(-1, order, out).view(1, 2, 4, 5)
        placed = net.project_out(placed)
        back = torch.zeros_like(first).scatter(-1, columns, placed[:, :1])
        back = torch.zeros_like(first).scatter(-2, rows, back)
        assert torch.allclose(net(x), torch.cat([back, placed[:, 1:]], 1))


# of one column, of two, three, seven, and of fifty: then the columns are sorted by columns too
@pytest.mark.parametrize("length", [1, 9, 128, 129, 256, 257, 360, 882, 6400])
@pytest.mark.parametrize("dim", [-1, -2])
def test_a_graph_sorts_long_axes_by_short_ones(length: int, dim: int) -> None:
    torch.manual_seed(length)
    x = torch.randn(2, 3, length, dtype=torch.float64).movedim(-1, dim)
    values, order = ordered_by_topk(x.movedim(dim, -1), dim, most=128)
    want, at = ordered(x, dim)
    assert torch.equal(values, want)
    assert torch.equal(order, at)


@pytest.mark.parametrize("length", [128, 129, 882, 6400])
def test_equal_values_are_each_there_once(length: int) -> None:
    torch.manual_seed(length)
    x = torch.randint(0, 5, (2, 3, length)).double()
    values, order = ordered_by_topk(x, -1, most=128)
    assert torch.equal(values, x.sort(-1).values)
    assert torch.equal(x.gather(-1, order), values)
    assert torch.equal(order.sort(-1).values, torch.arange(length).expand(2, 3, length))


@pytest.mark.parametrize(
    ("length", "most", "want", "passed"),
    [
        (129, 128, (2, 66), 4),
        (882, 128, (7, 126), 4),
        (6400, 128, (8, 800), 16),
        (6912, TOPK_MOST, (2, 3456), 4),  # 93x67
        (230400, TOPK_MOST, (2, 115200), 16),
        (921600, TOPK_MOST, (6, 153600), 16),  # 1280x720
        (2088960, TOPK_MOST, (16, 130560), 16),  # 1920x1088
    ],
)
def test_passes_stay_few(length: int, most: int, want: tuple[int, int], passed: int) -> None:
    assert columns(length, most) == want
    assert passes(length, most) == passed
    count, side = want
    assert side % 2 == 0 and side % count == 0 and side >= 2 * (count - 1) ** 2


@pytest.mark.parametrize("length", range(65, 400, 7))
def test_columns_are_never_lower_than_columnsort_asks(length: int) -> None:
    count, side = columns(length, 16)
    assert length <= count * side
    assert side < length
    assert side % 2 == 0 and side % count == 0 and side >= 2 * (count - 1) ** 2


def test_the_feed_forward_gates_at_twice_the_resolution() -> None:
    torch.manual_seed(0)
    net = DualScaleFeedForward(12)
    assert net.project_out.in_channels == 32  # floor of 12 * 2.667
    x = torch.randn(1, 12, 4, 6)
    with torch.inference_mode():
        near, far = F.pixel_shuffle(net.project_in(x), 2).chunk(2, 1)
        assert near.shape == (1, 8, 8, 12)
        gate = F.mish(net.dwconv_dilated2_1(far))
        want = net.project_out(F.pixel_unshuffle(net.dwconv_5(near) * gate, 2))
        assert torch.allclose(net(x), want, atol=1e-6)
    assert net.dwconv_dilated2_1.dilation == (2, 2)


def test_norms_hold_no_parameters_and_skips_halve_the_picture() -> None:
    assert not list(PlainNorm().parameters())
    y = PlainNorm()(5 + 3 * torch.randn(1, 16, 3, 4))
    assert torch.allclose(y.mean(1), torch.zeros(1, 3, 4), atol=1e-5)
    assert SkipEmbed()(torch.rand(1, 3, 8, 6)).shape == (1, 3, 4, 3)


def test_other_sizes_are_reflected_to_multiples_of_eight() -> None:
    net = small().double()
    x = torch.rand(1, 3, 18, 33).double()
    with torch.inference_mode():
        reflected = F.pad(x, (0, 7, 0, 6), mode="reflect")
        assert torch.equal(net(x), net(reflected)[..., :18, :33])


def test_it_exports_and_compiles_whole() -> None:
    assert_exportable(small(), (1, 3, 17, 33))
