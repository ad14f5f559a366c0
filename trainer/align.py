"""Alignment of a clear pre-smoke (PS) frame with the degraded frame that followed it.

Pairs of surgical frames are seconds apart: the scope and the tissue have moved. Optical flow warps
the PS frame onto the degraded one; masks say where the result can be believed. Smoke breaks the
flow's assumption that a point keeps its brightness, so flow is computed on normalised pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.baselines import dark_channel_prior
from trainer.pixels import Image, Pixels, grey_levels, unit

Field = NDArray[np.float32]  # h w 2, pixels, x first
Mask = NDArray[np.bool_]  # h w
Normalise = Callable[[Pixels], Pixels]


class Flow(Protocol):
    """RGB h w 3 twice -> h w 2: pixel p of `target` is found at p + flow(p) of `source`."""

    def __call__(self, source: Pixels, target: Pixels) -> Field: ...


class Dis:
    """Dense inverse search (Kroeger et al., ECCV 2016) by OpenCV."""

    def __init__(self, preset: int = cv2.DISOPTICAL_FLOW_PRESET_MEDIUM) -> None:
        self._preset = preset

    def __call__(self, source: Pixels, target: Pixels) -> Field:
        # made anew: the object can neither be copied nor sent to a loading process
        search = cv2.DISOpticalFlow.create(self._preset)
        a, b = (cv2.cvtColor(x, cv2.COLOR_RGB2GRAY) for x in (target, source))
        flow: Field = search.calc(a, b, None)
        return flow


class Raft:
    """RAFT (Teed and Deng, ECCV 2020) as torchvision builds it; weights: a file of its state dict,
    `raft_large` or `raft_small` found by its keys. torchvision is an extra of its own.

    Raises ModuleNotFoundError without torchvision, ValueError for weights of neither.
    """

    def __init__(self, weights: Path, device: str = "cpu", updates: int = 12) -> None:
        from torchvision.models.optical_flow import raft_large, raft_small

        state = torch.load(weights, map_location="cpu", weights_only=True)
        for make in (raft_large, raft_small):
            net = make(weights=None, progress=False)
            if net.state_dict().keys() == state.keys():
                break
        else:
            raise ValueError(f"{weights} holds weights of neither raft_large nor raft_small")
        net.load_state_dict(state)
        self._net, self._device, self._updates = net.eval().to(device), device, updates

    def __call__(self, source: Pixels, target: Pixels) -> Field:
        h, w = source.shape[:2]
        bottom, right = -h % 8, -w % 8
        a, b = (
            torch.from_numpy(np.pad(x, ((0, bottom), (0, right), (0, 0)), "edge"))
            .permute(2, 0, 1)[None]
            .to(self._device, torch.float32)
            / 127.5
            - 1
            for x in (target, source)
        )
        with torch.inference_mode():
            flow = self._net(a, b, num_flow_updates=self._updates)[-1][0]
        out: Field = flow.permute(1, 2, 0)[:h, :w].float().cpu().numpy()
        return np.ascontiguousarray(out)


def plain(pixels: Pixels) -> Pixels:
    """The picture itself: what smoke fools."""
    return pixels


def dehazed(pixels: Pixels) -> Pixels:
    """Without its haze by the dark channel prior."""
    return grey_levels(dark_channel_prior(unit(pixels)))


def structured(pixels: Pixels, radius: int = 12) -> Pixels:
    """Local structure alone: luma less its local mean, over its local deviation.

    With I = J t + A (1 - t) and t, A smooth, both offset and gain of the veil drop out. Where there
    is next to no contrast (deviation under 2 grey levels) noise is not blown up to structure.
    """
    luma = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    size = (2 * radius + 1, 2 * radius + 1)
    luma = cv2.GaussianBlur(luma, (0, 0), 0.7)  # sensor noise is not structure
    mean = cv2.blur(luma, size)
    deviation = np.sqrt(np.maximum(cv2.blur(luma * luma, size) - mean * mean, 0))
    flat = np.clip(128 + 42 * (luma - mean) / (deviation + 2), 0, 255)
    return np.repeat(np.round(flat).astype(np.uint8)[..., None], 3, 2)


def warp(image: NDArray[np.float32], flow: Field) -> NDArray[np.float32]:
    """h w c sampled at p + flow(p), bilinear; 0 outside."""
    h, w = flow.shape[:2]
    xs, ys = np.meshgrid(np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32))
    out: NDArray[np.float32] = cv2.remap(
        image, xs + flow[..., 0], ys + flow[..., 1], cv2.INTER_LINEAR, borderValue=0
    )
    return out


def within(flow: Field) -> Mask:
    """Whether p + flow(p) lies in the picture: SurgClean's only mask."""
    h, w = flow.shape[:2]
    mask: Mask = warp(np.ones((h, w), np.float32), flow) > 0.999
    return mask


