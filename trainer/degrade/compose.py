"""Puts smoke, fog and splash over one clear frame or a sequence, and keeps the truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.restorer import COVERED, Kind, SplashType
from trainer.degrade.camera import Camera
from trainer.degrade.fog import Fog
from trainer.degrade.noise import Field
from trainer.degrade.smoke import Smoke
from trainer.degrade.splash import Splash

Image = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Truth:
    """Exact ground truth. clear: h w 3; transmission of smoke and fog together, veil colour A
    (I = clear t + A (1 - t) before the splash); soiling: opacity of the splash; coverage and
    severity by kind."""

    clear: Image
    transmission: Field
    veil: Image
    soiling: Field
    coverage: dict[str, float]
    splash_type: SplashType | None


@dataclass(frozen=True, slots=True)
class Degraded:
    """A degraded picture (h w 3, 0-1) and the truth behind it."""

    image: Image
    truth: Truth


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Which kinds, how severe (0-1; 0 is absent), and whether light adds before gamma."""

    smoke: float = 0.0
    fog: float = 0.0
    splash: float = 0.0
    splash_type: SplashType | None = None
    linear_light: bool = False
    exposure_shift: float = 0.0  # log2 of the automatic exposure's reaction to the veil

    @staticmethod
    def of(kind: Kind, severity: float) -> Recipe:
        """One kind alone."""
        return Recipe(
            smoke=severity if kind == "smoke" else 0.0,
            fog=severity if kind == "fog" else 0.0,
            splash=severity if kind == "splash" else 0.0,
        )

    @staticmethod
    def draw(rng: np.random.Generator) -> Recipe:
        """One kind mostly, sometimes several; every severity."""
        kinds = rng.choice(5, p=[0.66, 0.1, 0.1, 0.07, 0.07])
        severity = rng.uniform(0.02, 1.0, 3)
        return Recipe(
            smoke=float(severity[0]) if kinds in (0, 3, 4) else 0.0,
            fog=float(severity[1]) if kinds in (1, 4) else 0.0,
            splash=float(severity[2]) if kinds in (2, 3) else 0.0,
            linear_light=bool(rng.random() < 0.3),
        )


class Sequence:
    """One episode over a view of h w: call `frame` with a clear image and a time in seconds."""

    def __init__(
        self, rng: np.random.Generator, h: int, w: int, recipe: Recipe, *, moving: bool = True
    ) -> None:
        self.recipe = recipe
        self.smoke = Smoke(rng, h, w, recipe.smoke, moving=moving) if recipe.smoke else None
        self.fog = Fog(rng, h, w, recipe.fog) if recipe.fog else None
        self.splash = (
            Splash(rng, h, w, recipe.splash, recipe.splash_type) if recipe.splash else None
        )

    def frame(self, clear: Image, t_s: float = 0.0, grown: float = 1.0) -> Degraded:
        """grown 0-1: how far the episode has come (0: nothing yet)."""
        h, w = clear.shape[:2]
        image = clear
        t = np.ones((h, w), np.float32)
        veil = np.full((h, w, 3), 0.7, np.float32)
        soiling = np.zeros((h, w), np.float32)
        coverage = {"smoke": 0.0, "fog": 0.0, "splash": 0.0}
        if self.smoke is not None:
            t = np.exp(-self.smoke.density(t_s) * grown)
            veil = self.smoke.veil(clear)
            if self.recipe.linear_light:
                mixed = clear**2.2 * t[..., None] + veil**2.2 * (1 - t[..., None])
                image = np.maximum(mixed, 0) ** (1 / 2.2)
            else:
                image = clear * t[..., None] + veil * (1 - t[..., None])
            coverage["smoke"] = float((t < 1 - COVERED).mean())
        if self.fog is not None:
            image, o, film = self.fog.apply(image, grown)
            coverage["fog"] = float((o > COVERED).mean())
            both = t * (1 - o)
            weight = np.where(both < 1, (1 - t) * (1 - o) / np.maximum(1 - both, 1e-6), 0.0)
            veil = veil * weight[..., None] + film * (1 - weight[..., None])
            t = both
        if self.splash is not None:
            image, soiling = self.splash.apply(image, grown)
            coverage["splash"] = float((soiling > COVERED).mean())
        if self.recipe.exposure_shift:
            image = image * np.float32(2**self.recipe.exposure_shift)
        truth = Truth(
            clear=clear,
            transmission=t.astype(np.float32),
            veil=np.clip(veil, 0, 1).astype(np.float32),
            soiling=soiling,
            coverage=coverage,
            splash_type=self.splash.type if self.splash is not None else None,
        )
        return Degraded(image=np.clip(image, 0, 1).astype(np.float32), truth=truth)

    def play(self, clear: Iterator[Image], fps: float, rise_s: float = 1.0) -> Iterator[Degraded]:
        """The episode over a run of clear frames; it grows in over rise_s seconds."""
        for index, image in enumerate(clear):
            t_s = index / fps
            yield self.frame(image, t_s, min(1.0, t_s / rise_s) if rise_s > 0 else 1.0)


def degrade(
    clear: Image, recipe: Recipe, rng: np.random.Generator, camera: Camera | None = None
) -> Degraded:
    """A still: `recipe` over `clear` (h w 3, 0-1), seen by `camera`.

    The camera's mask blackens both sides; its noise and compression touch the image alone.
    """
    h, w = clear.shape[:2]
    base = camera.look(clear) if camera is not None else clear
    done = Sequence(rng, h, w, recipe, moving=False).frame(base)
    if camera is None:
        return done
    mask = camera.mask(h, w)
    truth = done.truth
    seen = Truth(
        clear=truth.clear * mask[..., None],
        transmission=1 - (1 - truth.transmission) * mask,
        veil=truth.veil,
        soiling=truth.soiling * mask,
        coverage=truth.coverage,
        splash_type=truth.splash_type,
    )
    return Degraded(image=camera.sensor(done.image * mask[..., None], rng), truth=seen)
