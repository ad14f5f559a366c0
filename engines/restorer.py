"""What a restorer is: it analyses a picture (kinds, levels, maps) and applies the repair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from engines.picture import Picture

SplashType = Literal["blood", "fat", "bile", "fluid"]
SPLASH_TYPES: tuple[SplashType, ...] = ("blood", "fat", "bile", "fluid")
Kind = Literal["smoke", "fog", "splash"]
KINDS: tuple[Kind, ...] = ("smoke", "fog", "splash")
COVERED = 0.3  # a place counts as covered when it loses this share of its light
LEVEL_BOUNDS = (1 / 3, 2 / 3, 0.9)  # covered share of the view where levels 2, 3 and 4 begin


def level(coverage: float, present: bool = True) -> int:
    """Level 0-4 by covered share of the view (1: under a third ... 4: near total)."""
    return 1 + sum(coverage >= bound for bound in LEVEL_BOUNDS) if present else 0


@dataclass(frozen=True, slots=True)
class Degradation:
    """One kind in one picture. probability: of presence, 0-1; coverage: share of the view it
    hides, 0-1; level: 0 absent, 1 under a third of it, 2 to two thirds, 3 over, 4 near all."""

    probability: float
    coverage: float
    level: int


@dataclass(frozen=True, slots=True)
class Detection:
    """What hides the view in one picture."""

    smoke: Degradation
    fog: Degradation
    splash: Degradation
    splash_type: SplashType | None

    @property
    def level(self) -> int:
        """The worst level of the three kinds, 0-4."""
        return max(self.smoke.level, self.fog.level, self.splash.level)


ABSENT = Degradation(probability=0.0, coverage=0.0, level=0)
NOTHING = Detection(smoke=ABSENT, fog=ABSENT, splash=ABSENT, splash_type=None)


@dataclass(frozen=True, slots=True)
class Analysis:
    """A restorer's reading of one picture. maps: private to the restorer that made it."""

    detection: Detection
    maps: Any


class Restorer(Protocol):
    """Restores the pictures of one stream, in order; not to be shared between streams.

    `refer` gives a clear picture of the same scene (the pre-smoke frame) or None to forget it;
    it steers maps and global colour, its pixels never appear in the output. `reset` forgets all
    temporal state (new epoch). `apply` returns a new picture of the same type, size and colour;
    strength 0 is the input, 1 the full repair. It uses its arguments alone, so that it may run in
    one thread while `analyse` is at the next picture in another.
    """

    @property
    def name(self) -> str: ...
    def analyse(self, picture: Picture) -> Analysis: ...
    def apply(self, picture: Picture, analysis: Analysis, strength: float = 1.0) -> Picture: ...
    def refer(self, picture: Picture | None) -> None: ...
    def reset(self) -> None: ...
    def warm(self, width: int, height: int) -> None: ...
    def close(self) -> None: ...