def agrees(forward: Field, backward: Field) -> Mask:
    """Forward-backward check (Sundaram, Brox, Keutzer, ECCV 2010): where going there and back
    again does not end at home, the point is hidden in one of the frames or the flow is wrong."""
    back = warp(backward, forward)
    gap = ((forward + back) ** 2).sum(-1)
    size = (forward**2).sum(-1) + (back**2).sum(-1)
    mask: Mask = gap < 0.01 * size + 0.5
    return mask


def alike(a: Pixels, b: Pixels, least: float = 0.4, radius: int = 8) -> Mask:
    """Where the local correlation of two (normalised) pictures is at least `least`: elsewhere,
    in dense smoke above all, the flow is a guess."""
    size = (2 * radius + 1, 2 * radius + 1)
    x, y = a[..., 0].astype(np.float32), b[..., 0].astype(np.float32)
    mx, my = cv2.blur(x, size), cv2.blur(y, size)
    vx = np.maximum(cv2.blur(x * x, size) - mx * mx, 0)
    vy = np.maximum(cv2.blur(y * y, size) - my * my, 0)
    cov = cv2.blur(x * y, size) - mx * my
    mask: Mask = cov / (np.sqrt(vx * vy) + 4) >= least
    return mask


@dataclass(frozen=True, slots=True)
class Aligned:
    """warped: the PS frame as the degraded one sees it, h w 3; valid: not from outside the frame;
    seen: not hidden in either frame; sure: the structure agrees. flow: h w 2."""

    warped: Image
    flow: Field
    valid: Mask
    seen: Mask
    sure: Mask

    @property
    def mask(self) -> Mask:
        """Where the pair may teach."""
        return self.valid & self.seen & self.sure


def align(
    clear: Pixels,
    degraded: Pixels,
    *,
    flow: Flow | None = None,
    normalise: Normalise = structured,
) -> Aligned:
    """Warps the PS frame onto the degraded one; RGB h w 3 of the same size.

    Raises ValueError where the sizes differ.
    """
    if clear.shape != degraded.shape:
        raise ValueError(f"frames of {clear.shape[:2]} and {degraded.shape[:2]} do not match")
    flow = flow or Dis()
    a, b = normalise(clear), normalise(degraded)
    forward, backward = flow(a, b), flow(b, a)
    moved = warp(a.astype(np.float32), forward).round().astype(np.uint8)
    valid = within(forward)
    return Aligned(
        warped=warp(unit(clear), forward),
        flow=forward,
        valid=valid,
        seen=agrees(forward, backward),
        sure=alike(structured(moved), structured(degraded)),
    )


def masked_l1(output: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """SurgClean's loss: |output - target| where mask is 1, mean over ALL pixels. b 3 h w, b 1 h w;
    a scalar."""
    return ((output - target) * mask).abs().mean()


def reference_mask(
    clear: Pixels, degraded: Pixels, *, flow: Flow | None = None, least: float = 0.92
) -> NDArray[np.float32]:
    """Where a PS frame must not be used as SelfSVD's reference: h/4 w/4, 1 discards.

    SelfSVD (ECCV 2024), 2.2: both frames dehazed and at a quarter of their size, the PS frame
    warped, 8x8 blocks of the blurred channel means with an SSIM under 0.92 are discarded. Here by
    our own flow, on structure (`structured`), instead of PWC-Net.
    """
    h, w = clear.shape[:2]
    small = [
        cv2.resize(dehazed(x), (w // 4, h // 4), interpolation=cv2.INTER_AREA)
        for x in (clear, degraded)
    ]
    field = (flow or Dis())(structured(small[0]), structured(small[1]))
    grey = [x.mean(2, dtype=np.float32) for x in small]
    a = cv2.GaussianBlur(warp(grey[0], field), (27, 27), 27)
    b = cv2.GaussianBlur(grey[1], (27, 27), 27)
    out = np.ones(a.shape, np.float32)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    for y in range(0, a.shape[0], 8):
        for x in range(0, a.shape[1], 8):
            p, q = a[y : y + 8, x : x + 8], b[y : y + 8, x : x + 8]
            mp, mq = p.mean(), q.mean()
            cov = ((p - mp) * (q - mq)).mean()
            ssim = (2 * mp * mq + c1) * (2 * cov + c2)
            ssim /= (mp**2 + mq**2 + c1) * (p.var() + q.var() + c2)
            out[y : y + 8, x : x + 8] = float(ssim < least)
    return out


class StructureFlow:
    """`models.layers.flow.Flow` between tensors by `flow` (dense inverse search) on structure."""

    def __init__(self, flow: Flow | None = None, normalise: Normalise = structured) -> None:
        self._flow, self._normalise = flow or Dis(), normalise

    @torch.no_grad()
    def __call__(self, source: Tensor, target: Tensor) -> Tensor:
        """b 3 h w in [0, 1] twice -> b 2 h w."""
        a, b = (
            grey_levels(x.detach().float().permute(0, 2, 3, 1).cpu().numpy())
            for x in (source, target)
        )
        found = [
            self._flow(self._normalise(s), self._normalise(t)).transpose(2, 0, 1)
            for s, t in zip(a, b, strict=True)
        ]
        return torch.from_numpy(np.stack(found)).to(source)
