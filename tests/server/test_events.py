"""The history: bounded, saved whole, and read back as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated import Simulation

from server.errors import SourceUnreadable
from server.events import Event, EventKind, History, load
from server.invariants import check

events = st.builds(
    Event,
    kind=st.sampled_from(list(EventKind)),
    at_ns=st.integers(0, 2**62),
    stream=st.integers(0, 2**32 - 1),
    epoch=st.integers(0, 2**40),
    seq=st.integers(0, 2**62),
    data=st.dictionaries(
        st.text(max_size=8),
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=9),
        max_size=4,
    ),
)


@given(events)
def test_an_event_survives_its_line(event: Event) -> None:
    assert Event.parse(event.line()) == event
    assert "\n" not in event.line()


@given(st.binary(max_size=60) | st.just(b"[" * 100_000) | st.just(b'{"k":1,"t":[],"s":{}}'))
def test_noise_is_no_event(noise: bytes) -> None:
    with pytest.raises(ValueError, match="not an event"):
        Event.parse(noise)


def test_a_history_is_saved_whole_and_read_back(tmp_path: Path) -> None:
    simulation = Simulation(frames=50).run()
    history = History(10_000)
    for event in simulation.events:
        history.append(event)
    path = tmp_path / "history.jsonl"
    assert history.save(path) == len(simulation.events)
    assert list(load(path)) == simulation.events
    assert list(tmp_path.iterdir()) == [path]  # nothing half-written beside it


def test_a_bounded_history_still_says_what_held_and_stays_sound() -> None:
    simulation = Simulation(
        frames=200, script={2000.0: lambda s: s.leave(s.selector.press(True, s.now))}
    ).run()
    history = History(100)
    for event in simulation.events:
        history.append(event)
    kept = list(history)
    assert len(history) == 100
    assert kept[0].kind is EventKind.CONFIG
    assert {EventKind.ENGINE, EventKind.PRESS} <= {event.kind for event in kept[:-100]}
    gap = next(event for event in kept if event.kind is EventKind.GAP)
    lost = gap.data["count"]
    assert lost == len(simulation.events) - len(kept) + 1
    finding = check(kept)
    assert finding.violations == ()
    assert finding.gaps == 1


def test_a_file_that_is_no_history_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"k":"emit","t":1,"s":1}\nnonsense\n')
    with pytest.raises(SourceUnreadable, match="line 2"):
        list(load(path))
    with pytest.raises(SourceUnreadable, match="cannot read"):
        list(load(tmp_path / "missing"))
