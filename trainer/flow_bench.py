"""How well the alignment finds a movement that is known, with smoke on one side.

A clear frame is moved by a flow that we made; synthetic smoke (trainer/degrade) is put over the
moved one; the end-point error is the distance in pixels between the flow found and the true one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from trainer.align import Field, Flow, Normalise, align, dehazed, plain, structured, warp
from trainer.degrade import Camera, Recipe, degrade
from trainer.pixels import Pixels, grey_levels, unit

WAYS: Mapping[str, Normalise] = {"plain": plain, "dehazed": dehazed, "structured": structured}


def known_flow(h: int, w: int, rng: np.random.Generator, amount: float = 0.03) -> Field:
    """A scope that moves and tissue that gives way: shift, roll and zoom of about `amount` of the
    width, and slow waves of a third of that. h w 2."""
    angle, zoom = rng.normal(0, amount / 2), 1 + rng.normal(0, amount / 2)
    ys, xs = np.mgrid[0:h, 0:w].astype(np.float32)
    dx, dy = xs - w / 2, ys - h / 2
    c, s = zoom * np.cos(angle), zoom * np.sin(angle)
    shift = rng.normal(0, amount * w / 2, 2)
    waves = rng.normal(0, amount * w / 3, (2, 4, 5)).astype(np.float32)
    slow = [cv2.resize(g, (w, h), interpolation=cv2.INTER_CUBIC) for g in waves]
    flow = np.stack(
        (c * dx - s * dy - dx + shift[0] + slow[0], s * dx + c * dy - dy + shift[1] + slow[1]), -1
    )
    return np.ascontiguousarray(flow, np.float32)


def moved(pixels: Pixels, flow: Field) -> Pixels:
    """The picture sampled at p + flow(p): what `Flow(picture, moved)` should find. Mirrored
    outside, so that there is no hard edge to follow."""
    h, w = flow.shape[:2]
    xs, ys = np.meshgrid(np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32))
    out: Pixels = cv2.remap(
        pixels, xs + flow[..., 0], ys + flow[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )
    return out


@dataclass(frozen=True, slots=True)
class Row:
    """Mean end-point error in pixels over all pixels that have an origin, and over those that the
    masks trust; the share that they trust; L1 of the warped frame there, in grey levels."""

    all_px: float
    trusted_px: float
    trusted_share: float
    l1: float


def measure(
    frames: Sequence[Pixels], *, severity: float, flow: Flow | None = None, seed: int = 5
) -> dict[str, Row]:
    """Rows by normalisation; severity 0 is without smoke. Frames h w 3."""
    table: dict[str, list[tuple[float, float, float, float]]] = {name: [] for name in WAYS}
    camera = Camera(noise=0.006, jpeg_quality=85)
    for number, clear in enumerate(frames):
        rng = np.random.default_rng((seed, number))
        truth = known_flow(clear.shape[0], clear.shape[1], rng)
        there = moved(clear, truth)
        smoky = there
        if severity:
            done = degrade(unit(there), Recipe(smoke=severity), rng, camera)
            smoky = grey_levels(done.image)
        origin = warp(np.ones(clear.shape[:2], np.float32), truth) > 0.999
        for name, normalise in WAYS.items():
            found = align(clear, smoky, flow=flow, normalise=normalise)
            error = np.linalg.norm(found.flow - truth, axis=-1)
            trusted = found.mask & origin
            off = np.abs(found.warped - unit(there)).mean(-1)
            table[name].append(
                (
                    float(error[origin].mean()),
                    float(error[trusted].mean()) if trusted.any() else float("nan"),
                    float(trusted.sum() / origin.sum()),
                    float(255 * off[trusted].mean()) if trusted.any() else float("nan"),
                )
            )
    return {n: Row(*(float(v) for v in np.nanmean(np.array(r), 0))) for n, r in table.items()}


def lines(frames: Sequence[Pixels], flow: Flow | None = None) -> list[str]:
    """A table: smoke by normalisation."""
    out = ["smoke  on          EPE px  trusted px  trusted  L1 grey levels"]
    for severity in (0.0, 0.3, 0.6, 0.9):
        for name, row in measure(frames, severity=severity, flow=flow).items():
            out.append(
                f"{severity:5.1f}  {name:10s} {row.all_px:7.2f} {row.trusted_px:11.2f} "
                f"{100 * row.trusted_share:7.0f}% {row.l1:10.2f}"
            )
    return out
