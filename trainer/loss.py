"""The loss of `veil`: exact where the truth is exact, forgiving where real pairs are misaligned."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from models.veil import Maps, repair, to_yuv


def structure(a: Tensor, b: Tensor) -> Tensor:
    """1 - SSIM on luma with a 7x7 box window (Wang et al., 2004): b."""
    x, y = to_yuv(a)[:, :1], to_yuv(b)[:, :1]

    def mean(z: Tensor) -> Tensor:
        return F.avg_pool2d(z, 7, 2)

    mx, my = mean(x), mean(y)
    vx, vy = mean(x * x) - mx * mx, mean(y * y) - my * my
    cov = mean(x * y) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    score = ((2 * mx * my + c1) * (2 * cov + c2)) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return 1 - score.mean((1, 2, 3))


def contrast_gap(a: Tensor, b: Tensor) -> Tensor:
    """Difference of local deviations in log units, in 24x24 windows: blind to small shifts. b."""

    def deviation(z: Tensor) -> Tensor:
        y = to_yuv(z)[:, :1]
        mean = F.avg_pool2d(y, 24, 12)
        return (F.avg_pool2d(y * y, 24, 12) - mean * mean).clamp_min(0).add(4e-4).sqrt()

    return (deviation(a).log() - deviation(b).log()).abs().mean((1, 2, 3))


def overall_gap(a: Tensor, b: Tensor) -> Tensor:
    """Difference of the whole picture's mean and deviation, per channel: b. Blind to motion."""

    def gap(x: Tensor, y: Tensor) -> Tensor:
        return (x - y).abs().mean(1)

    return gap(a.mean((2, 3)), b.mean((2, 3))) + gap(a.std((2, 3)), b.std((2, 3)))


def presence_weight(batch: dict[str, Tensor]) -> Tensor:
    """b 3: a breath of smoke that nobody would call smoke counts little, a third of the view
    and more counts most; absence and real smoke, whose cover is not known, count one."""
    known = (batch["presence"] > 0) & (batch["coverage"] >= 0)
    return torch.where(known, 0.2 + (5 * batch["coverage"]).clamp(0, 1.6), 1.0)


def veil_loss(maps: Maps, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """The total, and its parts for the log, detached. Batch as trainer.samples packs it."""
    image, clear = batch["image"], batch["clear"]
    real, exact = batch["real"], batch["exact"]
    out = repair(image, maps.coefficients)
    pixel = (out - clear).abs().mean((1, 2, 3))
    coarse = (F.avg_pool2d(out, 8) - F.avg_pool2d(clear, 8)).abs().mean((1, 2, 3))
    shape = structure(out, clear)
    contrast = contrast_gap(out, clear)
    synthetic_part = 2.0 * pixel + 0.25 * shape + 0.06 * contrast
    real_part = 0.7 * pixel + 1.5 * coarse + 0.9 * shape + 0.1 * contrast
    real_part = real_part + 3.0 * overall_gap(out, clear)
    picture = torch.where(real > 0, real_part, synthetic_part)

    t = batch["transmission"]
    depth = (maps.transmission.log() - t.log()).abs().mean((1, 2, 3))
    away = 1 - F.avg_pool2d(t, 4)
    airlight = ((maps.veil - batch["veil"]).abs() * away).mean((1, 2, 3))
    soil = F.binary_cross_entropy(maps.soiling, batch["soiling"], reduction="none").mean((1, 2, 3))
    physics = exact * (0.35 * depth + 0.8 * airlight)
    kept = (1 - real) * 0.25 * soil

    counted = (batch["coverage"] >= 0).float()
    presence = F.binary_cross_entropy_with_logits(
        maps.presence, batch["presence"], weight=presence_weight(batch), reduction="none"
    ).mean(1)
    coverage = ((maps.coverage - batch["coverage"]).abs() * counted).mean(1)
    splash = F.cross_entropy(
        maps.splash_type, batch["splash_type"], ignore_index=-1, reduction="none"
    )
    found = 0.25 * presence + 0.2 * coverage + 0.04 * splash
    # without a veil there is nothing to correct: keep the global term near identity
    calm = 0.02 * maps.exposure[:, 2:].abs().mean(1) + 0.02 * maps.exposure[:, :2].log().abs().mean(
        1
    )
    total = (picture + physics + kept + found + calm).mean()
    parts = {
        "pixel": pixel,
        "shape": shape,
        "contrast": contrast,
        "depth": depth * exact,
        "airlight": airlight * exact,
        "soil": soil,
        "presence": presence,
        "coverage": coverage,
    }
    return total, {name: value.detach().mean() for name, value in parts.items()}
