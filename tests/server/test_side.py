"""Telling others: in order, in batches, bounded, and never waited for."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from server.child import Control
from server.controls import Controls, Limits
from server.events import Event, EventKind
from server.side import SideChannel

Ends = tuple[Control, Control]


@pytest.fixture
def ends() -> Iterator[Ends]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    one, other = Control(ours), Control(theirs)
    yield one, other
    one.close()
    other.close()


def events_of(control: Control) -> list[Event]:
    found: list[Event] = []
    while (message := control.receive_bytes()) is not None:
        found += [Event.parse(line) for line in message.split(b"\n")]
    return found


def event(n: int) -> Event:
    return Event(EventKind.FAULT, n, 7, 0, n, {"what": "x" * 200})


def test_everything_arrives_in_order(ends: Ends) -> None:
    side = SideChannel(ends[0], 7, Limits(), Controls())
    told: list[Event] = []
    for n in range(2000):
        side.tell(event(n))
        if n % 700 == 0:
            side.flush()
            told += events_of(ends[1])
    for _ in range(50):
        side.flush()
        told += events_of(ends[1])
    assert told == [event(n) for n in range(2000)]


def test_a_service_that_does_not_read_costs_no_time_and_leaves_a_gap(ends: Ends) -> None:
    ends[0].room(4096)
    limits = Limits(side_pending=100, side_buffer_bytes=4096)
    side = SideChannel(ends[0], 7, limits, Controls())
    for n in range(1000):
        side.tell(event(n))
        side.flush()
    told: list[Event] = []
    for _ in range(200):
        told += events_of(ends[1])
        side.flush()
    gaps = [e for e in told if e.kind is EventKind.GAP]
    faults = [e for e in told if e.kind is EventKind.FAULT]
    assert len(gaps) == 1
    assert int(str(gaps[0].data["count"])) + len(faults) == 1000
    assert [e.seq for e in faults] == sorted(e.seq for e in faults)
    assert faults[-1] == event(999)


def test_the_time_it_takes_is_told_apart_from_the_time_it_waits(ends: Ends) -> None:
    side = SideChannel(ends[0], 7, Limits(), Controls())
    side.tell(event(1))
    time.sleep(0.2)  # not its fault
    side.flush()
    assert 0 < side.spent_ns() < 100_000_000
    assert side.spent_ns() == 0
