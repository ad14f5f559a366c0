"""The automatic bypass: instant in, slow out, latched after too many trips."""

from __future__ import annotations

import pytest

from server.controls import Controls, Limits
from server.frame import Reason
from server.hold import Hold, HoldState

S = 1_000_000_000
LIMITS = Limits()


class Recorder:
    def __init__(self, limits: Limits = LIMITS, controls: Controls | None = None) -> None:
        self.moves: list[HoldState] = []
        self.hold = Hold(limits, controls or Controls(), lambda to, why, at: self.moves.append(to))

    @property
    def state(self) -> str:
        return self.hold.state.value

    def good(self, first: int, count: int, now: int) -> None:
        for seq in range(first, first + count):
            self.hold.good((0, seq), now)


def test_raw_from_the_fault_on_and_back_after_sixty_good_frames() -> None:
    run = Recorder()
    run.hold.trip(Reason.GUARD, 0)
    assert run.state == "hold"
    assert run.hold.reason is Reason.GUARD
    run.good(1, 59, S)
    assert run.state == "hold"
    run.good(60, 1, S)
    assert run.moves == [HoldState.HOLD, HoldState.OFF]


@pytest.mark.parametrize("fault", ["hole", "late", "trip"])
def test_sixty_good_frames_means_in_a_row(fault: str) -> None:
    run = Recorder()
    run.hold.trip(Reason.LATE, 0)
    run.good(1, 40, S)
    if fault == "late":
        run.hold.broken()
    elif fault == "trip":
        run.hold.trip(Reason.GUARD, S)
    run.good(42 if fault == "hole" else 41, 59, S)
    assert run.state == "hold"
    run.good(101 if fault == "hole" else 100, 1, S)
    assert run.state == "off"


def test_at_most_one_return_in_five_seconds() -> None:
    run = Recorder()
    run.hold.trip(Reason.GUARD, 0)
    run.good(0, 60, S)
    run.hold.trip(Reason.GUARD, 2 * S)
    run.good(100, 100, 5 * S)
    assert run.state == "hold"
    run.good(200, 1, 6 * S)
    assert run.state == "off"


def test_three_trips_a_minute_latch_until_a_person_releases() -> None:
    run = Recorder()
    for number, at in enumerate((0, 10, 20)):
        run.hold.trip(Reason.LATE, at * S)
        run.good(1000 * number, 100, (at + 6) * S)
    assert run.state == "latched"
    run.good(5000, 1000, 1000 * S)
    assert run.state == "latched"
    run.hold.release(1001 * S)
    assert run.state == "off"
    run.hold.trip(Reason.LATE, 1002 * S)  # the count starts anew
    assert run.state == "hold"


def test_three_trips_in_more_than_a_minute_do_not_latch() -> None:
    run = Recorder()
    for number, at in enumerate((0, 40, 80, 120)):
        run.hold.trip(Reason.LATE, at * S)
        run.good(1000 * number, 100, (at + 6) * S)
    assert HoldState.LATCHED not in run.moves


def test_a_person_alone_ends_a_latch_but_not_a_hold() -> None:
    run = Recorder()
    run.hold.trip(Reason.GUARD, 0)
    run.hold.release(S)
    assert run.state == "hold"
    run.hold.latch(Reason.ENGINE_DOWN, "refused", S)
    assert run.state == "latched"


def test_single_late_frames_pass_up_to_the_allowance() -> None:
    run = Recorder()
    for number in range(LIMITS.late_allowance):
        run.hold.late(number * S)
    assert run.moves == []
    run.hold.late(10 * S)
    assert run.moves == [HoldState.HOLD]
    assert run.hold.reason is Reason.LATE


def test_late_frames_of_an_hour_ago_do_not_count() -> None:
    run = Recorder()
    for number in range(20):
        run.hold.late(number * 61 * S)
    assert run.moves == []


def test_an_engine_at_its_deadline_makes_at_most_twelve_transitions_a_minute() -> None:
    """Hazard H15: every frame late or in time by turns, at 30 fps for ten minutes."""
    run = Recorder()
    shown_raw = False
    transitions: list[int] = []
    for n in range(18_000):
        at = n * S // 30
        late = (n // 200) % 2 == 0 and n % 3 == 0
        held = run.hold.state is not HoldState.OFF
        if late:
            run.hold.broken() if held else run.hold.late(at)
        else:
            run.hold.good((0, n), at)
        raw = held or late
        if raw != shown_raw:
            transitions.append(at)
        shown_raw = raw
    worst = max(sum(t <= u < t + 60 * S for u in transitions) for t in transitions)
    assert 0 < worst <= 12
