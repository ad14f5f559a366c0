"""Streams from a camera behind a real RTSP server: order, losses, and the reasons given."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from fakes import FakeRestorer
from prometheus_client import generate_latest
from relays import Camera, Relay, missing, number_of, relay
from streams import LIMITS, Live

from server import jpeg, tcp
from server.engine_process import RestorerFactory
from server.errors import LoginRefused, SourceUnreadable
from server.feed import feed
from server.manager import Outgoing, StreamManager, StreamSpec
from server.metrics import Metrics

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "there")

CANARY = "canary-7781"
FACTORIES = {"fake": RestorerFactory(name="fake", make=FakeRestorer)}
SOON = replace(LIMITS, stale_warn_ms=1500, stale_stop_ms=700, slack_ms=5000)


@pytest.fixture(scope="module")
def served() -> Iterator[Relay]:
    with relay("camera,other") as one:
        yield one


@asynccontextmanager
async def stream(url: str, **spec: object) -> AsyncIterator[Live]:
    """A live stream of the address and all that comes out of it."""
    async with StreamManager(FACTORIES, limits=SOON) as manager:
        wish = StreamSpec(source=url, engine="fake", deadline_ms=700, max_age_ms=1400)
        stream_id = await manager.start(replace(wish, **spec))  # type: ignore[arg-type]
        run = Live(manager, stream_id, manager.number(stream_id), Path("/none"))
        viewer = manager.subscribe(stream_id, "restored")
        watching = asyncio.create_task(run.view(viewer))
        try:
            yield run
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


async def back(live: Live, epoch: int) -> None:
    """Waits for a picture of a later epoch."""
    await live.until(lambda: live.shown[-1].epoch > epoch, "back")


def number(picture: Outgoing) -> int:
    return number_of(jpeg.decode(picture.payload).pixels[..., 1])


def test_pictures_come_in_order_and_again_after_each_loss(served: Relay) -> None:
    """Three times: the camera leaves (signal lost, with the reason), and comes back by itself."""

    async def run() -> None:
        camera = Camera(served.entry("camera"))
        camera.on()
        try:
            async with stream(served.exit("camera")) as live:
                await live.until_last("RESTORED")
                await live.more(10)
                before = len(live.state.events)
                for loss in range(1, 4):
                    await asyncio.to_thread(camera.off)
                    await live.until(lambda: "SIGNAL_LOST" in live.state.alarms, "no signal")
                    await live.until(lambda: bool(live.state.trouble), "a reason")
                    epoch = live.state.epoch
                    camera.on()
                    await back(live, epoch)
                    await live.more(5)
                    await live.until(lambda: "SIGNAL_LOST" not in live.state.alarms, "signal")
                    assert live.state.trouble is None
                    assert live.state.restarts["source"] == loss
                numbers = [number(picture) for picture in live.shown]
                assert numbers == sorted(set(numbers))
                assert len(numbers) > 25
                assert live.state.restarts.get("decode", 0) == 0  # no process had to be replaced
                events = live.state.events[before:]
                assert [event.name for event in events].count("source.back") == 3
                lost = [event.data["why"] for event in events if event.name == "source.lost"]
                assert len([why for why in lost if why]) >= 2
                live.sound()
        finally:
            camera.off()

    asyncio.run(run())


def test_a_killed_decoder_and_a_frozen_server_are_survived(served: Relay) -> None:
    async def run() -> None:
        camera = Camera(served.entry("other"))
        camera.on()
        try:
            async with stream(served.exit("other")) as live:
                await live.until_last("RESTORED")
                epoch = live.state.epoch
                live.signal("decode", signal.SIGKILL)
                await live.until(lambda: live.state.restarts.get("decode", 0) == 1, "restarted")
                await back(live, epoch)
                epoch = live.state.epoch
                pid = live.signal("decode", signal.SIGSTOP)  # hangs, whatever libav promises
                await live.until(lambda: live.state.restarts["decode"] == 2, "replaced")
                await back(live, epoch)
                assert live.pid("decode") != pid
                await live.more(3)
                live.sound()
        finally:
            camera.off()

    asyncio.run(run())


def test_a_silent_camera_is_left_and_dialled_again() -> None:
    """It keeps the connection and sends nothing."""

    async def run() -> None:
        with relay("camera") as one:
            camera = Camera(one.entry("camera"))
            camera.on()
            async with stream(one.exit("camera")) as live:
                await live.more(5)
                one.freeze(True)
                await live.until(lambda: bool(live.state.trouble), "trouble")
                await live.until(lambda: "SIGNAL_LOST" in live.state.alarms, "no signal")
                one.vanish()  # what is frozen does not come back: another one does
                await asyncio.to_thread(camera.off)
                one.start()
                camera.on()
                count = len(live.shown)
                await live.until(lambda: len(live.shown) > count + 3, "back")
                live.sound()
            await asyncio.to_thread(camera.off)

    asyncio.run(run())


def test_what_has_come_is_acknowledged_at_once(
    served: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With each picture, on the connection to the camera: else its server holds the next one."""
    ports: list[list[int]] = []

    def note(fds: list[int]) -> None:
        ports.append([])
        for fd in fds:
            with socket.socket(fileno=os.dup(fd)) as one:
                ports[-1].append(one.getpeername()[1])
        acknowledge(fds)

    acknowledge = tcp.acknowledge_at_once
    monkeypatch.setattr(tcp, "acknowledge_at_once", note)
    camera = Camera(served.entry("camera"))
    camera.on()
    for count, _ in enumerate(until_played(served.exit("camera"))):
        if count == 20:
            break
    camera.off()
    assert len(ports) >= 20
    assert all(set(one) == {served.port} for one in ports[-20:])


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("rtsp://u:canary-7781@127.0.0.1:{port}/out/nothing", "has nothing at this path"),
        ("rtsp://u:canary-7781@127.0.0.1:1/x", "refuses the connection"),
        ("rtsp://u:canary-7781@no-such-host.invalid/x", "cannot be reached"),
    ],
)
def test_what_is_wrong_is_said_in_words(served: Relay, url: str, said: str) -> None:
    with pytest.raises(SourceUnreadable, match=said) as caught:
        next(feed(url.format(port=served.port)))
    assert CANARY not in repr(caught.value)
    assert caught.value.__cause__ is None


