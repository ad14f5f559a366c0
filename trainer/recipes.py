"""Runs as functions: each returns what to train on what, for how long.

`veil` is three runs: two synthetic, where truth is exact and teaches gain, the second of them
beginning with a high rate again; then real pairs mixed in at a low rate, which teach the colour
of real smoke. A fold is the second run with a third of
the scenes left out, so that every scene is judged by a net that never saw it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from trainer.samples import Mix
from trainer.train import Plan

FOLDS: tuple[tuple[str, ...], ...] = (
    ("1", "2", "4"), ("6", "7", "9", "15"), ("11", "13", "17"),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """One run. start: name of the recipe whose weights it begins with; without: scenes left out
    (None: no real pairs at all); looks: samples that the presence head is fitted on afterwards
    (0: none)."""

    name: str
    about: str
    mix: Mix
    plan: Plan
    seed: int
    start: str | None = None
    without: tuple[str, ...] | None = None
    looks: int = 0


def veil_synthetic() -> Recipe:
    """Synthetic smoke, fog and splash over clear frames of the training patients."""
    return Recipe(
        name="veil-synthetic",
        about="veil, first run: synthetic degradations, exact truth",
        mix=Mix(clear=0.2, reference=0.45),
        plan=Plan(steps=7000),
        seed=1,
    )


def veil_further() -> Recipe:
    """More of the same, other samples."""
    return replace(
        veil_synthetic(),
        name="veil-further",
        about="veil, second run: as the first, with a rate that begins high again",
        plan=Plan(steps=7000, learning_rate=1.5e-3),
        seed=3,
        start="veil-synthetic",
    )


def veil() -> Recipe:
    """The embedded default: real pairs of all scenes mixed in."""
    return Recipe(
        name="veil",
        about="veil, third run: real pairs mixed in; what ships",
        mix=Mix(real=0.42, real_clear=0.14, clear=0.14, reference=0.55),
        plan=Plan(steps=1000, learning_rate=1e-3, warm_up=50, ema=0.995),
        seed=2,
        start="veil-further",
        without=(),
        looks=16_384,
    )


def veil_fold(number: int) -> Recipe:
    """As `veil`, with the scenes of one fold left out; for cross-validation."""
    scenes = FOLDS[number]
    return replace(
        veil(),
        name=f"veil-fold{number}",
        about=f"veil without scenes {' and '.join(scenes)}: judged on them",
        without=scenes,
    )


RECIPES: Mapping[str, Callable[[], Recipe]] = {
    "veil-synthetic": veil_synthetic,
    "veil-further": veil_further,
    "veil": veil,
    "veil-fold0": lambda: veil_fold(0),
    "veil-fold1": lambda: veil_fold(1),
    "veil-fold2": lambda: veil_fold(2),
}


def lineage(name: str) -> tuple[str, ...]:
    """The runs that lead to a recipe's weights, its own last."""
    start = RECIPES[name]().start
    return (name,) if start is None else (*lineage(start), name)


def judged_by(scene: str) -> str:
    """The fold that never saw a scene."""
    for number, scenes in enumerate(FOLDS):
        if scene in scenes:
            return f"veil-fold{number}"
    raise ValueError(f"no fold leaves scene {scene} out")
