"""Each term of the loss sees what it is for and is blind to what it should forgive."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.veil import MAP_INPUT, MAP_STRIDE, Maps, coefficients, repair
from trainer.loss import contrast_gap, overall_gap, presence_weight, structure, veil_loss

H, W = MAP_INPUT
SMALL = (H // MAP_STRIDE, W // MAP_STRIDE)


def scene(seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    coarse = torch.rand(1, 3, 18, 32) * 0.5 + 0.1
    return torch.nn.functional.interpolate(coarse, (H, W), mode="bilinear")


def test_terms_are_nothing_between_equals() -> None:
    x = scene()
    for term in (structure, contrast_gap, overall_gap):
        assert term(x, x).abs().max() < 1e-5


def test_the_overall_gap_forgives_motion_and_sees_brightness() -> None:
    x = scene()
    assert overall_gap(x, x.roll((7, 20), (2, 3))).item() == pytest.approx(0, abs=1e-5)
    assert overall_gap(x, x + 0.1).item() == pytest.approx(0.1, abs=1e-4)
    flat = x.mean((2, 3), keepdim=True) + 0.5 * (x - x.mean((2, 3), keepdim=True))
    assert overall_gap(x, flat).item() == pytest.approx(0.5 * x.std((2, 3)).mean().item(), rel=1e-3)


def test_the_contrast_gap_sees_a_veil_and_hardly_a_shift() -> None:
    x = scene()
    veiled = contrast_gap(x, 0.5 * x + 0.3).item()
    assert veiled > 0.5  # half the contrast is 0.69 in log units
    assert contrast_gap(x, x.roll(2, 3)).item() < 0.25 * veiled


def test_a_breath_counts_little_and_cover_most() -> None:
    batch = {
        "presence": torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]]),
        "coverage": torch.tensor([[0.0, 0.5, 0.0], [-1.0, 0.0, 0.0]]),
    }
    breath, covered, absent = presence_weight(batch)[0].tolist()
    assert breath < absent < covered
    assert presence_weight(batch)[1].tolist() == [1.0, 1.0, 1.0]


def maps_of(t: float, airlight: float) -> Maps:
    transmission = torch.full((1, 1, *SMALL), t)
    none = torch.zeros(1, 1, *SMALL)
    veil = torch.full((1, 3, H // 16, W // 16), airlight)
    exposure = torch.tensor([[1.0, 1.0, 0.0, 0.0, 0.0]])
    return Maps(
        coefficients=coefficients(transmission, none, veil, exposure),
        transmission=transmission,
        soiling=none + 0.01,
        withheld=none,
        veil=veil,
        exposure=exposure,
        presence=torch.tensor([[4.0, -4.0, -4.0]]),
        coverage=torch.tensor([[0.99, 0.01, 0.01]]),
        splash_type=torch.zeros(1, 4),
        pooled=torch.zeros(1, 0),
    )


@pytest.mark.parametrize("real", [0.0, 1.0])
def test_the_true_maps_lose_least(real: float) -> None:
    clear, t, airlight = scene(), 0.5, 0.7
    batch = {
        "image": clear * t + airlight * (1 - t),
        "clear": clear,
        "real": torch.tensor([real]),
        "exact": torch.tensor([1 - real]),
        "transmission": torch.full((1, 1, *SMALL), t),
        "veil": torch.full((1, 3, H // 16, W // 16), airlight),
        "soiling": torch.zeros(1, 1, *SMALL),
        "presence": torch.tensor([[1.0, 0.0, 0.0]]),
        "coverage": torch.tensor([[1.0 if not real else -1.0, 0.0, 0.0]]),
        "splash_type": torch.tensor([-1]),
    }
    true, parts = veil_loss(maps_of(t, airlight), batch)
    assert (repair(batch["image"], maps_of(t, airlight).coefficients) - clear).abs().mean() < 0.01
    assert parts["depth"] == pytest.approx(0, abs=1e-5)
    for wrong in (maps_of(0.7, airlight), maps_of(t, 0.5), maps_of(1.0, airlight)):
        assert veil_loss(wrong, batch)[0] > true
