"""Metrics against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.metrics import exposure_normalised, psnr, psnr_normalised, ssim
from trainer.quality import auc


def texture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((60, 80, 3)).astype(np.float32)


def test_psnr_of_a_known_error() -> None:
    image = np.full((10, 10, 3), 0.5, np.float32)
    assert psnr(image + 0.1, image) == pytest.approx(20.0, abs=1e-4)
    assert psnr(image, image) == 99.0


def test_ssim_is_one_for_itself_and_falls_with_noise() -> None:
    image = texture()
    assert ssim(image, image) == pytest.approx(1.0)
    rng = np.random.default_rng(1)
    light, heavy = (ssim(image + s * rng.standard_normal(image.shape), image) for s in (0.05, 0.3))
    assert 1 > light > heavy


def test_exposure_and_cast_do_not_count_in_the_normalised_psnr() -> None:
    truth = texture()
    cast = truth * np.array([0.5, 0.7, 0.4], np.float32) + np.array([0.1, 0, 0.2], np.float32)
    assert psnr(cast, truth) < 15
    assert psnr_normalised(cast, truth) > 60
    assert np.allclose(exposure_normalised(cast, truth), truth, atol=1e-3)


def test_local_error_does_count() -> None:
    truth = texture()
    local = truth.copy()
    local[:30] *= 0.5
    assert psnr_normalised(local, truth) < 20


def test_auc_counts_couples() -> None:
    assert auc([0.9, 0.8], [0.1, 0.2]) == 1.0
    assert auc([0.1], [0.9]) == 0.0
    assert auc([0.5], [0.5]) == 0.5
