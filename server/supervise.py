"""One supervised child process: started, watched, and started again with growing pauses."""

from __future__ import annotations

from collections.abc import Callable

from server.child import Child
from server.controls import Controls, Limits


class Worker:
    """Knows when its child may be started (again). All times in monotonic ns.

    launch: starts a child; told: called with (what happened, wait in s) for each loss.
    """

    def __init__(
        self,
        launch: Callable[[], Child],
        limits: Limits,
        controls: Controls,
        told: Callable[[str, float], None],
    ) -> None:
        self.child: Child | None = None
        self.restarts = 0
        self.started_ns = 0
        self._launch = launch
        self._limits = limits
        self._controls = controls
        self._told = told
        self._next_ns: int | None = 0
        self._wait_s = 0.0
        self._dying: list[Child] = []

    @property
    def due_ns(self) -> int | None:
        """When `start` will do something."""
        return self._next_ns if self.child is None else None

    def start(self, now: int) -> bool:
        """Starts the child if it is time; True if it did."""
        self._dying = [child for child in self._dying if not child.reaped()]
        if self.child is not None or self._next_ns is None or now < self._next_ns:
            return False
        self.restarts += self.started_ns > 0
        self.child = self._launch()
        self.started_ns = now
        return True

    def lost(self, what: str, now: int) -> None:
        """The child has died, or hangs and is killed; the next start is set."""
        if self.child is None:
            return
        self._kill()
        lived_s = (now - self.started_ns) / 1e9
        if self._wait_s == 0.0 or lived_s >= self._limits.backoff_reset_s:
            self._wait_s = self._limits.backoff_first_s
        else:
            self._wait_s = min(self._limits.backoff_most_s, 2 * self._wait_s)
        self._next_ns = now + int(self._wait_s * 1e9) if self._controls.restart else None
        self._told(what, self._wait_s)

    def retire(self) -> None:
        """Ends the child for good."""
        self._next_ns = None
        self._kill()

    def reaped(self, timeout_s: float) -> bool:
        """Whether no process of ours is left; waits up to timeout_s for each."""
        self._dying = [child for child in self._dying if not child.reaped(timeout_s)]
        return not self._dying

    def _kill(self) -> None:
        if self.child is not None:
            self.child.kill()
            self._dying.append(self.child)
            self.child = None
