"""The last step: marked, encoded, stamped; other views of the same frame; originals kept."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from simulated import PAYLOAD, scene, slots
from streams import planes

from engines.picture import Picture, Yuv420
from server import jpeg
from server.controls import Controls, Limits
from server.egress import Egress, Originals
from server.events import Event, EventKind
from server.frame import Provenance, Reason
from server.mark import Mark, read
from server.packet import BARE, Packet, as_bytes, described, parts_of, picture_of
from server.select import Answer, Arrived, Choice
from server.shared import Slot
from server.spec import Flag, StreamSpec, View

MS = 1_000_000
HEAD = Packet(stream=7, epoch=1, seq=8, capture_ns=0, width=64, height=48, codec="jpeg",
              tag_seq=42, tag_ns=43)  # fmt: skip


class Exit:
    """An egress with a clock that stands still."""

    def __init__(
        self, outs: dict[View, Slot], source: str = "push", sinks: tuple[Slot, ...] = ()
    ) -> None:
        self.now = 10**9
        self.events: list[Event] = []
        self.outs = outs
        spec = StreamSpec(source=source, engine="fake")
        self.egress = Egress(
            7, spec, Limits(), Controls(), outs, self.events.append, lambda: self.now, sinks
        )

    def arrived(self, picture: Picture | None = None, age_ms: float = 10.0) -> Arrived:
        head = replace(HEAD, capture_ns=self.now - round(age_ms * MS))
        if picture is None:
            return Arrived(head, as_bytes(PAYLOAD), 1)
        body = b"".join(part.tobytes() for part in parts_of(picture))
        return Arrived(described(head, picture), as_bytes(body))

    def let(
        self, arrived: Arrived, reason: Reason | None = None, answer: Answer | None = None
    ) -> tuple[Packet, bytes] | None:
        provenance = Provenance.RESTORED if reason is None else Provenance.RAW
        self.egress.emit(Choice(arrived, provenance, reason, answer, self.now))
        return self.left("restored")

    def left(self, view: View) -> tuple[Packet, bytes] | None:
        item = self.outs[view].take()
        return None if item is None else (Packet.unpack(item.head), item.body.tobytes())


@pytest.fixture
def way_out() -> Iterator[Exit]:
    with slots() as outs:
        yield Exit(outs)


@pytest.fixture
def camera() -> Iterator[Exit]:
    """For a source whose frames come as planes."""
    with slots() as outs:
        yield Exit(outs, "file:x")


def answered(picture: Picture, raw: Picture | None = None) -> Answer:
    return Answer(HEAD, None, "fake", picture, raw)


def test_a_raw_payload_leaves_byte_for_byte(way_out: Exit) -> None:
    for reason in Reason:
        left = way_out.let(way_out.arrived(), reason)
        assert left is not None
        head, body = left
        assert body == PAYLOAD
        assert head.flags & Flag.RESTORED == 0
        assert (head.tag_seq, head.tag_ns, head.place) == (42, 43, (1, 8))


def test_a_restored_frame_is_marked_and_says_so(way_out: Exit) -> None:
    left = way_out.let(way_out.arrived(), None, answered(scene(1)))
    assert left is not None
    assert left[0].flags == Flag.RESTORED
    assert read(jpeg.decode(left[1])) == Mark(True, False, 2)


def test_planes_leave_as_jpeg_and_raw_ones_unmarked(camera: Exit) -> None:
    picture = planes(3)
    left = camera.let(camera.arrived(picture), Reason.CLEAR)
    assert left is not None
    assert left[0].codec == "jpeg"
    shown = jpeg.decode(left[1])
    assert read(shown) is None
    assert np.abs(shown.pixels[..., 1].astype(int) - picture.y).mean() < 3


def test_an_old_picture_says_so_in_header_and_pixels(camera: Exit) -> None:
    left = camera.let(camera.arrived(planes(3), age_ms=150), Reason.LATE)
    assert left is not None
    assert left[0].flags == Flag.LATE | Flag.STALE
    assert read(jpeg.decode(left[1])) == Mark(False, True, 2)


def test_too_old_a_picture_never_leaves(way_out: Exit) -> None:
    assert way_out.let(way_out.arrived(age_ms=501), Reason.LATE) is None
    dropped = way_out.events[-1]
    assert dropped.kind is EventKind.DROP
    assert (dropped.epoch, dropped.seq, dropped.data["reason"]) == (1, 8, "AGE")


def test_raw_codecs_go_back_as_the_same_codec(way_out: Exit) -> None:
    for picture in (scene(2), planes(2)):
        arrived = way_out.arrived(picture)
        restored = scene(5) if not isinstance(picture, Yuv420) else planes(5)
        left = way_out.let(arrived, None, answered(restored))
        assert left is not None
        assert left[0].codec == arrived.packet.codec
        assert len(left[1]) == arrived.body.size
        way_out.now += MS


def test_other_views_are_of_the_same_frame_and_only_on_request(way_out: Exit) -> None:
    way_out.let(way_out.arrived(), None, answered(scene(1), scene(0)))
    assert way_out.left("raw") is None
    way_out.egress.wants = frozenset({"raw", "split"})
    way_out.let(way_out.arrived(), None, answered(scene(1), scene(0)))
    raw, split = way_out.left("raw"), way_out.left("split")
    assert raw is not None
    assert split is not None
    assert raw[1] == PAYLOAD
    assert raw[0].place == split[0].place == (1, 8)
    assert raw[0].flags == Flag.BYPASS
    shown = jpeg.decode(split[1])
    assert read(shown) is not None  # half of it is an engine's
    left, right = shown.pixels[8:, :30].astype(int), shown.pixels[8:, 34:].astype(int)
    assert np.abs(left - scene(0).pixels[8:, :30]).mean() < 6
    assert np.abs(right - scene(1).pixels[8:, 34:]).mean() < 6


def test_split_of_a_raw_frame_is_the_raw_frame(way_out: Exit) -> None:
    way_out.egress.wants = frozenset({"split"})
    way_out.let(way_out.arrived(), Reason.CLEAR)
    split = way_out.left("split")
    assert split is not None
    assert split[1] == PAYLOAD


@pytest.mark.parametrize("watched", [True, False])
def test_no_jpeg_is_made_that_nobody_looks_at(
    watched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A camera's picture on its way to a sink alone: restored and raw, marked and told of."""
    made: list[Picture] = []

    def encode(picture: Picture, quality: int) -> bytes:
        made.append(picture)
        return PAYLOAD

    monkeypatch.setattr(jpeg, "encode", encode)
    sink = Slot.create(100_000)
    with slots() as outs:
        way = Exit(outs, "rtsp://h/x", (sink,))
        way.egress.watched = watched
        for reason, answer in ((None, answered(planes(1))), (Reason.CLEAR, None)):
            left = way.let(way.arrived(planes(0)), reason, answer)
            assert left is not None  # the service's watchdog is fed by it
            assert left[1] == (PAYLOAD if watched else b"")
            item = sink.take()
            assert item is not None
            sent = picture_of(Packet.unpack(item.head), item.body)
            assert (read(sent) is not None) is (reason is None)
        assert len(made) == 2 * watched
        told = [e.data["mark"] for e in way.events if e.kind is EventKind.EMIT]
        assert told == ["AI", None]
        assert way.egress.left == 2
    sink.close()


