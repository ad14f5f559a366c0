"""Runs as functions: each returns what to train on what, for how long.

`veil` is three runs: two synthetic, where truth is exact and teaches gain, the second of them
beginning with a high rate again; then real pairs mixed in at a low rate, which teach the colour
of real smoke. A fold is the second run with a third of
the scenes left out, so that every scene is judged by a net that never saw it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from trainer.fit.plan import Plan
from trainer.fit.schedule import Cosine
from trainer.fit.task import Adam
from trainer.samples import Mix
from trainer.tasks.job import Recipe
from trainer.tasks.veil import TrainVeil

FOLDS: tuple[tuple[str, ...], ...] = (
    ("1", "2", "4"), ("6", "7", "9", "15"), ("11", "13", "17"),
)  # fmt: skip


def _adam(rate: float) -> Adam:
    return Adam(learning_rate=rate, betas=(0.9, 0.999), weight_decay=0.01, decoupled=True)


def _plan(*, steps: int, seed: int, warm_up: int = 200, ema: float = 0.998) -> Plan:
    return Plan(
        steps=steps,
        batch=12,
        schedule=Cosine(steps=steps, floor=0.01, warm_up=warm_up),
        seed=seed,
        clip=1.0,
        ema=ema,
        ema_buffers=True,
        channels_last=True,
        workers=1,
        threads=1,
        log_every=50,
        save_every=250,
        judge_every=250,
        picture_every=250,
    )


def veil_synthetic() -> Recipe:
    """Synthetic smoke, fog and splash over clear frames of the training patients."""
    return Recipe(
        name="veil-synthetic",
        about="veil, first run: synthetic degradations, exact truth",
        job=TrainVeil(
            optimiser=_adam(2e-3),
            mix=Mix(clear=0.2, reference=0.45),
            seed=1,
        ),
        plan=_plan(steps=7000, seed=1),
    )


def veil_further() -> Recipe:
    """More of the same, other samples."""
    return Recipe(
        name="veil-further",
        about="veil, second run: as the first, with a rate that begins high again",
        job=TrainVeil(
            optimiser=_adam(1.5e-3),
            mix=Mix(clear=0.2, reference=0.45),
            seed=3,
            after="veil-synthetic",
        ),
        plan=_plan(steps=7000, seed=3),
    )


def veil() -> Recipe:
    """The embedded default: real pairs of all scenes mixed in."""
    return Recipe(
        name="veil",
        about="veil, third run: real pairs mixed in; what ships",
        job=TrainVeil(
            optimiser=_adam(1e-3),
            mix=Mix(real=0.42, real_clear=0.14, clear=0.14, reference=0.55),
            seed=2,
            after="veil-further",
            without=(),
            looks=16_384,
        ),
        plan=_plan(steps=1000, seed=2, warm_up=50, ema=0.995),
    )


def veil_fold(number: int) -> Recipe:
    """As `veil`, with the scenes of one fold left out; for cross-validation."""
    scenes = FOLDS[number]
    base = veil()
    return replace(
        base,
        name=f"veil-fold{number}",
        about=f"veil without scenes {' and '.join(scenes)}: judged on them",
        job=replace(_job(base), without=scenes),
    )


def _job(recipe: Recipe) -> TrainVeil:
    assert isinstance(recipe.job, TrainVeil)
    return recipe.job


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
    before = _job(RECIPES[name]()).after
    return (name,) if before is None else (*lineage(before), name)


def judged_by(scene: str) -> str:
    """The fold that never saw a scene."""
    for number, scenes in enumerate(FOLDS):
        if scene in scenes:
            return f"veil-fold{number}"
    raise ValueError(f"no fold leaves scene {scene} out")
