"""Whole-frame and tiled restoring: the same picture where the net's view allows it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from models.tiled import Tiling, fade, first_tiling, in_tiles, restore, spans


def blur(x: torch.Tensor) -> torch.Tensor:
    """A net whose view is 3 pixels."""
    kernel = torch.arange(1.0, 50.0).view(1, 1, 7, 7).to(x) / 1225
    return F.conv2d(x, kernel.expand(3, 1, 7, 7), padding=3, groups=3)


class Tight:
    """A net that runs out of memory above an area, as the GPU or as the CPU does."""

    def __init__(self, area: int, error: RuntimeError) -> None:
        self.area, self.error = area, error
        self.sizes: list[tuple[int, int]] = []

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        h, w = x.shape[-2:]
        self.sizes.append((h, w))
        if h * w > self.area:
            raise self.error
        return x * 2


@settings(max_examples=30, deadline=None)
@given(
    h=st.integers(4, 90),
    w=st.integers(4, 90),
    side=st.integers(20, 50),
    blend=st.integers(0, 8),
)
def test_tiles_give_what_the_whole_picture_gives(h: int, w: int, side: int, blend: int) -> None:
    picture = torch.rand(2, 3, h, w, dtype=torch.float64)
    tiled = in_tiles(blur, picture, Tiling(side=side, halo=3, blend=blend))
    assert torch.allclose(tiled, blur(picture), rtol=0, atol=1e-12)


def test_a_halo_narrower_than_the_view_shows() -> None:
    picture = torch.rand(1, 3, 40, 40, dtype=torch.float64)
    tiled = in_tiles(blur, picture, Tiling(side=24, halo=0, blend=8))
    assert (tiled - blur(picture)).abs().max() > 1e-3


@given(length=st.integers(1, 300), side=st.integers(17, 100))
def test_every_pixel_is_covered_and_all_tiles_are_of_one_size(length: int, side: int) -> None:
    tiling = Tiling(side=side, halo=4, blend=8)
    total = torch.zeros(length, dtype=torch.float64)
    for start, stop in spans(length, tiling):
        assert stop - start == min(side, length)
        total[start:stop] += fade(start, stop, length, tiling)
    assert total.min() > 0


def test_neighbours_fade_into_each_other() -> None:
    tiling = Tiling(side=40, halo=3, blend=5)
    first = fade(0, 40, 200, tiling)[-tiling.overlap :]
    second = fade(40 - tiling.overlap, 80 - tiling.overlap, 200, tiling)[: tiling.overlap]
    assert torch.allclose(first + second, torch.ones(tiling.overlap, dtype=torch.float64))
    assert (first[-3:] == 0).all() and (second[:3] == 0).all()
    assert (second[3:8].diff() > 0).all()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_short_memory_means_smaller_tiles(error: RuntimeError) -> None:
    net = Tight(150 * 150, error)
    picture = torch.rand(1, 3, 300, 400)
    assert torch.allclose(restore(net, picture), picture * 2)
    assert net.sizes[0] == (300, 400)
    assert net.sizes[1] == (200, 200)
    assert net.sizes[-1] == (100, 100)


def test_memory_that_stays_short_is_an_error() -> None:
    net = Tight(10, torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(torch.OutOfMemoryError):
        restore(net, torch.rand(1, 3, 300, 400))
    assert net.sizes[-1] == (100, 100)  # 50 would be below the smallest tile


def test_another_error_is_not_taken_for_short_memory() -> None:
    net = Tight(10, RuntimeError("shape mismatch"))
    with pytest.raises(RuntimeError, match="shape mismatch"):
        restore(net, torch.rand(1, 3, 300, 400))
    assert len(net.sizes) == 1


def test_a_given_tiling_is_used() -> None:
    net = Tight(10**9, RuntimeError())
    restore(net, torch.rand(1, 3, 90, 90), Tiling(side=64, halo=4, blend=4))
    assert net.sizes == [(64, 64)] * 4


def test_a_small_picture_has_no_smaller_tiles() -> None:
    assert first_tiling(torch.zeros(1, 3, 40, 60)) is None


def test_half_precision_comes_back_as_it_went_in() -> None:
    picture = torch.rand(1, 3, 70, 70).half()
    out = in_tiles(lambda x: x, picture, Tiling(side=40, halo=2, blend=8))
    assert out.dtype == torch.float16
    assert torch.equal(out, picture)


@pytest.mark.parametrize(("side", "halo", "blend"), [(96, 32, 32), (100, -1, 5), (100, 5, -1)])
def test_tiles_that_cannot_advance_are_refused(side: int, halo: int, blend: int) -> None:
    with pytest.raises(ValueError):
        Tiling(side=side, halo=halo, blend=blend)
