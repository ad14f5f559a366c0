"""The checker: every rule seen to be broken, event by event, and silence over sound histories."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import Reply, Simulation

from server.caution import Caution
from server.controls import Limits
from server.events import Event, EventKind, Scalar, save
from server.invariants import Checker, check, check_file
from server.spec import Flag

MS = 1_000_000


def sound() -> list[Event]:
    """Twenty restored frames."""
    return Simulation(frames=20).run().events


def raw() -> list[Event]:
    """Three raw ones, late."""
    return Simulation(frames=3, engine=lambda n: Reply(after_ms=None)).run().events


def broken(events: list[Event]) -> set[str]:
    return {violation.rule for violation in check(events).violations}


def changed(events: list[Event], kind: EventKind, number: int, **data: Scalar) -> list[Event]:
    """The history with some data of the number-th event of a kind replaced."""
    places = [i for i, event in enumerate(events) if event.kind is kind]
    at = places[number]
    return [
        *events[:at],
        replace(events[at], data={**events[at].data, **data}),
        *events[at + 1 :],
    ]


def test_sound_histories_are_silent() -> None:
    assert check(sound()).violations == ()
    assert check(raw()).violations == ()
    assert check([]).violations == ()


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        ({"decided_ns": 2 * 10**12}, "I1"),
        ({"age_ns": 150 * MS}, "I3"),
        ({"age_ns": 600 * MS, "stale": True, "flags": Flag.RESTORED | Flag.STALE}, "I3"),
        ({"age_ns": -1}, "I3"),
        ({"mark": None}, "I6"),
        ({"engine": None}, "I6"),
        ({"provenance": "PAINTED"}, "I6"),
        ({"original": False}, "I7"),
        ({"engine": "another"}, "I8"),
        ({"source": 8}, "I9"),
        ({"engine": "another"}, "I10"),
        ({"flags": 0}, "I11"),
        ({"flags": Flag.RESTORED | Flag.LATE}, "I11"),
        ({"provenance": "RAW"}, "I11"),
        ({"side_ns": 80 * MS}, "I13"),
    ],
)
def test_a_restored_frame_that_breaks_a_rule(data: dict[str, Scalar], rule: str) -> None:
    assert rule in broken(changed(sound(), EventKind.EMIT, 5, **data))


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        ({"mark": "AI"}, "I6"),
        ({"engine": "fake"}, "I6"),
        ({"crc": 1}, "I7"),
        ({"flags": 0}, "I11"),
        ({"flags": Flag.RESTORED}, "I11"),
        ({"reason": "SUNDAY"}, "I6"),
        ({"decided_ns": 2 * 10**12}, "I1"),
    ],
)
def test_a_raw_frame_that_breaks_a_rule(data: dict[str, Scalar], rule: str) -> None:
    assert rule in broken(changed(raw(), EventKind.EMIT, 1, **data))


def test_a_late_raw_frame_that_says_it_is_old_is_honest() -> None:
    events = changed(
        raw(),
        EventKind.EMIT,
        1,
        decided_ns=10**12 + 150 * MS,
        age_ns=120 * MS,
        stale=True,
        flags=Flag.LATE | Flag.STALE,
    )
    assert broken(events) == set()


@pytest.mark.parametrize("kind", [EventKind.EMIT, EventKind.INGEST])
def test_a_frame_that_appears_twice(kind: EventKind) -> None:
    events = sound()
    at = next(i for i, event in enumerate(events) if event.kind is kind)
    assert {"I4", "I5"} & broken([*events[: at + 1], events[at], *events[at + 1 :]])


def test_a_frame_without_a_fate() -> None:
    events = sound()
    emits = [event for event in events if event.kind is EventKind.EMIT]
    assert broken([e for e in events if e is not emits[5]]) == {"I5"}
    assert broken([e for e in events if e is not emits[-1]]) == {"I5"}  # said at the end


def test_a_frame_that_never_came_in() -> None:
    events = sound()
    ingests = [event for event in events if event.kind is EventKind.INGEST]
    assert "I5" in broken([e for e in events if e is not ingests[5]])


def test_frames_that_vanish_between_epochs_and_runs() -> None:
    start = Event(EventKind.CONFIG, 0, 7)
    second = Event(EventKind.INGEST, 2, 7, 1, 3)
    assert broken([start, second]) == {"I5"}
    waiting = Event(EventKind.INGEST, 1, 7, 0, 0)
    assert broken([start, waiting, Event(EventKind.CONFIG, 2, 7)]) == {"I5"}


def test_an_unknown_reason_for_a_loss() -> None:
    start = Event(EventKind.CONFIG, 0, 7)
    lost = Event(EventKind.DROP, 1, 7, 0, 0, {"reason": "TIRED", "count": 1})
    assert broken([start, lost]) == {"I5"}


def test_restored_after_a_press_or_without_an_engine() -> None:
    events = sound()
    at = [i for i, event in enumerate(events) if event.kind is EventKind.EMIT][5]
    pressed = Event(EventKind.PRESS, events[at].at_ns, 7, data={"on": True})
    assert broken([*events[:at], pressed, *events[at:]]) == {"I2"}
    down = Event(EventKind.ENGINE, events[at].at_ns, 7, data={"state": "down", "name": "fake"})
    assert {"I2", "I12"} <= broken([*events[:at], down, *events[at:]])


def test_a_sound_result_is_needed_for_every_restored_frame() -> None:
    events = sound()
    results = [event for event in events if event.kind is EventKind.RESULT]
    assert "I8" in broken([e for e in events if e is not results[7]])
    assert "I8" in broken(changed(events, EventKind.RESULT, 7, verdict="CLEAR"))
    assert {"I8", "I12"} <= broken(changed(events, EventKind.RESULT, 7, verdict="GUARD"))


def test_pictures_that_stop_without_a_card() -> None:
    paused = Simulation(frames=40, skip=frozenset(range(10, 30))).run().events
    assert broken(paused) == set()
    cards = [event for event in paused if event.kind is EventKind.CARD]
    assert cards
    assert broken([event for event in paused if event.kind is not EventKind.CARD]) == {"I11"}


def test_a_watchdog_that_eats_anything_but_frames() -> None:
    def fed(*emitted: int) -> set[str]:
        events = [Event(EventKind.CONFIG, 0, 7)]
        events += [
            Event(EventKind.WATCHDOG, i, 7, data={"emitted": n}) for i, n in enumerate(emitted)
        ]
        return broken(events)

    assert fed(1, 5, 6) == set()
    assert fed(1, 5, 5) == {"I14"}


def test_a_gap_is_forgiven_and_said() -> None:
    """Events lost on the way to the keeper: the rest is judged, nothing is made up."""
    events = (
        Simulation(frames=200, engine=lambda n: Reply(after_ms=20 if n % 9 else None)).run().events
    )
    for first in range(20, 120, 7):
        lost = events[first : first + 33]
        gap = Event(EventKind.GAP, lost[0].at_ns, 7, data={"count": len(lost)})
        finding = check([*events[:first], gap, *events[first + 33 :]])
        assert finding.gaps == 1
        assert [str(v) for v in finding.violations] == []


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_no_emit_can_be_lost_unseen(data: st.DataObject) -> None:
    """Any one frame's EMIT or INGEST taken out of a sound history is missed."""
    events = sound()
    candidates = [e for e in events if e.kind in (EventKind.EMIT, EventKind.INGEST)]
    out = data.draw(st.sampled_from(candidates))
    assert "I5" in broken([event for event in events if event is not out])


