"""FocalNet beside a reference: plain without one, steered smoothly with one, at any size."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import models
from models.focalnet import FocalNet
from models.steered import (
    CELL,
    GAIN_MAX,
    SHIFT_MAX,
    VIEW,
    Steer,
    Steered,
    agreement,
    averaged,
    overlaps,
)


def small(move: float = 0.5) -> Steered:
    """move: how far the branch is from where it begins, at which it does nothing."""
    torch.manual_seed(3)
    net = Steered(width=8, blocks=1).eval()
    with torch.no_grad():
        net.steer.last.weight.normal_(0, move)
        for weight in net.steer.trust.parameters():
            weight.normal_(0, 0.5)
    return net


def picture(h: int, w: int, seed: int = 5, batch: int = 1) -> Tensor:
    return torch.rand(batch, 3, h, w, generator=torch.Generator().manual_seed(seed))


def test_it_begins_as_focalnet_and_is_it_without_a_reference() -> None:
    net, x = small(), picture(50, 70)
    fresh = Steered(width=8, blocks=1).eval()
    with torch.inference_mode():
        assert torch.equal(fresh(x, picture(30, 40, 6)), fresh(x))
        plain = FocalNet(width=8, blocks=1).eval()
        state = {k: v for k, v in net.state_dict().items() if not k.startswith("steer.")}
        plain.load_state_dict(state)
        want = plain(x)
        assert torch.equal(net(x), want)
        assert torch.equal(net(x, picture(30, 40, 6), torch.zeros(1)), want)
        whole = net(x, picture(30, 40, 6))
        assert (whole - want).abs().max() > 0.02
        assert torch.equal(net(x, picture(30, 40, 6), torch.ones(1)), whole)


def test_it_adds_little() -> None:
    extra = sum(p.numel() for p in Steer().parameters())
    assert extra < 30_000
    with torch.device("meta"):
        keys = models.RESTORERS["focalnet"].build("steered").state_dict().keys()
        own = models.RESTORERS["focalnet"].build().state_dict().keys()
    assert {k for k in keys if not k.startswith("steer.")} == set(own)


def test_known_is_told_for_each_picture() -> None:
    net, x, reference = small(), picture(24, 32, batch=2), picture(30, 40, 6, batch=2)
    with torch.inference_mode():
        out = net(x, reference, torch.tensor([1.0, 0.0]))
        assert torch.allclose(out[1], net(x)[1], atol=1e-6)
        assert torch.allclose(out[0], net(x, reference)[0], atol=1e-6)


@pytest.mark.parametrize(("pixels", "cells"), [(720, 144), (145, 144), (90, 144), (1, 3), (7, 7)])
def test_areas_are_exact(pixels: int, cells: int) -> None:
    shares = overlaps(pixels, cells)
    assert torch.allclose(shares.sum(1), torch.ones(cells), atol=1e-5)
    assert torch.allclose(shares.sum(0), torch.full((pixels,), cells / pixels), atol=1e-4)
    if pixels % cells == 0:
        x = picture(pixels, pixels)
        want = F.avg_pool2d(x, pixels // cells)
        assert torch.allclose(averaged(x, (cells, cells)), want, atol=1e-5)


def test_it_averages_as_the_run_time_does() -> None:
    """A reference comes to a bundle averaged by OpenCV (engines/contract.py)."""
    pixels = np.random.default_rng(0).uniform(0, 1, (350, 700, 3)).astype(np.float32)
    theirs = cv2.resize(pixels, VIEW[::-1], interpolation=cv2.INTER_AREA)
    ours = averaged(torch.from_numpy(pixels.transpose(2, 0, 1))[None], VIEW)[0].permute(1, 2, 0)
    assert np.abs(ours.numpy() - theirs).max() < 1e-4


def test_steering_does_not_depend_on_the_size() -> None:
    """The same view at twice the size gets the same gain and shift, enlarged."""
    net, reference = small(), picture(*VIEW, 6)
    x = picture(*VIEW)
    wide = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    with torch.inference_mode():
        answer = x * 0.5
        a = net.steered(x, answer, reference)
        large = wide * 0.5
        b = F.avg_pool2d(net.steered(wide, large, reference), 2)
    assert torch.allclose(a, b, atol=0.02)
    assert (a - answer).abs().max() > 0.1


def test_no_structure_of_the_reference_comes_into_the_picture() -> None:
    """Over a flat answer, whatever the reference shows, the output is flat within a cell:
    neighbours differ by no more than the way between two cells' shifts allows."""
    net = small(2.0)
    flat = torch.full((1, 3, *VIEW), 0.5)
    stripes = torch.zeros(1, 3, *VIEW)
    stripes[..., ::2] = 1.0
    letters = torch.zeros(1, 3, *VIEW)
    letters[..., 40:43, 30:200] = 1.0
    with torch.inference_mode():
        for reference in (stripes, letters, picture(*VIEW, 8), picture(720, 1280, 8)):
            out = net.steered(flat, flat, reference)
            assert (out - flat).abs().max() > 0.01
            step = max(float(out.diff(dim=d).abs().max()) for d in (2, 3))
            assert step <= 2 * SHIFT_MAX / CELL + 1e-5
            # second differences vanish but at the middles of cells: the maps are bilinear
            bends = out.diff(dim=3).diff(dim=3).abs().amax((0, 1, 2)) > 1e-4
            at = set((bends.nonzero()[:, 0] % CELL).tolist())
            assert at <= {CELL // 2 - 2, CELL // 2 - 1}


def test_fine_structure_of_the_reference_is_not_even_seen() -> None:
    """Two references that differ in where their pixels lie within cells steer alike."""
    net, x = small(), picture(72, 128)
    reference = picture(*VIEW, 6)
    cells = reference.unflatten(2, (-1, CELL)).unflatten(4, (-1, CELL))  # b 3 h 8 w 8
    shuffled = cells.flip(3, 5).flatten(4, 5).flatten(2, 3)
    with torch.inference_mode():
        a, b = net(x, reference), net(x, shuffled)
    assert (shuffled - reference).abs().max() > 0.5
    assert torch.allclose(a, b, atol=1e-4)


def test_edges_come_from_the_answer() -> None:
    net, reference = small(2.0), picture(*VIEW, 6)
    answer = picture(*VIEW, 9) * 0.2 + 0.4
    with torch.inference_mode():
        out = net.steered(answer, answer, reference)
        mean = F.interpolate(F.avg_pool2d(answer, CELL), VIEW, mode="bilinear")
        log_gain, shift = net.steer(answer, answer, reference)
        # what is left when gain about the mean and shift are taken back is the answer
        gain, moved = (F.interpolate(m, VIEW, mode="bilinear") for m in (log_gain.exp(), shift))
        back = (out - moved - mean) / gain + mean
    assert torch.allclose(back, answer, atol=1e-4)
    assert float(gain.max()) <= GAIN_MAX + 1e-4 and float(gain.min()) >= 1 / GAIN_MAX - 1e-4
    assert float(shift.abs().max()) <= SHIFT_MAX


def test_agreement_tells_the_same_view_from_another() -> None:
    a, b = picture(18, 32, 1), picture(18, 32, 2)
    assert agreement(a, a).shape == (1, 6)
    assert torch.allclose(agreement(a, 0.3 * a + 0.2), torch.ones(1, 6), atol=1e-2)
    assert torch.allclose(agreement(a, -a), -torch.ones(1, 6), atol=1e-2)
    assert agreement(a, b).abs().max() < 0.6
    assert agreement(torch.zeros_like(a), b).abs().max() < 1e-3  # a flat picture is like nothing


def test_trust_holds_all_of_it_back() -> None:
    net, x, reference = small(), picture(24, 32), picture(30, 40, 6)
    with torch.inference_mode():
        way = (net(x, reference) - net(x)).abs().max()
        net.steer.trust[-1].weight.zero_()  # type: ignore[union-attr,operator]
        net.steer.trust[-1].bias.fill_(-20)  # type: ignore[union-attr,operator]
        assert (net(x, reference) - net(x)).abs().max() < 1e-5 < way


def test_every_weight_of_the_branch_learns() -> None:
    net = small()
    net(picture(24, 32), picture(30, 40, 6)).square().mean().backward()
    for key, weight in net.steer.named_parameters():
        assert weight.grad is not None and weight.grad.abs().max() > 0, key


def test_it_is_exportable() -> None:
    net = small().double()
    inputs = (picture(18, 33).double(), picture(*VIEW, 6).double(), torch.ones(1).double())
    with torch.no_grad():
        eager = net(*inputs)
        exported = torch.export.export(net, inputs).module()(*inputs)
    assert torch.allclose(exported, eager, rtol=0, atol=1e-9)
