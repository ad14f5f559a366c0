"""Optical flow between tensors, and the warp that goes with it.

A flow is b 2 h w in pixels, x first: pixel p of the target is found at p + flow(p) of the source,
so `warp(source, flow)` looks like the target.
"""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np
import torch
import torch.nn.functional as F

SMALLEST = 12  # side of a picture that dense inverse search takes


class Flow(Protocol):
    """source, target: b 3 h w in [0, 1] -> b 2 h w; no gradient passes through."""

    def __call__(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor: ...


def warp(x: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    """b c h w sampled at p + flow(p), bilinear, zero outside."""
    h, w = x.shape[-2:]
    ys = torch.arange(h, device=x.device, dtype=flow.dtype)[:, None]
    xs = torch.arange(w, device=x.device, dtype=flow.dtype)[None]
    # corners at -1 and 1: pixel p is at 2 p / (n - 1) - 1
    grid = torch.stack(
        (
            2 * (xs + flow[:, 0]) / max(w - 1, 1) - 1,
            2 * (ys + flow[:, 1]) / max(h - 1, 1) - 1,
        ),
        -1,
    )  # b h w 2
    return F.grid_sample(x, grid.to(x.dtype), "bilinear", "zeros", align_corners=True)


def inside(flow: torch.Tensor) -> torch.Tensor:
    """b 1 h w: 1 where p + flow(p) lies in the picture, 0 elsewhere."""
    ones = torch.ones_like(flow[:, :1])
    return (warp(ones, flow) > 0.999).to(flow.dtype)


class DisFlow:
    """Dense inverse search (Kroeger et al., ECCV 2016) by OpenCV, on the CPU; needs no weights."""

    def __init__(self, preset: int = cv2.DISOPTICAL_FLOW_PRESET_MEDIUM) -> None:
        self._preset = preset

    @torch.no_grad()
    def __call__(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        weights = source.new_tensor((0.299, 0.587, 0.114)).view(3, 1, 1)

        def grey(x: torch.Tensor) -> np.ndarray:
            y = (x.detach().float() * weights).sum(1).clamp(0, 1)  # b h w
            out: np.ndarray = (255 * y).round().to("cpu", torch.uint8).numpy()
            return out

        h, w = source.shape[-2:]
        edge = (0, max(0, SMALLEST - h), 0, max(0, SMALLEST - w))

        def room(y: np.ndarray) -> np.ndarray:
            return cv2.copyMakeBorder(y, *edge, cv2.BORDER_REPLICATE) if any(edge) else y

        # made anew: an object of OpenCV can neither be copied nor sent to a loading process
        search = cv2.DISOpticalFlow.create(self._preset)
        found = [
            search.calc(room(t), room(s), None)[:h, :w].transpose(2, 0, 1)
            for s, t in zip(grey(source), grey(target), strict=True)
        ]
        return torch.from_numpy(np.stack(found)).to(source)
