"""How the learning rate goes: a factor of the turn's own rate, a pure function of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol


class Schedule(Protocol):
    """A frozen value."""

    def factor(self, step: int) -> float:
        """What the rate is multiplied with at a step (from 0)."""
        ...


@dataclass(frozen=True, slots=True)
class Constant:
    """The rate as it is."""

    def factor(self, step: int) -> float:
        return 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Halved:
    """Half of it after every so many steps."""

    every: int

    def factor(self, step: int) -> float:
        return float(0.5 ** (step // self.every))


@dataclass(frozen=True, kw_only=True, slots=True)
class Cosine:
    """Rises over warm_up steps, then falls along a half cosine to `floor` (a share) at `steps`
    (Loshchilov and Hutter: SGDR, ICLR 2017, without restarts)."""

    steps: int
    floor: float = 0.0
    warm_up: int = 0

    def factor(self, step: int) -> float:
        warm = min(1.0, (step + 1) / self.warm_up) if self.warm_up else 1.0
        fall = 0.5 * (1 + math.cos(math.pi * min(step / self.steps, 1.0)))
        return warm * (self.floor + (1 - self.floor) * fall)


@dataclass(frozen=True, kw_only=True, slots=True)
class Straight:
    """Constant for `keep` steps, then straight down to nothing at `steps` (CycleGAN, ICCV 2017)."""

    keep: int
    steps: int

    def factor(self, step: int) -> float:
        return 1.0 - max(0, step - self.keep) / max(1, self.steps - self.keep)
