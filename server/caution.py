"""The checker's own model of I12, written apart from hold.py so that they do not err alike."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from server.controls import Limits


@dataclass
class Caution:
    """Whether restored frames may leave at all."""

    limits: Limits
    raw_only: bool = False
    latched: bool = False
    trips: deque[int] = field(default_factory=deque)
    lates: deque[int] = field(default_factory=deque)
    run: int = 0
    last_good: tuple[int, int] | None = None
    returned_ns: int | None = None

    def trip(self, at: int) -> None:
        self.run = 0
        if self.raw_only:
            return
        self.raw_only = True
        self.trips.append(at)
        self.latched = _within(self.trips, at, self.limits.trip_window_s) >= self.limits.trips

    def late(self, at: int) -> None:
        self.lates.append(at)
        if _within(self.lates, at, self.limits.trip_window_s) > self.limits.late_allowance:
            self.trip(at)

    def good(self, place: tuple[int, int], at: int) -> None:
        if not self.raw_only or self.latched:
            return
        follows = place[1] == 0 or self.last_good == (place[0], place[1] - 1)
        self.run = self.run + 1 if follows else 1
        self.last_good = place
        rested = self.returned_ns is None or (
            at - self.returned_ns >= self.limits.return_gap_s * 1e9
        )
        if self.run >= self.limits.good_frames and rested:
            self.raw_only, self.returned_ns = False, at

    def release(self) -> None:
        self.trips.clear()
        self.lates.clear()
        self.run = 0
        if self.latched:
            self.raw_only = self.latched = False


def _within(times: deque[int], now: int, window_s: float) -> int:
    while times and now - times[0] > window_s * 1e9:
        times.popleft()
    return len(times)
