"""The decode process, held: started again, found hanging, and not believed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import pytest
from puppets import Puppet
from streams import LIMITS, commanded_feed, planes

from server import reader
from server.child import Child
from server.controls import Controls
from server.packet import Packet, described, parts_of
from server.reader import Reader
from server.shared import Board, Slot
from server.spec import Mode, StreamSpec

S = 1_000_000_000


class Bench:
    def __init__(self, pushed: bool, mode: Mode = "live", source: str = "file:x") -> None:
        self.slots = [Slot.create(100_000) for _ in range(4)]
        self.board = Board.create()
        self.puppets: list[Puppet] = []
        self.epochs: list[int] = []
        self.lost: list[str] = []
        self.faults: list[str] = []
        self.outages: list[float] = []
        self.unread: list[tuple[int, int]] = []
        self.now = 10 * S
        self.reader = Reader(
            7,
            StreamSpec(source="push" if pushed else source, engine="fake", mode=mode),
            commanded_feed,
            LIMITS,
            Controls(),
            self.slots[0],
            self.slots[1] if pushed else None,
            (self.slots[2], self.slots[3]),
            self.board,
            3,
            lost=lambda hop, what, wait_s: self.lost.append(what),
            fault=lambda hop, what: self.faults.append(what),
            back=self.outages.append,
            unreadable=self.unread.append,
        )

    def launch(self, entry: object, task: Any, **_: Any) -> Child:
        self.puppets.append(Puppet())
        self.epochs.append(task.epoch)
        return cast(Child, cast(Any, self.puppets[-1]))

    def tick(self, seconds: float = 0.0, *words: dict[str, Any]) -> None:
        self.now += round(seconds * S)
        if self.puppets:
            self.puppets[-1].words += words
        self.reader.tick(self.now)

    def put(self, **changes: Any) -> Packet:
        head = Packet(
            stream=7, epoch=3, seq=0, capture_ns=self.now, width=0, height=0, codec="i420"
        )
        head = replace(described(head, planes(0)), **changes)
        self.slots[0].put(head.pack(), parts_of(planes(0)))
        return head

    def close(self) -> None:
        self.reader.end()
        for slot in self.slots:
            slot.close()
        self.board.close()


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    made = Bench(pushed=False)
    monkeypatch.setattr(reader, "launch", made.launch)
    yield made
    made.close()


@pytest.fixture
def push_bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    made = Bench(pushed=True)
    monkeypatch.setattr(reader, "launch", made.launch)
    yield made
    made.close()


READY = {"state": "ready"}


def test_a_source_that_gives_nothing_is_opened_again_in_a_new_epoch(bench: Bench) -> None:
    bench.tick()
    bench.tick(1.0, READY)
    head = bench.put()
    taken = bench.reader.take(bench.now)
    assert taken is not None
    assert taken[0] == head
    bench.tick(LIMITS.source_timeout_s - 0.1)
    assert bench.lost == []
    bench.tick(0.2)
    assert bench.lost == ["the source has stalled"]
    bench.tick(1.0)
    assert bench.epochs == [3, 4]


def test_a_slow_start_is_given_its_time(bench: Bench) -> None:
    bench.tick()
    bench.tick(LIMITS.start_timeout_s - 1)
    assert bench.lost == []
    bench.tick(2)
    assert bench.lost == ["did not start in time"]


def test_the_next_epoch_follows_the_newest_one_seen(bench: Bench) -> None:
    bench.tick()
    bench.tick(0.0, READY)
    bench.put(epoch=9)
    assert bench.reader.take(bench.now) is not None
    bench.tick(60)
    bench.tick(1)
    assert bench.epochs == [3, 10]


@pytest.mark.parametrize(
    "changes",
    [
        {"codec": "jpeg"},
        {"width": 0},
        {"width": 66},
        {"height": 2**31},
        {"epoch": 2**40},
        {"seq": 2**60},
        {"capture_ns": 10**15},
        {"capture_ns": -1},
        {"late_ns": -1},
        {"late_ns": 10**15},
    ],
)
def test_impossible_frames_end_the_decoder_and_go_nowhere(
    bench: Bench, changes: dict[str, Any]
) -> None:
    bench.now = 100 * S
    bench.tick()
    bench.put(**changes)
    assert bench.reader.take(bench.now) is None
    assert bench.lost[0].startswith("nonsense")
    assert bench.puppets[0].killed


def test_noise_in_place_of_a_head_as_well(bench: Bench) -> None:
    bench.tick()
    bench.slots[0].put(b"\xff" * 200, [])
    assert bench.reader.take(bench.now) is None
    assert bench.puppets[0].killed


@pytest.mark.parametrize("word", [{"unreadable": [1]}, {"unreadable": 5}, {"unreadable": "xyz"}])
def test_senseless_words_as_well(bench: Bench, word: dict[str, Any]) -> None:
    bench.tick()
    bench.tick(0.0, word)
    assert bench.lost == ["died"]


def test_what_it_could_not_read_is_passed_on(push_bench: Bench) -> None:
    push_bench.tick()
    push_bench.tick(0.0, READY, {"unreadable": [3, 8], "why": "broken"}, {"failed": "gone"})
    assert push_bench.unread == [(3, 8)]
    assert push_bench.faults == ["broken", "gone"]


def test_a_pushed_frame_left_untouched_means_it_hangs(push_bench: Bench) -> None:
    push_bench.tick()
    push_bench.tick(0.0, READY)
    push_bench.tick(100)
    assert push_bench.lost == []  # nobody pushes: nothing hangs
    push_bench.slots[1].put(b"", [])
    push_bench.tick()
    push_bench.tick(LIMITS.hang_ms / 1000 - 0.1)
    assert push_bench.lost == []
    push_bench.tick(0.2)
    assert push_bench.lost == ["hangs"]
    push_bench.tick(1)
    assert push_bench.epochs == [3, 3]  # pushed frames bring their own epochs


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    made = Bench(pushed=False, source="rtsp://camera/1")
    monkeypatch.setattr(reader, "launch", made.launch)
    yield made
    made.close()


def waiting(why: str, patience_s: float) -> dict[str, Any]:
    return {"waiting": why, "patience_s": patience_s}


def test_a_camera_that_is_dialled_is_no_decoder_that_hangs(camera: Bench) -> None:
    """As long as it was said; afterwards it is replaced."""
    camera.tick()
    camera.tick(0.0, waiting("", 20.0))
    camera.tick(19.9)
    assert camera.lost == []
    camera.tick(0.2)
    assert camera.lost == ["the source has stalled"]


def test_with_a_picture_the_patience_ends(camera: Bench) -> None:
    camera.tick()
    camera.tick(0.0, waiting("", 20.0), READY)
    camera.tick(LIMITS.source_timeout_s + 0.1)
    assert camera.lost == ["the source has stalled"]
    assert camera.faults == ["the source has stalled"]


def test_each_reason_is_told_once_and_the_return_with_its_time(camera: Bench) -> None:
    camera.tick()
    camera.tick(0.0, waiting("", 20.0), READY)
    camera.tick(1.0, waiting("gone", 2.0), waiting("", 20.0), waiting("gone", 2.0))
    camera.tick(1.0, waiting("refused", 2.0))
    assert camera.faults == ["gone", "refused"]
    assert camera.outages == []
    camera.tick(1.5, READY)
    assert camera.outages == [2.5]
    camera.tick(0.5, waiting("gone", 2.0))
    assert camera.faults == ["gone", "refused", "gone"]


def test_a_camera_that_was_never_there_does_not_return(camera: Bench) -> None:
    camera.tick()
    camera.tick(0.0, waiting("", 20.0), waiting("refused", 2.0), waiting("", 20.0), READY)
    assert camera.faults == ["refused"]
    assert camera.outages == []


@pytest.mark.parametrize("patience_s", [float("nan"), -1.0, 1e9, "x", None])
def test_impossible_patience_ends_the_decoder(camera: Bench, patience_s: Any) -> None:
    camera.tick()
    camera.tick(0.0, waiting("", patience_s))
    assert camera.lost == ["died"]


def test_a_file_is_given_no_patience(bench: Bench) -> None:
    bench.tick()
    bench.tick(0.0, READY, waiting("", 20.0))
    bench.tick(LIMITS.source_timeout_s + 0.1)
    assert bench.lost == ["the source has stalled"]
