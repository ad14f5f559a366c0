"""The age of a camera's pictures: backlogs show, clocks that differ or drift do not."""

from __future__ import annotations

import pytest

from server.arrival import BEHIND_FOR_S, SETTLE_MOST_S, Arrival

PERIOD_S = 0.04


def steady(arrival: Arrival, begin: int, end: int, late_s: float = 0.0) -> list[float]:
    """Pictures `begin` to `end` at 25 a second, each `late_s` on its way; the camera's clock is
    1000 s behind ours."""
    return [arrival.late_s(n * PERIOD_S, 1000 + n * PERIOD_S + late_s) for n in range(begin, end)]


def test_what_comes_on_time_is_not_old() -> None:
    assert steady(Arrival(), 0, 100) == pytest.approx([0.0] * 100, abs=1e-6)


def test_a_backlog_shows_its_age_until_it_is_used_up() -> None:
    arrival = Arrival()
    steady(arrival, 0, 50)
    burst = [arrival.late_s(n * PERIOD_S, 1000 + 75 * PERIOD_S) for n in range(50, 75)]
    assert burst == pytest.approx([(75 - n) * PERIOD_S for n in range(50, 75)], abs=1e-6)
    assert steady(arrival, 75, 80) == pytest.approx([0.0] * 5, abs=1e-6)
    assert not arrival.hopeless


def test_what_piled_up_while_connecting_is_not_settled() -> None:
    arrival = Arrival()
    for n in range(8):
        arrival.late_s(n * PERIOD_S, 1000 + 8 * PERIOD_S)
        assert not arrival.settled
    steady(arrival, 8, 10)
    assert arrival.settled


def test_a_source_that_never_settles_is_shown_all_the_same() -> None:
    arrival = Arrival()
    n = 0
    while n * PERIOD_S <= SETTLE_MOST_S:
        assert not arrival.settled
        arrival.late_s(n * PERIOD_S * 2, 1000 + n * PERIOD_S)  # twice as fast as it was taken
        n += 1
    arrival.late_s(n * PERIOD_S * 2, 1000 + n * PERIOD_S + PERIOD_S)
    assert arrival.settled


def test_clocks_that_drift_apart_do_not_add_up() -> None:
    """100 ppm for an hour would be 0.36 s."""
    arrival = Arrival()
    late_s = [
        arrival.late_s(n * PERIOD_S * (1 - 1e-4), 1000 + n * PERIOD_S) for n in range(3600 * 25)
    ]
    assert max(late_s) < 0.01


def test_a_clock_that_was_set_is_no_backlog() -> None:
    arrival = Arrival()
    steady(arrival, 0, 50)
    assert arrival.late_s(50 * PERIOD_S - 3600, 1000 + 50 * PERIOD_S) == 0.0
    assert arrival.late_s(51 * PERIOD_S - 3600, 1000 + 51 * PERIOD_S) == pytest.approx(0, abs=1e-6)


def test_staying_behind_is_hopeless() -> None:
    arrival = Arrival()
    steady(arrival, 0, 50)
    needed = int(BEHIND_FOR_S / PERIOD_S)
    steady(arrival, 50, 50 + needed, late_s=1.5)
    assert not arrival.hopeless
    steady(arrival, 50 + needed, 55 + needed, late_s=1.5)
    assert arrival.hopeless


def test_a_source_without_times_is_taken_as_it_comes() -> None:
    arrival = Arrival()
    assert arrival.late_s(None, 5.0) == 0.0
    assert arrival.settled
