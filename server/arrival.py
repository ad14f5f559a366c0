"""How old a network camera's picture was when it came: a backlog shows its age.

The camera's clock and ours differ by an unknown amount, but no picture arrives before it is sent:
the smallest difference of the last half minute is taken for a picture that was not held up, and
what others have more is how long they were. Clocks that run apart (100 ppm are 3 ms in half a
minute) do not add up that way; a lag that stays the same for longer than the window does not show
at all, which is why a connection that stays behind is given up and made anew.
"""

from __future__ import annotations

WINDOW_S = 30.0
JUMP_S = 10.0  # a difference that moves by more is a clock that was set, not a backlog
SETTLE_STEP_S, SETTLE_MOST_S = 0.010, 3.0
BEHIND_S, BEHIND_FOR_S = 1.0, 2.0


class Arrival:
    """One connection. Times in seconds; now_s: monotonic, pts_s: the camera's."""

    def __init__(self) -> None:
        self._least: list[tuple[float, float]] = []  # (begun, least difference): newest window last
        self._last_s: float | None = None
        self._started_s: float | None = None
        self._behind_since_s: float | None = None
        self.settled = False  # what had piled up while the connection was made is used up
        self.hopeless = False  # it stays behind: make it anew

    def late_s(self, pts_s: float | None, now_s: float) -> float:
        """How long the picture was held up on its way, at least 0."""
        if pts_s is None:
            self.settled = True
            return 0.0
        difference_s = now_s - pts_s
        if self._last_s is not None and abs(difference_s - self._last_s) > JUMP_S:
            self._least.clear()
        self._settle(difference_s, now_s)
        self._last_s = difference_s
        late_s = difference_s - self._least_s(difference_s, now_s)
        self._judge(late_s, now_s)
        return late_s

    def _least_s(self, difference_s: float, now_s: float) -> float:
        """Over the window that runs and the one before."""
        if not self._least or now_s - self._least[-1][0] > WINDOW_S:
            self._least = [*self._least[-1:], (now_s, difference_s)]
        begun, least = self._least[-1]
        self._least[-1] = (begun, min(least, difference_s))
        return min(least for _, least in self._least)

    def _settle(self, difference_s: float, now_s: float) -> None:
        """Settled once a picture did not come faster than it was taken."""
        if self._started_s is None:
            self._started_s = now_s
        elif self._last_s is not None and difference_s > self._last_s - SETTLE_STEP_S:
            self.settled = True
        self.settled = self.settled or now_s - self._started_s > SETTLE_MOST_S

    def _judge(self, late_s: float, now_s: float) -> None:
        if late_s <= BEHIND_S:
            self._behind_since_s = None
        elif self._behind_since_s is None:
            self._behind_since_s = now_s
        elif now_s - self._behind_since_s > BEHIND_FOR_S:
            self.hopeless = True