def test_who_pushes_is_answered_whoever_looks(way_out: Exit) -> None:
    way_out.egress.watched = False
    assert way_out.let(way_out.arrived(), Reason.CLEAR) is not None


def test_the_card_comes_again_and_again_in_every_view(way_out: Exit) -> None:
    way_out.let(way_out.arrived(), Reason.CLEAR)
    way_out.egress.wants = frozenset({"raw"})
    assert way_out.egress.card_due_ns == way_out.now + 500 * MS
    for _ in range(2):
        way_out.now += 500 * MS
        way_out.egress.card(way_out.now)
        for view in ("restored", "raw"):
            left = way_out.left("restored" if view == "restored" else "raw")
            assert left is not None
            assert left[0].flags == Flag.CARD | Flag.STALE
            assert (left[0].width, left[0].height) == (64, 48)
    assert [e.kind for e in way_out.events].count(EventKind.CARD) == 2


def test_originals_of_the_last_two_seconds_are_there_and_bounded() -> None:
    kept = Originals(replace(Limits(), original_bytes=10_000))
    for n in range(100):
        head = replace(HEAD, seq=n, capture_ns=n * 100 * MS)
        assert kept.keep(head, np.full(300, n, np.uint8))
    assert kept.get((1, 99)) is not None
    found = kept.get((1, 80))
    assert found is not None
    assert found[1][0] == 80
    assert kept.get((1, 78)) is None  # 2.1 s ago
    for n in range(100, 110):
        kept.keep(replace(HEAD, seq=n, capture_ns=n * 100 * MS), np.zeros(3000, np.uint8))
    assert kept.get((1, 107)) is not None
    assert kept.get((1, 106)) is None  # over the bytes