def test_a_saved_history_is_judged_the_same(tmp_path: Path) -> None:
    events = changed(sound(), EventKind.EMIT, 5, mark=None)
    path = tmp_path / "case.jsonl"
    save(events, path)
    finding = check_file(path)
    assert finding == check(events)
    assert [v.rule for v in finding.violations] == ["I6"]
    assert finding.came_in == finding.left == 20
    assert "epoch 0 seq 5" in str(finding.violations[0])


def test_the_counts_add_up_at_every_moment() -> None:
    checker = Checker()
    for event in (
        Simulation(frames=60, period_ms=7, engine=lambda n: Reply(after_ms=40)).run().events
    ):
        checker.feed(event)
        in_flight = checker.came_in - checker.left - checker.lost.total()
        assert in_flight == len(checker.in_flight) <= 3


# The checker's own model of I12


def test_the_model_of_caution_counts_for_itself() -> None:
    limits = Limits(good_frames=5, return_gap_s=1.0, late_allowance=1)
    model = Caution(limits)
    model.late(0)
    assert not model.raw_only
    model.late(1)
    assert model.raw_only
    for seq in range(4):
        model.good((0, seq), 10**9)
    model.good((0, 5), 10**9)  # a hole
    assert model.raw_only
    for seq in range(6, 10):
        model.good((0, seq), 10**9)
    assert not model.raw_only
    model.trip(10**9 + 1)
    for seq in range(100):
        model.good((0, seq), 10**9 + 2)
    assert model.raw_only  # too soon after the last return
    model.good((0, 100), 2 * 10**9)
    assert not model.raw_only
    model.trip(3 * 10**9)
    assert model.latched
    model.release()
    assert not model.raw_only
