"""Streams that publish to a real RTSP server, which another player watches; and its failures."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from relays import Relay, missing, relay, watched
from streams import LIMITS, Live, engines, planes

from engines.picture import Plane, Yuv420
from server.decode_process import Shown
from server.frame import Provenance
from server.manager import StreamManager, StreamSpec
from server.mark import Mark, read
from server.spec import SinkReport

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "there")

SOON = replace(LIMITS, hang_ms=2500, stale_stop_ms=2000)


def numbered(source: str) -> Iterator[Shown]:
    """25 pictures a second that say their number, without end; stops where the file says so."""
    seq = 0
    path = Path(source.removeprefix("file:"))
    while True:
        while path.read_text() == "stall":
            threading.Event().wait(0.05)
        yield Shown(planes(seq), seq / 25)
        seq += 1


@asynccontextmanager
async def publishing(tmp_path: Path, *urls: str) -> AsyncIterator[Live]:
    path = tmp_path / "command"
    path.write_text("go")
    async with StreamManager(engines(tmp_path / "engine"), limits=SOON, feed=numbered) as manager:
        spec = StreamSpec(
            source=f"file:{path}", engine="fake", sinks=urls, deadline_ms=700, max_age_ms=1400
        )
        stream_id = await manager.start(spec)
        run = Live(manager, stream_id, manager.number(stream_id), path)
        watching = asyncio.create_task(run.view(manager.subscribe(stream_id, "restored")))
        try:
            yield run
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


def sink(live: Live) -> SinkReport:
    return live.state.sinks[0]


class Player:
    """Somebody else's player, in a thread, from a server that may come and go."""

    def __init__(self, url: str) -> None:
        self.seen: list[tuple[int, Plane]] = []
        self._url, self._over = url, threading.Event()
        self._thread = threading.Thread(target=self._play, daemon=True)

    def _play(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(AssertionError):
                for number, _, luma in watched(self._url, self._over):
                    self.seen.append((number, luma))
                    if self._over.is_set():
                        return

    def __enter__(self) -> Player:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def test_another_player_sees_what_the_selector_gave(tmp_path: Path) -> None:
    """Marked where it is restored, untouched where it is raw, in order."""

    async def run(served: Relay) -> None:
        async with publishing(tmp_path, served.entry("restored")) as live:
            await live.until_last("RESTORED")
            with Player(served.exit("restored")) as player:
                await live.until(lambda: len(player.seen) > 20, "played")
                await live.manager.bypass(live.id, True)
                await live.until_last("BYPASS")
                raw = len(player.seen) + 5
                await live.until(lambda: len(player.seen) > raw + 10, "played on")
            numbers = [number for number, _ in player.seen]
            assert numbers == sorted(set(numbers))
            given = {shown.place_seq: shown.provenance for shown in live.shown}
            marked = {number: read_of(luma) is not None for number, luma in player.seen}
            both = set(given) & set(marked)
            assert len(both) > 30
            assert {n: marked[n] for n in both} == {
                n: given[n] is Provenance.RESTORED for n in both
            }
            assert len({marked[n] for n in both}) == 2
            report = sink(live)
            assert (report.state, report.connections, report.restarts) == ("up", 1, 0)
            assert report.sent + sum(report.dropped.values()) + report.under_way == report.frames
            live.sound()

    with relay("restored") as served:
        asyncio.run(run(served))


def read_of(luma: Plane) -> Mark | None:
    half = luma[::2, ::2]
    return read(Yuv420(luma, half, half))


def test_a_server_that_vanishes_and_one_that_freezes_hold_up_nothing(tmp_path: Path) -> None:
    """The stream's own viewers get every picture meanwhile; the player gets it back by itself."""

    async def run(served: Relay) -> None:
        async with publishing(tmp_path, served.entry("restored")) as live:
            await live.until_last("RESTORED")
            with Player(served.exit("restored")) as player:
                await live.until(lambda: len(player.seen) > 5, "played")
                served.vanish()
                await live.until(lambda: sink(live).state == "down", "noticed")
                assert "server" in str(sink(live).why)
                await live.more(25)
                served.start()
                await live.until(lambda: sink(live).state == "up", "back")
                count = len(player.seen)
                await live.until(lambda: len(player.seen) > count + 5, "played again")
                served.freeze(True)
                dropped = sum(sink(live).dropped.values())
                await live.more(25)
                os.kill(live.pid("sink"), signal.SIGSTOP)  # and should it hang itself
                await live.until(lambda: sink(live).restarts == 1, "replaced")
                await live.more(5)
                await live.until(lambda: sum(sink(live).dropped.values()) > dropped, "counted")
                served.vanish()
            names = [event.name for event in live.state.events]
            assert names.count("sink.lost") >= 2
            report = sink(live)
            assert report.sent + sum(report.dropped.values()) + report.under_way == report.frames
            live.sound()

    with relay("restored") as served:
        asyncio.run(run(served))


def test_a_silent_source_shows_the_card_at_the_player(tmp_path: Path) -> None:
    async def run(served: Relay) -> None:
        async with publishing(tmp_path, served.entry("restored")) as live:
            await live.until_last("RESTORED")
            with Player(served.exit("restored")) as player:
                await live.until(lambda: len(player.seen) > 5, "played")
                picture = player.seen[-1][1]
                live.command("stall")
                await live.until(lambda: "SIGNAL_LOST" in live.state.alarms, "no signal")
                await live.until(
                    lambda: abs(player.seen[-1][1].mean() - picture.mean()) > 30, "the card"
                )
                live.command("go")
                await live.until(
                    lambda: abs(player.seen[-1][1].mean() - picture.mean()) < 30, "a picture"
                )
            assert (sink(live).connections, sink(live).restarts) == (1, 0)

    with relay("restored") as served:
        asyncio.run(run(served))
