"""Readings made by hand, for the tests of what is concluded from them."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from trainer.curate.measure import GRID, SKETCH, Floats, Pixels, Reading

S = 1_000_000_000
SMALL: Pixels = np.zeros((144, 256, 3), np.uint8)


def structure(scene: int) -> Floats:
    rng = np.random.default_rng(scene)
    coarse = rng.standard_normal((9, 16)).astype(np.float32)
    out: Floats = cv2.resize(coarse, (SKETCH[1], SKETCH[0]), interpolation=cv2.INTER_CUBIC)
    return out


def reading(
    time_s: float, hidden: float = 0.0, *, scene: int = 1, kind: int = 0, jitter: float = 0.1
) -> Reading:
    """A frame of which `hidden` is the share that smoke (kind 0), fog or splash hides."""
    rng = np.random.default_rng((scene, int(time_s * 1000)))
    logits = [-4.0, -4.0, -4.5]
    logits[kind] += 8 * hidden
    a, b, c = (float(x + rng.normal(0, jitter)) for x in logits)
    detail = np.full(GRID, 10, np.float32) + rng.normal(0, 0.3, GRID).astype(np.float32)
    floor = np.full(GRID, 30, np.float32) + rng.normal(0, 0.5, GRID).astype(np.float32)
    columns = round(hidden * GRID[1])
    detail[:, :columns] *= 0.3
    floor[:, :columns] += 60
    colours = np.zeros(48, np.float32)
    colours[scene % 3] = 1.0
    return Reading(
        time_ns=int(time_s * S), logits=(a, b, c), coverage=0.0,
        splash_type="bile" if kind == 2 and hidden else None,
        detail=detail, floor=floor, lit=0.9, foreign=0.0, tissue=0.6, sharp=float(detail.mean()),
        sketch=structure(scene), colours=colours,
    )  # fmt: skip


def outside(time_s: float) -> Reading:
    return replace(reading(time_s, scene=2), foreign=0.8, tissue=0.0)
