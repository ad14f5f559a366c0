"""The choice of the last hop, by script and by hypothesis."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from simulated import HEIGHT, MS, PAYLOAD, START_NS, WIDTH, Reply, Simulation, scene

from server.controls import Limits
from server.events import DropReason, EventKind
from server.frame import Provenance, Reason
from server.packet import as_bytes
from server.select import Arrived
from server.spec import EngineState, StreamSpec


def test_in_time_means_restored() -> None:
    simulation = Simulation(frames=10).run()
    assert [e.data["provenance"] for e in simulation.emits()] == ["RESTORED"] * 10
    assert not simulation.violations


def test_no_answer_means_raw_at_the_deadline() -> None:
    simulation = Simulation(frames=3, engine=lambda n: Reply(after_ms=None)).run()
    assert [e.data["reason"] for e in simulation.emits()] == ["LATE"] * 3
    for n, event in enumerate(simulation.emits()):
        assert event.data["decided_ns"] == START_NS + (40 * n + 25) * MS


@pytest.mark.parametrize(("after_ms", "reason"), [(24.9, None), (25.1, "LATE"), (39.0, "LATE")])
def test_the_deadline_is_sharp(after_ms: float, reason: str | None) -> None:
    simulation = Simulation(frames=3, engine=lambda n: Reply(after_ms=after_ms)).run()
    assert [e.data["reason"] for e in simulation.emits()] == [reason] * 3


def test_a_clear_frame_leaves_raw_as_it_came() -> None:
    simulation = Simulation(frames=5, engine=lambda n: Reply(reason=Reason.CLEAR)).run()
    assert {e.data["reason"] for e in simulation.emits()} == {"CLEAR"}
    assert all(e.data["crc"] == e2.data["crc"] for e, e2 in zip(
        simulation.emits(), simulation.told(EventKind.INGEST), strict=True))  # fmt: skip


def test_a_guarded_frame_is_raw_at_once_and_so_are_the_next_sixty() -> None:
    simulation = Simulation(
        frames=100, engine=lambda n: Reply(reason=Reason.GUARD) if n == 10 else Reply()
    ).run()
    reasons = [e.data["reason"] for e in simulation.emits()]
    assert reasons[:10] == [None] * 10
    assert reasons[10:71] == ["GUARD"] * 61
    assert reasons[71:] == [None] * 29
    assert not simulation.violations


SPELLS = (50, 300, 550)  # first frames of a machine's busy moments, in one minute


def busy_at(spells: tuple[int, ...]) -> Callable[[int], Reply]:
    """Answers too late for five frames of each spell."""
    late = {n for first in spells for n in range(first, first + 5)}
    return lambda n: Reply(after_ms=30.0 if n in late else 5.0)


def test_a_busy_machine_means_raw_and_back_by_itself_after_sixty_good_frames() -> None:
    simulation = Simulation(frames=500, engine=busy_at(SPELLS[:2])).run()
    reasons = [e.data["reason"] for e in simulation.emits()]
    # three single late ones pass; the fourth begins a hold; the next spell's first one does again
    assert reasons[:50] == [None] * 50
    assert reasons[50:115] == ["LATE"] * 65
    assert reasons[115:300] == [None] * 185
    assert reasons[300:365] == ["LATE"] * 65
    assert reasons[365:] == [None] * 135
    assert not simulation.violations


def test_a_machine_that_is_busy_again_and_again_latches_until_a_person_acts() -> None:
    """Hazard H15 names this very case: a picture that flickers at the edge of its deadline."""
    simulation = Simulation(
        frames=1200,
        engine=busy_at(SPELLS),
        script={40_010.0: lambda s: s.leave(s.selector.press(False, s.now))},
    ).run()
    reasons = [e.data["reason"] for e in simulation.emits()]
    assert reasons[549] is None
    assert set(reasons[550:1001]) == {"LATE"}  # 445 good frames are no reason
    assert set(reasons[1001:]) == {None}
    moves = [e.data["to"] for e in simulation.told(EventKind.BYPASS)]
    assert moves == ["hold", "off", "hold", "off", "latched", "off"]
    shown_raw = [reason is not None for reason in reasons[:1000]]
    flips = sum(a != b for a, b in zip(shown_raw, shown_raw[1:], strict=False))
    assert flips <= 12
    assert not simulation.violations


def test_an_engine_that_dies_lets_the_waiting_frame_go_at_once() -> None:
    simulation = Simulation(
        frames=20,
        engine=lambda n: Reply(after_ms=20.0 if n < 5 else None),
        script={205.0: lambda s: s.engine_state("down")},
    ).run()
    fifth = simulation.emits()[5]
    assert fifth.data["reason"] == "ENGINE_DOWN"
    assert fifth.data["decided_ns"] == START_NS + 205 * MS
    assert {e.data["reason"] for e in simulation.emits()[5:]} == {"ENGINE_DOWN"}


def test_a_new_engine_means_raw_until_it_has_shown_itself() -> None:
    simulation = Simulation(
        frames=140,
        script={
            205.0: lambda s: s.engine_state("down"),
            300.0: lambda s: s.engine_state("starting"),
            500.0: lambda s: s.engine_state("ready"),
        },
    ).run()
    reasons = [e.data["reason"] for e in simulation.emits()]
    assert "WARMING" in reasons
    assert reasons[-1] is None
    assert not simulation.violations


def test_a_refused_engine_latches() -> None:
    simulation = Simulation(
        frames=140,
        script={
            205.0: lambda s: s.engine_state("refused"),
            300.0: lambda s: s.engine_state("ready"),
        },
    ).run()
    assert {e.data["reason"] for e in simulation.emits()[6:]} == {"ENGINE_DOWN"}
    assert simulation.told(EventKind.BYPASS)[-1].data["to"] == "latched"
    assert not simulation.violations


def test_the_button_acts_on_the_waiting_frame_and_lasts() -> None:
    simulation = Simulation(
        frames=30,
        engine=lambda n: Reply(after_ms=20.0),
        script={
            210.0: lambda s: s.leave(s.selector.press(True, s.now)),
            810.0: lambda s: s.leave(s.selector.press(False, s.now)),
        },
    ).run()
    reasons = [e.data["reason"] for e in simulation.emits()]
    assert reasons == [None] * 5 + ["BYPASS"] * 16 + [None] * 9
    assert simulation.emits()[5].data["decided_ns"] == START_NS + 210 * MS


def test_a_frame_the_engine_passed_over_does_not_wait_for_its_deadline() -> None:
    spec = StreamSpec(source="push", engine="fake", deadline_ms=35.0)
    engine = {3: Reply(after_ms=None)}
    simulation = Simulation(
        frames=6, period_ms=20, spec=spec, engine=lambda n: engine.get(n, Reply(after_ms=10.0))
    ).run()
    third = simulation.emits()[3]
    assert third.data["reason"] == "LATE"
    assert third.data["decided_ns"] == START_NS + 90 * MS  # the next frame's answer


def burst(times_ms: list[float], engine: Callable[[int], Reply]) -> Simulation:
    """Frames that come from a network camera at these times, with a deadline of 40 ms."""
    spec = StreamSpec(source="push", engine="fake", deadline_ms=40.0)
    simulation = Simulation(frames=0, spec=spec, engine=engine)
    simulation.script = {
        at_ms: partial(lambda s, n: s.send(s.now, n), n=n) for n, at_ms in enumerate(times_ms)
    }
    return simulation.run()


def test_pictures_that_come_in_pairs_are_restored_all_the_same() -> None:
    """25 a second, every second one 35 ms late on its way: the next one comes 5 ms after it, while
    the engine still works on it. Each has its own deadline."""
    times_ms = [80.0 * (n // 2) + 5.0 * (n % 2) for n in range(200)]
    simulation = burst(times_ms, lambda n: Reply(after_ms=15.0 + 10.0 * (n % 2)))
    assert [e.data["provenance"] for e in simulation.emits()] == ["RESTORED"] * 200
    assert [e.seq for e in simulation.emits()] == list(range(200))
    assert not simulation.violations


def test_two_frames_wait_at_most() -> None:
    """The third of a burst pushes the first one out, raw, before its deadline."""
    simulation = burst([0.0, 2.0, 4.0], lambda n: Reply(after_ms=30.0))
    assert [e.data["reason"] for e in simulation.emits()] == ["LATE", None, None]
    assert simulation.emits()[0].data["decided_ns"] == START_NS + 4 * MS
    assert not simulation.violations


def test_what_leaves_at_once_does_not_overtake_what_waits() -> None:
    """A frame of a size that the engine is not warm for, while another is in its hands."""
    spec = StreamSpec(source="push", engine="fake", deadline_ms=40.0)
    simulation = Simulation(frames=0, spec=spec, engine=lambda n: Reply(after_ms=30.0))

    def another_size(s: Simulation) -> None:
        s.selector.ready_size = (WIDTH, HEIGHT)
        packet = replace(s.packet(s.now, 1, 1), width=32, height=24)
        body = as_bytes(PAYLOAD)
        s.leave(s.selector.arrive(Arrived(packet, body, zlib.crc32(body.data)), s.now))

    simulation.script = {0.0: lambda s: s.send(s.now, 0), 10.0: another_size}
    simulation.run()
    assert [(e.seq, e.data["reason"]) for e in simulation.emits()] == [(0, "LATE"), (1, "WARMING")]
    assert not simulation.violations


def test_a_size_that_the_engine_is_not_warm_for_is_raw_at_once() -> None:
    def warm_for_another(simulation: Simulation) -> None:
        simulation.selector.ready_size = (1, 1)

    def refuse(simulation: Simulation) -> None:
        simulation.selector.refused_size = (64, 48)

    simulation = Simulation(frames=30, script={210.0: warm_for_another, 610.0: refuse}).run()
    reasons = [e.data["reason"] for e in simulation.emits()]
    assert reasons[6:16] == ["WARMING"] * 10
    assert reasons[16:] == ["SHAPE"] * 14
    assert not simulation.violations


@pytest.mark.parametrize("what", ["flat", "small", "none"])
def test_the_last_hop_looks_itself(what: str) -> None:
    """Whatever an engine process claims, a flat or wrongly sized picture never leaves."""

    class Lying(Simulation):
        def answer(self, packet, reply):  # type: ignore[no-untyped-def]
            from server.select import Answer

            picture = scene(1)
            if what == "flat":
                picture.pixels[:] = 17
            elif what == "small":
                picture = type(picture)(picture.pixels[:-2].copy())
            shown = None if what == "none" else picture
            self.leave(self.selector.answer(Answer(packet, None, "fake", shown), self.now))

    simulation = Lying(frames=5).run()
    assert {e.data["provenance"] for e in simulation.emits()} == {Provenance.RAW.value}
    assert simulation.emits()[0].data["reason"] == "GUARD"


def test_lossless_waits_and_loses_nothing() -> None:
    spec = StreamSpec(source="push", engine="fake", mode="lossless")
    simulation = Simulation(
        frames=10, period_ms=400, spec=spec, engine=lambda n: Reply(after_ms=390.0)
    ).run()
    assert [e.data["provenance"] for e in simulation.emits()] == ["RESTORED"] * 10
    assert not simulation.violations


def test_frames_lost_on_the_way_are_counted_to_the_last() -> None:
    simulation = Simulation(frames=3, engine=lambda n: Reply(after_ms=None))
    sent: list[int] = []

    def jump(s: Simulation) -> None:
        for seq in (7, 20):  # 3-6 and 8-19 were replaced by newer ones in the raw slot
            s.send(s.now, seq, seq=seq)
            sent.append(seq)

    simulation.script = {130.0: jump}
    simulation.run()
    dropped = {e.seq: e.data["count"] for e in simulation.told(EventKind.DROP)}
    assert sent == [7, 20]
    assert dropped == {3: 4, 8: 12}
    assert simulation.checker.came_in == 21
    assert simulation.checker.lost == {DropReason.SUPERSEDED.value: 16}
    assert not simulation.violations


replies = st.builds(
    Reply,
    after_ms=st.none() | st.floats(0.0, 120.0),
    reason=st.sampled_from([None, None, None, Reason.CLEAR, Reason.GUARD, Reason.ENGINE_DOWN]),
)
presses = st.dictionaries(st.floats(0.0, 1200.0), st.booleans(), max_size=3)
STATES: tuple[EngineState, ...] = ("down", "starting", "ready")
states = st.dictionaries(st.floats(0.0, 1200.0), st.sampled_from(STATES), max_size=4)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    script=st.lists(replies, min_size=1, max_size=12),
    late=st.lists(st.floats(0.0, 45.0) | st.just(150.0), min_size=1, max_size=7),
    period_ms=st.floats(3.0, 60.0),
    pressed=presses,
    engine=states,
    good=st.integers(1, 8),
)
def test_whatever_happens_the_checker_finds_nothing(
    script: list[Reply],
    late: list[float],
    period_ms: float,
    pressed: dict[float, bool],
    engine: dict[float, EngineState],
    good: int,
) -> None:
    """Frames late and out of order, engines slow, silent, failing, dying; people pressing."""

    def press(s: Simulation, on: bool) -> None:
        s.leave(s.selector.press(on, s.now))

    simulation = Simulation(
        frames=20,
        period_ms=period_ms,
        late_ms=lambda n: late[n % len(late)],
        engine=lambda n: script[n % len(script)],
        limits=replace(Limits(), good_frames=good, return_gap_s=0.2, late_allowance=1),
    )
    simulation.script = {
        **{at: partial(press, on=on) for at, on in pressed.items()},
        **{at: partial(Simulation.engine_state, state=to) for at, to in engine.items()},
    }
    simulation.run()
    assert [str(v) for v in simulation.violations] == []
    checker = simulation.checker
    assert checker.came_in == checker.left + checker.lost.total()
