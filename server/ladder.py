"""Which rung of an engine fits the deadline: down by the p99 of frame ages, up with hysteresis.

Pure: it is told ages and times. Down at once when the p99 of the newest answers is over the
deadline, one rung at a time. Up only after a calm stretch, on trial; a trial that fails doubles
the stretch before the next one, so that the picture does not change its look every few seconds.
A rung whose cost when warm is hopeless is never tried.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True, slots=True)
class LadderSettings:
    """window: newest answers that the p99 is of; late: of them over the deadline before a step
    down (a single one is chance); calm_s: on time for so long, over `enough` answers, before a
    trial of the rung above; doubled by each failed trial up to calm_most_s, halved by each good
    one; roomy: p99 over the deadline that counts as calm; hopeless: cost over the deadline at
    which a rung is not tried at all."""

    window: int = 100
    late: int = 3
    enough: int = 25
    calm_s: float = 30.0  # three failed trials a minute would latch the stream (server/hold.py)
    calm_most_s: float = 600.0
    roomy: float = 0.8
    hopeless: float = 1.5


@dataclass(frozen=True, slots=True)
class Move:
    """A step from one rung to another. p99_ms: of the ages that caused it, where ages did."""

    to: int
    why: str
    p99_ms: float


class Ladder:
    """Of one engine. deadline_ms: what a frame may be old when its answer is there. Only frames
    that were really worked on are to be told: clear ones cost nothing on any rung."""

    def __init__(self, deadline_ms: float, settings: LadderSettings | None = None) -> None:
        self.deadline_ms = deadline_ms
        self.settings = LadderSettings() if settings is None else settings
        self.at = 0
        self._usable: tuple[bool, ...] = (True,)
        self._ages: deque[float] = deque(maxlen=self.settings.window)
        self._calm_s = self.settings.calm_s
        self._since_ns = 0
        self._on_trial = False

    def begin(self, costs_ms: Sequence[float], now: int) -> Move:
        """A warm engine, its rungs' costs from the best to none at all: the best that fits."""
        bound = self.settings.hopeless * self.deadline_ms
        self._usable = (*(cost <= bound for cost in costs_ms[:-1]), True)
        fits = [cost <= self.deadline_ms for cost in costs_ms[:-1]]
        self.at = next((rung for rung, good in enumerate(fits) if good), len(costs_ms) - 1)
        self._calm_s = self.settings.calm_s
        self._start(now, on_trial=False)
        return Move(self.at, "warm", 0.0)

    def saw(self, age_ms: float, now: int) -> Move | None:
        """An answer was there when its frame was this old. The step to take, if any."""
        self._ages.append(age_ms)
        p99 = float(np.percentile(self._ages, 99))
        late = sum(age > self.deadline_ms for age in self._ages)
        below = self._next(1)
        if p99 > self.deadline_ms and late >= self.settings.late and below is not None:
            if self._on_trial:
                self._calm_s = min(2 * self._calm_s, self.settings.calm_most_s)
            return self._move(below, "late", p99, now, on_trial=False)
        if now - self._since_ns < self._calm_s * 1e9 or len(self._ages) < self.settings.enough:
            return None
        if self._on_trial:  # it has passed
            self._on_trial = False
            self._calm_s = max(self._calm_s / 2, self.settings.calm_s)
        above = self._next(-1)
        if above is None or p99 > self.settings.roomy * self.deadline_ms:
            return None
        return self._move(above, "calm", p99, now, on_trial=True)

    def _next(self, step: int) -> int | None:
        rung = self.at + step
        while 0 <= rung < len(self._usable):
            if self._usable[rung]:
                return rung
            rung += step
        return None

    def _move(self, to: int, why: str, p99: float, now: int, *, on_trial: bool) -> Move:
        self.at = to
        self._start(now, on_trial=on_trial)
        return Move(to, why, p99)

    def _start(self, now: int, *, on_trial: bool) -> None:
        self._ages.clear()
        self._since_ns, self._on_trial = now, on_trial
