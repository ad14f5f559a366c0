"""What events add up to."""

from __future__ import annotations

import pytest
from simulated import Reply, Simulation

from server.controls import Limits
from server.events import Event, EventKind
from server.frame import Provenance, Reason
from server.invariants import Violation
from server.spec import Levels, StreamSpec
from server.tally import Rate, Tally

SPEC = StreamSpec(source="push", engine="fake")


def tallied(simulation: Simulation) -> tuple[Tally, list[str]]:
    tally, names = Tally("id", 7, SPEC, Limits()), []
    for event in simulation.run().events:
        names += [name for name, _ in tally.feed(event)]
    return tally, names


def test_counts_and_state_of_a_mixed_stream() -> None:
    simulation = Simulation(
        frames=100, engine=lambda n: Reply(reason=Reason.GUARD) if n == 10 else Reply()
    )
    tally, names = tallied(simulation)
    state = tally.state(simulation.now)
    assert (state.frames_in, state.frames_out, state.restored) == (100, 100, 39)
    assert state.raw == {"GUARD": 61}
    assert state.provenance is Provenance.RESTORED
    assert state.levels == Levels(smoke=2)
    assert (state.width, state.height, state.seq) == (64, 48, 99)
    assert state.engine_state == "ready"
    assert state.alarms == ()
    assert names == ["engine.ready", "bypass.on", "bypass.off"]


def test_drops_count_the_frames_that_nobody_saw() -> None:
    def jump(simulation: Simulation) -> None:
        simulation.send(simulation.now, 9, seq=9)

    simulation = Simulation(frames=3, script={130.0: jump})
    tally, _ = tallied(simulation)
    state = tally.state(simulation.now)
    assert state.drops == {"SUPERSEDED": 6}
    assert state.frames_in == 10 == state.frames_out + sum(state.drops.values())


@pytest.mark.parametrize(
    ("event", "alarm"),
    [
        (Event(EventKind.CARD, 5, 7), "SIGNAL_LOST"),
        (Event(EventKind.ENGINE, 5, 7, data={"state": "down", "active": True}), "ENGINE_DOWN"),
        (Event(EventKind.ENGINE, 5, 7, data={"state": "refused", "active": True}), "ENGINE_DOWN"),
        (Event(EventKind.BYPASS, 5, 7, data={"to": "latched"}), "LATCHED"),
    ],
)
def test_alarms_are_raised_and_cleared_once(event: Event, alarm: str) -> None:
    tally = Tally("id", 7, SPEC, Limits())
    assert tally.alarm_calls(5) == []
    tally.feed(event)
    assert tally.alarm_calls(6) == [("alarm.raised", {"alarm": alarm})]
    assert tally.alarm_calls(7) == []
    for cleared in Simulation(frames=2).run().events:
        tally.feed(cleared)
    tally.feed(Event(EventKind.BYPASS, 9, 7, data={"to": "off"}))
    assert tally.alarm_calls(10) == [("alarm.cleared", {"alarm": alarm})]


def test_a_violation_is_counted_and_alarms() -> None:
    import time

    tally = Tally("id", 7, SPEC, Limits())
    name, data = tally.violated(Violation("I6", 5, (0, 3), "no mark"))
    assert (name, data["rule"]) == ("invariant.violated", "I6")
    assert tally.alarms(time.monotonic_ns()) == ("INVARIANT",)
    assert tally.state(0).violations == {"I6": 1}
    assert tally.alarms(time.monotonic_ns() + 31 * 10**9) == ()


def test_an_old_picture_alarms() -> None:
    simulation = Simulation(
        frames=5, late_ms=lambda n: 150.0, engine=lambda n: Reply(after_ms=None)
    )
    tally, _ = tallied(simulation)
    assert tally.alarms(0) == ("STALE",)


def test_fates_are_for_metrics() -> None:
    tally = Tally("id", 7, SPEC, Limits())
    fates = [tally.fate(event) for event in Simulation(frames=4).run().events]
    told = [fate for fate in fates if fate is not None]
    assert len(told) == 4
    assert told[0].provenance is Provenance.RESTORED
    assert told[0].stages_ms["wait"] == pytest.approx(5.0)
    lost = Event(EventKind.DROP, 1, 7, 0, 0, {"reason": "AGE", "count": 3})
    fate = tally.fate(lost)
    assert fate is not None
    assert (fate.dropped, fate.reason, fate.count) == (True, "AGE", 3)
    repeat = Event(EventKind.DROP, 1, 7, 0, 0, {"reason": "OLDER", "count": 0})
    assert tally.fate(repeat) is None


def test_a_rate_forgets() -> None:
    rate = Rate()
    for n in range(100):
        rate.add(n * 40_000_000)
    assert rate.value(99 * 40_000_000) == pytest.approx(25, abs=1)
    assert rate.value(99 * 40_000_000 + 10**10) == 0
