"""Baselines do what their papers say, on pictures with a known answer."""

from __future__ import annotations

import numpy as np

from trainer.baselines import GlobalRegression, dark_channel_prior, global_match, guided_filter
from trainer.metrics import psnr
from trainer.pixels import Image


def scene(seed: int = 0) -> Image:
    """Saturated colours: some channel is always dark, as the prior assumes."""
    rng = np.random.default_rng(seed)
    blocks = rng.random((8, 12, 3)).astype(np.float32)
    blocks[np.arange(8)[:, None], np.arange(12), rng.integers(0, 3, (8, 12))] = 0.02
    return np.kron(blocks, np.ones((12, 12, 1), np.float32))


def test_the_dark_channel_prior_thins_an_even_haze() -> None:
    clear = scene()
    hazy = clear * 0.5 + 0.9 * 0.5
    hazy[:30, :30] = 0.9  # a place so deep in haze that it shows the airlight
    seen = np.s_[50:, 50:]
    assert psnr(dark_channel_prior(hazy)[seen], clear[seen]) > psnr(hazy[seen], clear[seen]) + 3


def test_a_global_match_takes_mean_and_deviation() -> None:
    image, reference = scene(1) * 0.4 + 0.3, scene(2)
    out = global_match(image, reference)
    assert np.allclose(out.mean((0, 1)), reference.mean((0, 1)), atol=0.03)


def test_the_regression_learns_one_cast_for_all() -> None:
    pairs = []
    for seed in range(8):
        clear = scene(seed)
        pairs.append((np.clip(clear * 0.6 + 0.2, 0, 1).astype(np.float32), clear))
    smoky, clear = pairs[-1]
    learned = GlobalRegression(pairs[:-1])
    assert psnr(learned(smoky), clear) > psnr(smoky, clear) + 6


def test_the_guided_filter_keeps_edges() -> None:
    guide = np.zeros((40, 40), np.float32)
    guide[:, 20:] = 1.0
    noisy = guide + 0.1 * np.random.default_rng(3).standard_normal(guide.shape).astype(np.float32)
    out = guided_filter(guide, noisy, 5, 1e-3)
    assert abs(float(out[:, 22:].mean() - out[:, :18].mean()) - 1) < 0.05
    assert out[:, :15].std() < 0.5 * noisy[:, :15].std()
