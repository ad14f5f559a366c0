"""Restarts: prompt at first, with growing pauses after, and for good when told to stop."""

from __future__ import annotations

from typing import Any, cast

from server.child import Child
from server.controls import Controls, Limits
from server.supervise import Worker

S = 1_000_000_000
LIMITS = Limits(backoff_first_s=0.25, backoff_most_s=8.0, backoff_reset_s=30.0)


class Puppet:
    """Stands in for a child; dies when killed, unless a driver holds it."""

    def __init__(self, held: bool = False) -> None:
        self.held = held
        self.killed = False

    def kill(self) -> None:
        self.killed = True

    def reaped(self, timeout_s: float = 0.0) -> bool:
        return self.killed and not self.held


class Yard:
    def __init__(self, controls: Controls | None = None) -> None:
        self.made: list[Puppet] = []
        self.told: list[tuple[str, float]] = []
        self.worker = Worker(
            self._launch, LIMITS, controls or Controls(), lambda *what: self.told.append(what)
        )

    def _launch(self) -> Child:
        self.made.append(Puppet())
        return cast(Child, cast(Any, self.made[-1]))

    def lose(self, now: int) -> float:
        """Starts when due, dies at once; the pause before the next start in s."""
        assert self.worker.start(now)
        self.worker.lost("died", now)
        assert self.worker.due_ns is not None
        return (self.worker.due_ns - now) / S


def test_pauses_grow_and_are_bounded() -> None:
    yard, now, pauses = Yard(), S, []
    for _ in range(8):
        pauses.append(yard.lose(now))
        assert not yard.worker.start(now)  # not before its time
        now = yard.worker.due_ns or 0
    assert pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert [wait for _, wait in yard.told] == pauses
    assert yard.worker.restarts == 7
    assert all(puppet.killed for puppet in yard.made)


def test_one_that_lived_long_is_restarted_promptly() -> None:
    yard = Yard()
    yard.lose(S)
    yard.lose(2 * S)
    assert yard.worker.start(10 * S)
    yard.worker.lost("died", 50 * S)
    assert yard.worker.due_ns == 50 * S + S // 4


def test_retired_is_for_good() -> None:
    yard = Yard()
    assert yard.worker.start(0)
    yard.worker.retire()
    assert yard.made[0].killed
    assert not yard.worker.start(1000 * S)
    assert yard.worker.due_ns is None


def test_without_the_control_nothing_restarts() -> None:
    yard = Yard(Controls(restart=False))
    assert yard.worker.start(0)
    yard.worker.lost("died", S)
    assert not yard.worker.start(1000 * S)


def test_one_that_a_driver_holds_does_not_hold_us() -> None:
    yard = Yard()
    yard.worker.start(0)
    yard.made[0].held = True
    yard.worker.lost("hangs", S)
    assert yard.worker.start(3 * S)  # its successor is up
    assert not yard.worker.reaped(0.0)
    yard.made[0].held = False
    yard.worker.retire()
    assert yard.worker.reaped(0.0)
