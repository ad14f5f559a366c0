"""Whole-picture nets beside `veil` and the baselines, on scenes and patients that none has seen.

Real scenes: those that trainer/feed/pairs.py keeps aside from every recipe; `veil` is judged there
by the folds that left them out. Synthetic smoke: clear frames of held-out patients, truth exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import nn

from engines.restorer import Restorer
from trainer import dataset
from trainer.baselines import GlobalRegression, dark_channel_prior
from trainer.datasets.scenes import ASIDE
from trainer.degrade import Recipe, degrade
from trainer.pixels import Image, Pixels, grey_levels, unit
from trainer.quality import SYNTHETIC_SIZE, Say, Score, Table, truthful_frames
from trainer.quality import restored as alone
from trainer.tasks.judging import restored

Method = Callable[[Pixels], Image]  # h w 3 -> h w 3 in [0, 1]
# a scene -> a veil that it did not train, None where there is none; "": for patients that never
# train any
VeilFor = Callable[[str], Restorer | None]
SMALL = (90, 160)  # h w at which the regression is fitted


@dataclass(slots=True)
class Rivals:
    """The same pictures through every method."""

    real: Table = field(default_factory=Table)
    synthetic: Table = field(default_factory=Table)

    def text(self) -> str:
        return "\n\n".join(
            (
                f"Real pairs of scenes kept aside ({', '.join(ASIDE)})",
                self.real.text(),
                "Synthetic smoke over clear frames of held-out patients, by mean transmission",
                self.synthetic.text(),
            )
        )


def veils(shipped: Restorer, folds: Callable[[str], Restorer] | None) -> VeilFor:
    """folds: as trainer/release.py's `unseen`; without them there is no veil that has not seen the
    real scenes."""
    if folds is not None:
        return lambda scene: folds(scene or ASIDE[0])
    return lambda scene: None if scene else shipped


def compare(
    root: Path,
    nets: Mapping[str, nn.Module],
    veil_for: VeilFor,
    *,
    count: int = 100,
    seed: int = 7,
    say: Say = lambda _: None,
) -> Rivals:
    """nets: by name, in eval mode; veil_for: as `veils` makes it."""
    found = Rivals()
    pairs = dataset.pairs(root)
    others = [
        (unit(dataset.load(p.smoky, SMALL)), unit(dataset.load(p.clear, SMALL)))
        for p in pairs
        if p.scene not in ASIDE
    ]
    regression = GlobalRegression(others)
    run: dict[str, Method] = {
        "input": unit,
        "dark channel prior": lambda pixels: dark_channel_prior(unit(pixels)),
        "global regression": lambda pixels: regression(unit(pixels)),
        **{name: _method(net) for name, net in nets.items()},
    }

    def judge(
        table: Table, group: str, veil: Restorer | None, pixels: Pixels, truth: Image
    ) -> None:
        for name, method in run.items():
            table.add(name, group, Score.of(method(pixels), truth))
        if veil is not None:
            table.add(veil.name, group, Score.of(alone(veil, pixels), truth))

    for scene in ASIDE:
        veil = veil_for(scene)
        for pair in (p for p in pairs if p.scene == scene):
            truth = unit(dataset.load(pair.clear))
            judge(found.real, f"scene {scene}", veil, dataset.load(pair.smoky), truth)
        say(f"scene {scene}")
    veil = veil_for("")
    frames = truthful_frames(root)
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        clear = unit(dataset.load(frames[int(rng.integers(len(frames)))].path, SYNTHETIC_SIZE))
        done = degrade(clear, Recipe.of("smoke", float(rng.uniform(0.03, 1.0))), rng)
        t = float(done.truth.transmission.mean())
        group = "light t>.8" if t > 0.8 else "mid" if t >= 0.5 else "dense t<.5"
        judge(found.synthetic, group, veil, grey_levels(done.image), clear)
        if (number + 1) % 20 == 0:
            say(f"synthetic {number + 1}/{count}")
    return found


def _method(net: nn.Module) -> Method:
    return lambda pixels: restored(net, pixels)
