"""Physically based smoke, lens fog and splashes over clear frames, with exact ground truth."""

from trainer.degrade.camera import Camera
from trainer.degrade.compose import Degraded, Recipe, Sequence, Truth, degrade
from trainer.degrade.fog import Fog
from trainer.degrade.smoke import Smoke
from trainer.degrade.splash import Splash

__all__ = [
    "Camera",
    "Degraded",
    "Fog",
    "Recipe",
    "Sequence",
    "Smoke",
    "Splash",
    "Truth",
    "degrade",
]
