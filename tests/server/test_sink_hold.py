"""The hold on a sink process: patience, replacement, and counts that add up over its deaths."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import pytest
from puppets import Puppet
from streams import LIMITS

from server import sink_hold
from server.child import Child
from server.controls import Controls
from server.shared import Slot
from server.sink_hold import SinkHold

S = 10**9
SMALL = replace(LIMITS, max_pixels=1000)
URL = "rtsp://u:canary@h/x?k=canary"


class Bench:
    def __init__(self, controls: Controls) -> None:
        self.now = 10 * S
        self.puppets: list[Puppet] = []
        self.tasks: list[Any] = []
        self.told: list[str] = []
        self.hold = SinkHold(
            7, 0, URL, SMALL, controls,
            lost=lambda index, why: self.told.append(f"lost: {why}"),
            back=lambda index: self.told.append("back"),
        )  # fmt: skip
        self.reader = Slot(self.hold.slot.handle)

    def launch(self, entry: object, task: Any, *, title: str, **_: Any) -> Child:
        assert title == "surgiclear: sink 7"
        self.puppets.append(Puppet())
        self.tasks.append(task)
        return cast(Child, cast(Any, self.puppets[-1]))

    def tick(self, seconds: float = 0.0, *words: dict[str, Any]) -> None:
        self.now += round(seconds * S)
        if self.puppets:
            self.puppets[-1].words += words
        self.hold.tick(self.now)

    def put(self, count: int = 1, *, taken: bool = True) -> None:
        for _ in range(count):
            self.hold.slot.put(b"", [])
            if taken:
                self.reader.take()


@pytest.fixture
def controls() -> Controls:
    return Controls()


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, controls: Controls) -> Iterator[Bench]:
    made = Bench(controls)
    monkeypatch.setattr(sink_hold, "launch", made.launch)
    made.tick()
    yield made
    made.reader.unmap()
    made.hold.slot.close()


def word(state: str, sent: int = 0, why: str | None = None, **changes: Any) -> dict[str, Any]:
    return {"state": state, "why": why, "sent": sent, "dropped": {}, "patience_s": 0.0} | changes


def test_the_password_goes_to_the_process_and_nowhere_else(bench: Bench) -> None:
    assert bench.tasks[0].url == URL
    assert "canary" not in repr(bench.hold.report())


def test_each_loss_is_told_once_and_each_return(bench: Bench) -> None:
    bench.tick(0.1, word("connecting"), word("up"), word("up", 5))
    bench.tick(0.1, word("down", 5, "refused"), word("down", 5, "refused"))
    bench.tick(0.1, word("connecting", 5), word("down", 5, "gone"), word("up", 5))
    assert bench.told == ["back", "lost: refused", "lost: gone", "back"]
    report = bench.hold.report()
    assert (report.state, report.why, report.connections) == ("up", None, 2)


def test_one_that_takes_nothing_is_replaced(bench: Bench) -> None:
    bench.tick(0.1, word("up"))
    bench.put()
    bench.put(taken=False)
    bench.tick(0.1)
    bench.tick(LIMITS.hang_ms / 1000 - 0.2)
    assert not bench.puppets[0].killed
    bench.tick(0.3)
    assert bench.puppets[0].killed
    bench.tick(1)
    assert len(bench.puppets) == 2
    assert bench.hold.report().restarts == 1


@pytest.mark.parametrize("controls", [Controls(restart=False)])
def test_with_the_control_off_it_is_not(bench: Bench) -> None:
    bench.tick(0.1, word("up"))
    bench.put(taken=False)
    bench.tick(100)
    assert not bench.puppets[0].killed


def test_one_that_connects_is_given_its_time(bench: Bench) -> None:
    bench.tick(0.1, word("connecting", patience_s=15.0))
    bench.put(taken=False)
    bench.tick(14.9)
    assert not bench.puppets[0].killed
    bench.tick(0.3)
    assert bench.puppets[0].killed


def test_one_that_has_nothing_to_take_does_not_hang(bench: Bench) -> None:
    bench.tick(0.1, word("up"))
    bench.put()
    bench.tick(1000)
    assert not bench.puppets[0].killed


def test_every_picture_has_one_fate_also_over_a_death(bench: Bench) -> None:
    bench.tick(0.1, word("up"))
    bench.put(10)
    bench.tick(0.1, word("up", 6, dropped={"BEHIND": 2}))
    report = bench.hold.report()
    assert (report.frames, report.sent, report.dropped, report.under_way) == (
        10, 6, {"BEHIND": 2}, 2,
    )  # fmt: skip
    bench.puppets[0].words.append({"nonsense": 1})
    bench.tick(0.1)
    assert bench.told[-1] == "lost: died"
    bench.tick(1)
    bench.put(3)
    bench.tick(0.1, word("up", 3))
    report = bench.hold.report()
    assert (report.frames, report.sent, report.under_way) == (13, 9, 0)
    assert report.dropped == {"BEHIND": 2, "DOWN": 2}


@pytest.mark.parametrize("patience_s", [float("nan"), -1.0, 1e9, "x", None])
def test_impossible_words_end_it(bench: Bench, patience_s: Any) -> None:
    bench.tick(0.1, word("up", patience_s=patience_s))
    assert bench.puppets[0].killed
