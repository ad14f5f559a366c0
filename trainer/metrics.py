"""Image quality: PSNR, SSIM and the exposure-normalised PSNR; h w 3 in [0, 1]."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]


def psnr(image: Image, truth: Image) -> float:
    """Peak signal-to-noise ratio in dB over all channels, peak 1."""
    error = float(np.mean((image.astype(np.float64) - truth) ** 2))
    return 99.0 if error < 1e-10 else float(-10.0 * np.log10(error))


def ssim(image: Image, truth: Image) -> float:
    """Structural similarity (Wang et al., IEEE TIP 2004): 11x11 Gaussian of deviation 1.5,
    K1 0.01, K2 0.03, mean over channels, borders of 5 left out."""

    def blur(x: NDArray[np.float64]) -> NDArray[np.float64]:
        out: NDArray[np.float64] = cv2.GaussianBlur(x, (11, 11), 1.5)[5:-5, 5:-5]
        return out

    a, b = image.astype(np.float64), truth.astype(np.float64)
    c1, c2 = 0.01**2, 0.03**2
    ma, mb = blur(a), blur(b)
    va, vb, cov = blur(a * a) - ma * ma, blur(b * b) - mb * mb, blur(a * b) - ma * mb
    score = ((2 * ma * mb + c1) * (2 * cov + c2)) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
    return float(score.mean())


def exposure_normalised(image: Image, truth: Image) -> Image:
    """`image` after the least-squares gain and offset per channel to `truth`, clipped to [0, 1]."""
    out = np.empty_like(image, dtype=np.float32)
    for c in range(image.shape[2]):
        x, y = image[..., c].ravel().astype(np.float64), truth[..., c].ravel().astype(np.float64)
        spread = x.var()
        gain = float(np.mean((x - x.mean()) * (y - y.mean())) / spread) if spread > 1e-9 else 0.0
        out[..., c] = np.clip(gain * image[..., c] + (y.mean() - gain * x.mean()), 0, 1)
    return out


def psnr_normalised(image: Image, truth: Image) -> float:
    """PSNR after the best gain and offset per channel: leaves only what is local."""
    return psnr(exposure_normalised(image, truth), truth)