def test_a_wrong_password_is_said_so_and_the_right_one_works() -> None:
    with relay("camera", login=f"or3:{CANARY}") as one:
        camera = Camera(one.entry("camera"))
        camera.on()
        assert next(until_played(one.exit("camera"))) is not None
        for other in (f"or3:{CANARY[:-1]}@", "nobody:x@", ""):
            with pytest.raises(LoginRefused, match="user and password") as caught:
                next(feed(one.exit("camera").replace(f"or3:{CANARY}@", other)))
            assert CANARY[:-1] not in repr(caught.value)
        camera.off()


def until_played(url: str) -> Iterator[object]:
    """Pictures, once the publisher is there."""
    while True:
        try:
            yield from feed(url)
        except SourceUnreadable:
            continue


def test_a_password_is_nowhere(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Not in state, events, history, metrics, the names of processes, or the output."""

    async def run() -> str:
        url = f"rtsp://or3:{CANARY}@127.0.0.1:1/x"
        async with stream(url, sinks=(f"rtsp://or3:{CANARY}@127.0.0.1:1/y",)) as live:
            await live.until(lambda: bool(live.state.trouble), "a reason")
            await live.until(lambda: "SIGNAL_LOST" in live.state.alarms, "no signal")
            state = live.state
            live.manager.save_history(live.id, tmp_path / "history")
            seen = [
                repr(asdict(replace(state, spec=replace(state.spec, source="", sinks=())))),
                (tmp_path / "history").read_text(),
                generate_latest(Metrics(lambda: [state]).registry).decode(),
                Path(f"/proc/{live.pid('decode')}/cmdline").read_text(),
                Path(f"/proc/{live.pid('sink')}/cmdline").read_text(),
                subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True).stdout,
            ]
            assert "refuses the connection" in seen[1]
            return "".join(seen)

    seen = asyncio.run(run())
    out, err = capfd.readouterr()
    assert CANARY not in seen + out + err