def test_an_original_is_given_as_it_came_in(way_out: Exit) -> None:
    way_out.let(way_out.arrived(), None, answered(scene(1)))
    head, parts = way_out.egress.original((1, 8))
    assert Packet.unpack(head).place == (1, 8)
    assert parts[0].tobytes() == PAYLOAD
    head, parts = way_out.egress.original((1, 9))
    assert Packet.unpack(head).width == 0
    assert parts == []


def test_what_is_told_of_a_frame_is_what_left(way_out: Exit) -> None:
    way_out.let(way_out.arrived(), None, answered(scene(1)))
    told = way_out.events[-1]
    assert told.kind is EventKind.EMIT
    assert told.data["age_ns"] == 10 * MS
    assert told.data["mark"] == "AI"
    assert told.data["original"] is True
    assert told.data["engine"] == "fake"
    assert way_out.egress.shown_ns == way_out.now
    assert way_out.egress.clock() != time.monotonic_ns()


def test_what_was_old_when_it_came_is_old(camera: Exit) -> None:
    """A camera's picture that was held up on its way: its mark, its drop, and what is told."""
    arrived = camera.arrived(planes(3))
    for late_ms, flags in ((50, Flag.LATE), (120, Flag.LATE | Flag.STALE), (600, None)):
        left = camera.let(
            replace(arrived, packet=replace(arrived.packet, late_ns=late_ms * MS)), Reason.LATE
        )
        assert (None if left is None else left[0].flags) == flags
        told = camera.events[-1]
        if left is not None:
            assert told.data["age_ns"] == (10 + late_ms) * MS
    assert told.kind is EventKind.DROP
    assert told.data["reason"] == "AGE"


@pytest.fixture
def sink() -> Iterator[Slot]:
    slot = Slot.create(64 * 48 * 3)
    yield slot
    slot.close()


def test_a_sink_gets_the_marked_picture_itself(sink: Slot) -> None:
    """Planes, not a JPEG of them; nothing waits for a sink that takes nothing."""
    with slots() as outs:
        out = Exit(outs, "file:x", (sink,))
        for _ in range(3):
            out.let(out.arrived(planes(3)), None, answered(planes(4)))
        item = sink.take()
        assert item is not None
        assert item.missed == 2
        head = Packet.unpack(item.head)
        assert (head.codec, head.colour, head.flags) == ("i420", planes(3).colour, Flag.RESTORED)
        assert read(picture_of(head, item.body)) == Mark(True, False, 2)
        assert BARE not in head.note


def test_a_sink_hears_that_a_payload_carries_no_mark(sink: Slot) -> None:
    with slots() as outs:
        out = Exit(outs, "push", (sink,))
        out.let(out.arrived(age_ms=150), Reason.LATE)
        item = sink.take()
        assert item is not None
        head = Packet.unpack(item.head)
        assert item.body.tobytes() == PAYLOAD
        assert head.note[BARE] is True
        assert head.flags & Flag.STALE
        out.egress.card(out.now)
        item = sink.take()
        assert item is not None
        assert Packet.unpack(item.head).flags & Flag.CARD
