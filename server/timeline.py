"""The degradation of one stream over time, and the calls that follow from it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from server.spec import Levels, TimelinePoint

Call = tuple[str, dict[str, str | int | float | bool | None]]
POINT_EVERY_S = 0.25  # the shortest step that the timeline shows


@dataclass(frozen=True, kw_only=True, slots=True)
class TimelineSettings:
    """When to call. smoke_*: for the evacuator; clean_*: fog or a splash that stays is for a
    person to wipe off; a call ends once its cause has been gone for end_s."""

    smoke_level: int = 3
    smoke_s: float = 2.0
    clean_level: int = 2
    clean_s: float = 5.0
    end_s: float = 2.0
    points: int = 4000


class Lasting:
    """True once something has held for on_s, until it has been gone for off_s."""

    def __init__(self, on_s: float, off_s: float) -> None:
        self.on = False
        self._on_ns, self._off_ns = on_s * 1e9, off_s * 1e9
        self._since_ns: int | None = None

    def step(self, there: bool, at_ns: int) -> bool:
        """True when it has just switched."""
        if there == self.on:
            self._since_ns = None
            return False
        if self._since_ns is None:
            self._since_ns = at_ns
        if at_ns - self._since_ns < (self._off_ns if self.on else self._on_ns):
            return False
        self.on, self._since_ns = there, None
        return True


class Timeline:
    """Fed with every frame's levels; keeps the points where they change."""

    def __init__(self, settings: TimelineSettings | None = None) -> None:
        self.settings = settings or TimelineSettings()
        self.points: deque[TimelinePoint] = deque(maxlen=self.settings.points)
        self._smoke = Lasting(self.settings.smoke_s, self.settings.end_s)
        self._fog = Lasting(self.settings.clean_s, self.settings.end_s)
        self._splash = Lasting(self.settings.clean_s, self.settings.end_s)

    @property
    def clean_lens(self) -> bool:
        """Whether the lens should be cleaned."""
        return self._fog.on or self._splash.on

    def step(self, levels: Levels, at_ns: int) -> list[Call]:
        """The calls that this frame gives rise to."""
        self._point(levels, at_ns)
        calls: list[Call] = []
        settings = self.settings
        if self._smoke.step(levels.smoke >= settings.smoke_level, at_ns):
            name = "smoke.persistent" if self._smoke.on else "smoke.cleared"
            calls.append((name, {"level": levels.smoke}))
        before = self.clean_lens
        self._fog.step(levels.fog >= settings.clean_level, at_ns)
        self._splash.step(levels.splash >= settings.clean_level, at_ns)
        if self.clean_lens and not before:
            cause = "fog" if self._fog.on else "splash"
            calls.append(("lens.clean", {"cause": cause, "level": getattr(levels, cause)}))
        elif before and not self.clean_lens:
            calls.append(("lens.cleared", {}))
        return calls

    def _point(self, levels: Levels, at_ns: int) -> None:
        last = self.points[-1] if self.points else None
        changed = last is None or last.levels != levels
        if changed and (last is None or at_ns - last.at_ns >= POINT_EVERY_S * 1e9):
            self.points.append(TimelinePoint(at_ns, levels))
