"""Warps between tensors, and the flow that needs no weights."""

from __future__ import annotations

import torch
from training import scene

from models.layers.flow import DisFlow, inside, warp


def picture() -> torch.Tensor:
    return torch.from_numpy(scene(3, 96, 128).copy()).permute(2, 0, 1)[None] / 255


def constant(dx: float, dy: float) -> torch.Tensor:
    return torch.tensor([float(dx), float(dy)]).view(1, 2, 1, 1).expand(1, 2, 96, 128).clone()


def test_a_warp_samples_at_p_plus_flow() -> None:
    x = picture()
    assert torch.allclose(warp(x, constant(0, 0)), x, atol=1e-5)
    out = warp(x, constant(3, -2))
    assert torch.allclose(out[..., 10:-10, 10:-10], x[..., 8:-12, 13:-7], atol=1e-4)
    between = warp(x, constant(0.5, 0))[..., 5, 5]
    assert torch.allclose(between, (x[..., 5, 5] + x[..., 5, 6]) / 2, atol=1e-4)


def test_what_comes_from_outside_is_known() -> None:
    mask = inside(constant(4, 0))
    assert mask.shape == (1, 1, 96, 128) and set(mask.flatten().tolist()) == {0.0, 1.0}
    assert mask[..., :-5].all() and not mask[..., -3:].any()
    assert not warp(picture(), constant(4, 0))[..., -3:].any()


def test_a_gradient_passes_to_the_picture() -> None:
    x = picture().requires_grad_()
    warp(x, constant(1, 1)).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None and x.grad.abs().sum() > 0


def test_the_flow_finds_a_shift_and_lets_no_gradient_through() -> None:
    source = picture().requires_grad_()
    target = warp(picture(), constant(2, -1))
    flow = DisFlow()(source, target)
    assert flow.shape == (1, 2, 96, 128) and not flow.requires_grad
    middle = flow[..., 20:-20, 20:-20].mean((0, 2, 3))
    assert torch.allclose(middle, torch.tensor([2.0, -1.0]), atol=0.2)


def test_a_picture_smaller_than_a_patch_has_a_flow_too() -> None:
    small = picture()[..., :8, :10]
    assert DisFlow()(small, small).shape == (1, 2, 8, 10)
