"""Every safety control proves itself: with it the checker finds nothing, without it, it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

import pytest
from simulated import MS, START_NS, Reply, Simulation

from server.controls import Controls
from server.frame import Reason

# these need processes: tests/server/test_faults.py switches them off
WITH_PROCESSES = {"side", "watchdog", "restart"}


def slow(n: int) -> Reply:
    return Reply(after_ms=60.0)


def silent(n: int) -> Reply:
    return Reply(after_ms=None)


def one_guarded(n: int) -> Reply:
    return Reply(reason=Reason.GUARD) if n == 5 else Reply()


def often_guarded(n: int) -> Reply:
    """A fault again each time the restored picture has come back."""
    return Reply(reason=Reason.GUARD) if n % 100 == 5 else Reply()


def press(simulation: Simulation) -> None:
    simulation.leave(simulation.selector.press(True, simulation.now))


def repeat(simulation: Simulation) -> None:
    """The source sends a frame that it has sent before."""
    simulation.send(START_NS + 200 * MS, 5, seq=5)


# control: the scenario that needs it, and the invariant that falls without it
CASES: dict[str, tuple[Callable[[], Simulation], str]] = {
    "deadline": (lambda: Simulation(period_ms=100, engine=slow), "I1"),
    "press": (lambda: Simulation(script={210.0: press}), "I2"),
    "stale_mark": (lambda: Simulation(late_ms=lambda n: 150.0, engine=silent), "I3"),
    "age_drop": (lambda: Simulation(late_ms=lambda n: 600.0 * (n == 5), engine=silent), "I3"),
    "card": (lambda: Simulation(frames=80, skip=frozenset(range(10, 60))), "I11"),
    "order": (lambda: Simulation(script={305.0: repeat}), "I4"),
    "newest_wins": (lambda: Simulation(period_ms=5, engine=silent), "I5"),
    "account": (lambda: Simulation(late_ms=lambda n: 600.0 * (n == 19), engine=silent), "I5"),
    "mark": (Simulation, "I6"),
    "original": (Simulation, "I7"),
    "verbatim": (lambda: Simulation(engine=silent), "I7"),
    "guard": (lambda: Simulation(engine=one_guarded), "I8"),
    "route": (lambda: Simulation(engine=silent, stream_of=lambda n: 8 if n == 19 else 7), "I9"),
    "verified": (lambda: Simulation(verified=False), "I10"),
    "visible": (lambda: Simulation(engine=silent), "I11"),
    "hysteresis": (lambda: Simulation(engine=one_guarded), "I12"),
    "latch": (lambda: Simulation(frames=400, engine=often_guarded), "I12"),
}


def test_every_control_has_its_case() -> None:
    assert set(CASES) | WITH_PROCESSES == {field.name for field in fields(Controls)}


@pytest.mark.parametrize("control", CASES)
def test_with_the_control_nothing_is_found(control: str) -> None:
    simulation = CASES[control][0]().run()
    assert simulation.violations == []
    assert simulation.checker.came_in == simulation.checker.left + simulation.checker.lost.total()


@pytest.mark.parametrize("control", CASES)
def test_without_the_control_the_checker_finds_it(control: str) -> None:
    make, rule = CASES[control]
    simulation = make()
    simulation.controls = replace(Controls(), **{control: False})
    assert rule in simulation.run().rules
