"""The automatic bypass: to raw at once, back only after enough good frames, for good after too many
trips (invariant I12 and hazard H15 of the safety case)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import StrEnum

from server.controls import Controls, Limits
from server.frame import Reason


class HoldState(StrEnum):
    """Where the automatic bypass stands."""

    OFF = "off"  # restored frames may leave
    HOLD = "hold"  # raw for now
    LATCHED = "latched"  # raw until a person releases it


class Hold:
    """Fed with what the engine does; tells whether restored frames may leave.

    moved: called at every change of state with its cause.
    """

    def __init__(
        self, limits: Limits, controls: Controls, moved: Callable[[HoldState, str, int], None]
    ) -> None:
        self.limits = limits
        self.controls = controls
        self.state = HoldState.OFF
        self.reason: Reason = Reason.LATE  # of the last trip
        self._moved = moved
        self._trips: deque[int] = deque()
        self._lates: deque[int] = deque()
        self._returned_ns: int | None = None
        self._run = 0
        self._last_good: tuple[int, int] | None = None

    def trip(self, reason: Reason, now: int) -> None:
        """A fault: raw from this frame on."""
        self._run = 0
        self.reason = reason
        if self.state is not HoldState.OFF:
            return
        self._trips.append(now)
        self._forget(self._trips, now)
        if self.controls.latch and len(self._trips) >= self.limits.trips:
            self._move(HoldState.LATCHED, reason.value, now)
        elif self.controls.hysteresis:
            self._move(HoldState.HOLD, reason.value, now)

    def latch(self, reason: Reason, why: str, now: int) -> None:
        """Something that only a person may judge (an engine that failed its verification)."""
        self._run = 0
        self.reason = reason
        if self.state is not HoldState.LATCHED:
            self._move(HoldState.LATCHED, why, now)

    def late(self, now: int) -> None:
        """A frame had no answer by its deadline. A few single ones a minute pass without a trip;
        in a hold each one starts the count of good frames again."""
        if self.state is not HoldState.OFF:
            self._run = 0
            return
        self._lates.append(now)
        self._forget(self._lates, now)
        if len(self._lates) > self.limits.late_allowance:
            self.trip(Reason.LATE, now)

    def good(self, place: tuple[int, int], now: int) -> None:
        """The engine answered the frame at (epoch, seq) in time and soundly."""
        if self.state is not HoldState.HOLD:
            return
        last, self._last_good = self._last_good, place
        follows = last == (place[0], place[1] - 1) or place[1] == 0
        self._run = self._run + 1 if follows and self._run else 1
        since_ns = None if self._returned_ns is None else now - self._returned_ns
        gap_ns = self.limits.return_gap_s * 1e9
        if self._run >= self.limits.good_frames and (since_ns is None or since_ns >= gap_ns):
            self._returned_ns = now
            self._move(HoldState.OFF, f"{self._run} good frames", now)

    def broken(self) -> None:
        """An answer came too late: the run of good frames starts again."""
        self._run = 0

    def release(self, now: int) -> None:
        """A person takes the responsibility: the count starts anew."""
        self._trips.clear()
        self._lates.clear()
        self._run = 0
        if self.state is HoldState.LATCHED:
            self._move(HoldState.OFF, "released", now)

    def _move(self, state: HoldState, why: str, now: int) -> None:
        self.state = state
        self._moved(state, why, now)

    def _forget(self, times: deque[int], now: int) -> None:
        while times and now - times[0] > self.limits.trip_window_s * 1e9:
            times.popleft()
