"""`surgiclear push` and `view`: a source played at its rate, a stream watched from a terminal."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from scripted import Listening, jpeg, listening

from server.errors import SettingInvalid, SourceUnreadable, StreamUnknown
from server.push import Pushed, Still, play, push, stills
from server.verbs import parse_plan
from server.view import Seen, view
from surgiclear_client import AsyncClient, Closed

PHANTOM = "phantom:?size=96x64&fps=20&seconds=1&episodes=none"


@pytest.fixture(scope="module")
def running() -> Iterator[Listening]:
    with listening() as service:
        yield service


@pytest.fixture
def service(running: Listening) -> Listening:
    running.reset()
    return running


def test_a_source_becomes_jpegs_with_their_times() -> None:
    frames = list(stills(PHANTOM, seconds=0.5))
    assert [round(f.at_s or 0, 3) for f in frames] == [round(n / 20, 3) for n in range(11)]
    assert all(f.jpeg[:2] == b"\xff\xd8" for f in frames)


def test_what_is_no_source_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadable):
        next(stills(str(tmp_path / "none.mp4")))
    with pytest.raises(SettingInvalid):
        next(stills("phantom:?size=huge"))


def test_it_is_played_and_counted(service: Listening) -> None:
    service.manager.deed = lambda seq: ("restore", "raw", "lose")[seq % 3]
    seen: list[int] = []
    started = time.monotonic()
    pushed = asyncio.run(
        push(PHANTOM, service.url, seconds=0.5, told=lambda so_far: seen.append(so_far.sent))
    )
    assert time.monotonic() - started >= 0.5  # at its own rate
    assert pushed.sent + pushed.skipped == 11 and pushed.lost == 0
    assert pushed.restored and pushed.raw["CLEAR"] and pushed.dropped["AGE"]
    assert seen[-1] == pushed.sent and len(pushed.round_trip_ms) == len(pushed.added_ms)
    assert "restored" in "\n".join(pushed.lines())


def test_a_frame_without_credit_is_skipped_and_an_unanswered_one_is_lost(
    service: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.push.DRAIN_S", 0.2)
    service.manager.deed = "hold"

    async def scenario() -> Pushed:
        async with AsyncClient(service.url) as client, client.push(credits=2) as live:
            return await play(live, iter([Still(jpeg(), None)] * 5))

    pushed = asyncio.run(scenario())
    assert (pushed.sent, pushed.skipped, pushed.lost) == (2, 3, 2)


def test_a_service_that_goes_is_an_error_not_a_short_report(service: Listening) -> None:
    def cut() -> None:
        (name,) = service.manager.list()
        service.do(lambda: service.loop.create_task(service.manager.stop(name)))

    def frames() -> Iterator[Still]:
        for number in range(1000):
            if number == 5:
                cut()
            yield Still(jpeg(), number / 50)

    async def scenario() -> None:
        async with AsyncClient(service.url) as client, client.push() as live:
            await play(live, frames())

    with pytest.raises(Closed) as closed:
        asyncio.run(scenario())
    assert closed.value.code == 1001


def test_a_view_says_what_it_sees_and_keeps_the_newest(service: Listening, tmp_path: Path) -> None:
    name = service.begin()
    lines: list[Seen] = []
    stop = threading.Event()

    def feed() -> None:
        while not stop.wait(0.02):
            service.do(lambda: service.manager.feed(name))

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        view(service.url, lines.append, save=tmp_path / "now.jpg", seconds=1.5)
    finally:
        stop.set()
        feeder.join()
    assert lines and lines[0].frames > 3 and "RAW CLEAR" in lines[0].line()
    assert (tmp_path / "now.jpg").read_bytes() == jpeg()
    assert [p.name for p in tmp_path.iterdir()] == ["now.jpg"]


def test_a_silent_stream_is_said(service: Listening) -> None:
    name = service.begin()
    lines: list[Seen] = []
    view(service.url, lines.append, stream=str(service.manager.number(name)), seconds=0.5)
    assert lines[0].line() == "no picture" and lines[0].gap_ms > 900


def test_a_stream_that_is_not_there_is_said(service: Listening) -> None:
    with pytest.raises(StreamUnknown):
        view(service.url, lambda seen: None)
    service.begin()
    with pytest.raises(StreamUnknown):
        view(service.url, lambda seen: None, stream="12345")


def test_plans() -> None:
    plan = parse_plan("2x640x360@25", 10.0)
    assert (plan.streams, plan.width, plan.height, plan.fps) == (2, 640, 360, 25.0)
    for text in ("", "640x360", "1x640x360@0", "0x640x360@25", "1x640x360@x", "1x2x3x4@25"):
        with pytest.raises(SettingInvalid):
            parse_plan(text, 10.0)
