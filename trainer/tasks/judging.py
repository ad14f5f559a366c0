"""Judges of a net while it trains: figures on pictures kept aside, at their own scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from trainer.feed.pairs import Pairs
from trainer.fit.loop import SCORE
from trainer.metrics import psnr, psnr_normalised, ssim
from trainer.pixels import Image, Pixels, unit
from trainer.tensors import chw, hwc

Run = Callable[[nn.Module, Tensor], Tensor]  # net, b 3 h w in [0, 1] -> b 3 h w


def directly(net: nn.Module, x: Tensor) -> Tensor:
    """The net's own output."""
    out: Tensor = net(x)
    return out


def restored(net: nn.Module, pixels: Pixels, run: Run = directly) -> Image:
    """One picture, h w 3 in [0, 1], clipped."""
    device = next(net.parameters()).device
    x = chw(unit(pixels))[None].to(device)
    with torch.inference_mode():
        return shown(run(net, x))


def shown(answer: Tensor) -> Image:
    """1 3 h w -> h w 3 in [0, 1], clipped."""
    return hwc(answer[0].clamp(0, 1))


def middle(pixels: Pixels, side: int) -> Pixels:
    """The square of at most `side` in the middle; sides multiples of 16."""
    h, w = (min(n, side) // 16 * 16 for n in pixels.shape[:2])
    y, x = (pixels.shape[0] - h) // 2, (pixels.shape[1] - w) // 2
    return np.ascontiguousarray(pixels[y : y + h, x : x + w])


class PairJudge:
    """PSNR, SSIM and exposure-normalised PSNR (trainer/metrics.py) over the middles of some pairs;
    the score is the PSNR. `gain` is what the net has over its input."""

    def __init__(
        self, pairs: Pairs, *, count: int = 24, side: int = 256, run: Run = directly
    ) -> None:
        chosen = np.linspace(0, len(pairs) - 1, min(count, len(pairs))).round().astype(int)
        views = [pairs.views(int(i)) for i in chosen]
        self._pairs = [(middle(v.degraded, side), middle(v.clear, side)) for v in views]
        self._run = run

    def __call__(self, net: nn.Module) -> Mapping[str, float]:
        return figures([(a, restored(net, a, self._run), b) for a, b in self._pairs])


def figures(rows: Sequence[tuple[Pixels, Image, Pixels]]) -> dict[str, float]:
    """Means over (input, output, truth)."""
    table = np.array(
        [
            (psnr(out, unit(b)), ssim(out, unit(b)), psnr_normalised(out, unit(b)),
             psnr(unit(a), unit(b)))
            for a, out, b in rows
        ]
    ).mean(0)  # fmt: skip
    return {
        SCORE: float(table[0]),
        "psnr": float(table[0]),
        "ssim": float(table[1]),
        "psnr_normalised": float(table[2]),
        "gain": float(table[0] - table[3]),
    }
