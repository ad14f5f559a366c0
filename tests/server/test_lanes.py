"""Which engine serves: warmed beside the old one, on probation, rolled back, given up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from streams import LIMITS, engines

from server import lanes
from server.child import Child
from server.controls import Controls, Limits
from server.decode_process import ACTIVE_LANE, LATER, NO_LANE
from server.events import Scalar
from server.lanes import Engines, Lane
from server.packet import Packet
from server.shared import Board
from server.spec import EngineState, StreamSpec

S = 1_000_000_000


class Puppet:
    """Stands in for an engine process."""

    def __init__(self) -> None:
        self.killed = False
        self.told: list[dict[str, Any]] = []
        self.control = self

    def kill(self) -> None:
        self.killed = True

    def reaped(self, timeout_s: float = 0.0) -> bool:
        return self.killed

    def send(self, message: dict[str, Any]) -> bool:
        self.told.append(message)
        return True


class Bench:
    def __init__(self, tmp_path: Path, limits: Limits = LIMITS) -> None:
        self.factories = engines(tmp_path / "command")
        self.board = Board.create()
        self.states: list[EngineState] = []
        self.told: list[tuple[str, str]] = []
        self.puppets: list[Puppet] = []
        self.lost: list[str] = []
        self.now = S
        spec = StreamSpec(source="push", engine="fake")
        self.engines = Engines(
            spec,
            7,
            self.factories["fake"],
            limits,
            Controls(),
            self.board,
            told=self._told,
            lost=lambda hop, what, s: self.lost.append(what),
            moved=self.states.append,
        )

    def _told(self, state: str, data: dict[str, Scalar]) -> None:
        self.told.append((state, str(data["name"])))

    def launch(self, *_: Any, **__: Any) -> Child:
        self.puppets.append(Puppet())
        return cast(Child, cast(Any, self.puppets[-1]))

    def tick(self, seconds: float = 0.0) -> None:
        self.now += round(seconds * S)
        self.engines.tick(self.now)

    def say(self, lane: Lane, state: str, **data: Any) -> None:
        self.engines.message(lane, {"state": state, **data}, self.now)

    def warm(self, lane: Lane) -> None:
        self.say(lane, "loaded", version="1", sha256="ab", verified=True)
        self.say(lane, "warming", width=64, height=48)
        self.say(lane, "ready", width=64, height=48)

    def changed(self, name: str = "other") -> tuple[Lane, Lane]:
        """A second engine serves; the first and the second lane."""
        self.engines.size = (64, 48)
        self.tick()
        first = self.engines.serving
        self.warm(first)
        self.engines.change(self.factories[name])
        self.tick()
        second = self.engines.candidate
        assert second is not None
        self.warm(second)
        return first, second

    @property
    def active(self) -> int:
        return self.board[ACTIVE_LANE]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    made = Bench(tmp_path)
    monkeypatch.setattr(lanes, "launch", made.launch)
    yield made
    made.engines.end()
    made.board.close()


def test_it_starts_loads_and_serves(bench: Bench) -> None:
    assert bench.active == LATER
    bench.tick()
    lane = bench.engines.serving
    bench.say(lane, "loaded", version="1", sha256="ab", verified=True)
    assert bench.active == 0  # the first frame tells it what to warm for
    bench.say(lane, "warming", width=64, height=48)
    bench.say(lane, "ready", width=64, height=48)
    assert bench.states == ["starting", "warming", "warming", "ready"]
    assert lane.ready_size == (64, 48)


def test_a_change_happens_only_when_the_new_one_is_warm(bench: Bench) -> None:
    first, second = bench.changed()
    assert bench.engines.serving is second
    assert bench.active == 1
    assert bench.engines.previous is first
    assert not bench.puppets[0].killed  # ready to take over again
    for _ in range(LIMITS.probation_frames):
        bench.engines.answered(second, True)
    assert bench.puppets[0].killed
    assert ("proven", "other") in bench.told
    bench.engines.change(bench.factories["fake"])
    bench.tick()
    assert bench.engines.candidate is not None
    assert bench.engines.candidate.index == 0  # the free lane


@pytest.mark.parametrize("how", ["unsound", "died"])
def test_a_failure_on_probation_rolls_back(bench: Bench, how: str) -> None:
    first, second = bench.changed()
    if how == "unsound":
        bench.engines.answered(second, False)
    else:
        bench.engines.died(second, "died", bench.now)
    assert bench.engines.serving is first
    assert bench.active == 0
    assert bench.puppets[1].killed
    assert ("rolled_back", "other") in bench.told
    assert bench.states[-1] == "ready"
    assert bench.lost == []


def test_a_candidate_that_dies_or_is_refused_changes_nothing(bench: Bench) -> None:
    bench.engines.size = (64, 48)
    bench.tick()
    bench.warm(bench.engines.serving)
    for how in ("died", "refused"):
        bench.engines.change(bench.factories["other"])
        bench.tick()
        candidate = bench.engines.candidate
        assert candidate is not None
        if how == "died":
            bench.engines.died(candidate, how, bench.now)
        else:
            bench.say(candidate, "refused", why="hash")
        assert bench.engines.candidate is None
        assert bench.active == 0
        assert bench.told[-1][0] == "refused"
    assert bench.states[-1] == "ready"


def test_there_is_no_roll_back_to_what_never_worked(bench: Bench) -> None:
    bench.tick()
    first = bench.engines.serving
    bench.say(first, "refused", why="forged")
    assert bench.active == NO_LANE
    bench.engines.size = (64, 48)
    bench.engines.change(bench.factories["other"])
    bench.tick()
    second = bench.engines.candidate
    assert second is not None
    bench.warm(second)
    assert bench.engines.serving is second
    assert bench.engines.previous is None
    bench.engines.answered(second, False)
    assert bench.engines.serving is second


def test_one_that_owes_an_answer_for_too_long_is_replaced(bench: Bench) -> None:
    bench.engines.size = (64, 48)
    bench.tick()
    lane = bench.engines.serving
    bench.warm(lane)
    bench.tick(100)
    assert bench.lost == []  # nothing to do is no fault
    head = Packet(stream=7, epoch=0, seq=0, capture_ns=0, width=64, height=48, codec="rgb24")
    lane.frames.put(head.pack(), [])
    bench.tick(0.1)
    bench.tick(LIMITS.hang_ms / 1000 - 0.2)
    assert bench.lost == []
    bench.tick(0.4)
    assert bench.lost == ["hangs"]
    assert bench.puppets[0].killed
    assert bench.active == LATER
    bench.tick(1.0)
    assert len(bench.puppets) == 2
    assert bench.states[-2:] == ["down", "starting"]


@pytest.mark.parametrize(("said", "limit_s"), [((), 60.0), (("loaded", "warming"), 300.0)])
def test_one_that_never_gets_ready_is_replaced(
    bench: Bench, said: tuple[str, ...], limit_s: float
) -> None:
    bench.tick()
    lane = bench.engines.serving
    for state in said:
        bench.say(lane, state, version="1", sha256="", verified=True, width=64, height=48)
    bench.tick(limit_s - 1)
    assert bench.lost == []
    bench.tick(2)
    assert len(bench.lost) == 1


def test_a_size_that_it_does_not_take_is_remembered_until_it_does(bench: Bench) -> None:
    bench.tick()
    lane = bench.engines.serving
    bench.say(lane, "loaded", version="1", sha256="", verified=True)
    bench.say(lane, "warming", width=64, height=48)
    bench.say(lane, "shape", width=64, height=48, why="odd")
    assert bench.engines.refused_size == (64, 48)
    bench.say(lane, "ready", width=64, height=48)
    assert bench.engines.refused_size is None


def test_everyone_hears_of_a_new_strength(bench: Bench) -> None:
    bench.changed()
    bench.engines.send({"strength": 0.5})
    assert [puppet.told for puppet in bench.puppets] == [[{"strength": 0.5}]] * 2
