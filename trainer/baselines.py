"""What any restorer must beat: dark channel prior, global regression, global match, the copy.

All take and give h w 3 RGB float32 in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]


def dark_channel_prior(image: Image, omega: float = 0.95, t_min: float = 0.1) -> Image:
    """K. He, J. Sun, X. Tang, "Single Image Haze Removal Using Dark Channel Prior", CVPR 2009,
    with a guided filter (He et al., ECCV 2010) in place of soft matting. Patch 15."""
    patch = np.ones((15, 15), np.uint8)
    dark = cv2.erode(image.min(2), patch)
    brightest = np.argsort(dark.ravel())[-max(dark.size // 1000, 1) :]
    airlight = image.reshape(-1, 3)[brightest].mean(0)
    rough = 1 - omega * cv2.erode((image / np.maximum(airlight, 1e-3)).min(2), patch)
    guide = image.mean(2).astype(np.float32)
    t = np.maximum(guided_filter(guide, rough.astype(np.float32), 40, 1e-3), t_min)
    out: Image = np.clip((image - airlight) / t[..., None] + airlight, 0, 1).astype(np.float32)
    return out


def guided_filter(
    guide: NDArray[np.float32], source: NDArray[np.float32], radius: int, eps: float
) -> NDArray[np.float32]:
    """Edge-aware smoothing of `source` by `guide`, both h w (He et al., ECCV 2010)."""
    size = (2 * radius + 1, 2 * radius + 1)

    def mean(x: NDArray[np.floating]) -> NDArray[np.float32]:
        return np.asarray(cv2.blur(x, size), np.float32)

    mg, ms = mean(guide), mean(source)
    a = (mean(guide * source) - mg * ms) / (mean(guide * guide) - mg * mg + eps)
    return mean(a) * guide + mean(ms - a * mg)


def global_match(image: Image, reference: Image) -> Image:
    """Mean and deviation of every channel moved to those of the reference: E. Reinhard et al.,
    "Color Transfer between Images", IEEE CG&A 2001, in RGB."""
    m, s = image.reshape(-1, 3).mean(0), image.reshape(-1, 3).std(0)
    mr, sr = reference.reshape(-1, 3).mean(0), reference.reshape(-1, 3).std(0)
    out: Image = np.clip((image - m) * (sr / np.maximum(s, 1e-3)) + mr, 0, 1).astype(np.float32)
    return out


class GlobalRegression:
    """Ridge regression from global mean and deviation to one affine per channel (VEIL.md's
    42 coefficients: 6 outputs of 6 inputs and a constant). Fitted on pairs of other scenes."""

    def __init__(self, pairs: Sequence[tuple[Image, Image]], ridge: float = 1e-2) -> None:
        x = np.stack([self._features(smoky) for smoky, _ in pairs])
        y = np.stack([self._affine(smoky, clear) for smoky, clear in pairs])
        penalty = ridge * len(pairs) * np.eye(x.shape[1])
        penalty[-1, -1] = 0
        self._weights = np.linalg.solve(x.T @ x + penalty, x.T @ y)

    def __call__(self, image: Image) -> Image:
        affine = self._features(image) @ self._weights
        out: Image = np.clip(image * affine[:3] + affine[3:], 0, 1).astype(np.float32)
        return out

    @staticmethod
    def _features(image: Image) -> NDArray[np.float64]:
        flat = image.reshape(-1, 3).astype(np.float64)
        return np.concatenate((flat.mean(0), flat.std(0), [1.0]))

    @staticmethod
    def _affine(image: Image, clear: Image) -> NDArray[np.float64]:
        x, y = image.reshape(-1, 3).astype(np.float64), clear.reshape(-1, 3).astype(np.float64)
        mx, my = x.mean(0), y.mean(0)
        gain = ((x - mx) * (y - my)).mean(0) / np.maximum(x.var(0), 1e-4)
        gain = np.clip(gain, 0.3, 2.0)
        return np.concatenate((gain, my - gain * mx))
