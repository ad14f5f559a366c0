"""Both clients against a service that listens: the same calls, the same answers."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from crashing import CrashingRestorer
from picture_files import SOUND
from PIL import Image
from scripted import CATALOG, Listening, config_of, jpeg, listening, picture

from server.auth import Role, new_token
from server.catalog import Catalog
from server.engine_process import RestorerFactory
from surgiclear_client import (
    AsyncClient,
    Client,
    Closed,
    Dropped,
    Frame,
    Refused,
    Unreachable,
)
from surgiclear_client.rest import base_of

ENGINES = Catalog(
    CATALOG.offers, {"veil": RestorerFactory(name="veil", make=CrashingRestorer)}, "veil"
)


@pytest.fixture(scope="module")
def running() -> Iterator[Listening]:
    with listening(config_of(stills={"workers": 1}), catalog=ENGINES) as service:
        yield service


@pytest.fixture
def service(running: Listening) -> Listening:
    running.reset()
    return running


@pytest.fixture
def client(service: Listening) -> Iterator[Client]:
    with Client(service.url) as opened:
        yield opened


def test_a_numpy_picture_comes_back_as_one(client: Client) -> None:
    done = client.restore(picture())
    assert done.restored and done.reason is None and done.engine == "veil"
    assert done.levels.smoke == 2 and done.latency_ms > 0
    change = done.pixels.astype(int) - picture()
    assert np.median(change) == pytest.approx(8, abs=1)


def test_bytes_keep_their_format(client: Client) -> None:
    for name, media_type in (("jpeg", "image/jpeg"), ("png", "image/png")):
        done = client.restore(SOUND[name])
        assert done.media_type == media_type and done.pixels.shape == (30, 40, 3)
    done = client.restore(SOUND["jpeg"], format="png", compare="side", strength=0.5)
    assert Image.open(io.BytesIO(done.content)).size == (80, 30)


def test_detect_and_engines(client: Client) -> None:
    assert client.detect(picture())["smoke"]["level"] == 2
    assert [e["name"] for e in client.engines()] == ["veil", "other"]


def test_a_refusal_says_why(client: Client) -> None:
    with pytest.raises(Refused) as refused:
        client.restore(b"no picture")
    assert (refused.value.status, refused.value.code) == (400, "not_an_image")
    assert refused.value.retry_after_s is None
    with pytest.raises(Refused) as refused:
        client.state("nobody")
    assert refused.value.status == 404


def test_streams_are_steered(service: Listening, client: Client) -> None:
    name = client.start("phantom:", strength=0.5, engine=None)["id"]
    assert [s["id"] for s in client.streams()] == [name]
    assert client.bypass(name, True)["bypass"] is True
    assert client.set_engine(name, "other")["engine"] == "other"
    assert client.set_strength(name, 0.25)["strength"] == 0.25
    assert client.snapshot(name, "raw") == jpeg()
    assert client.state(name)["spec"]["strength"] == 0.5
    client.stop(name)
    assert client.streams() == []


def test_frames_are_exchanged_in_order(service: Listening, client: Client) -> None:
    service.manager.deed = lambda seq: "lose" if seq % 5 == 4 else "restore"
    with client.push(credits=3, want="raw", strength=0.5) as live:
        assert live.credit == 3 and live.welcome.engine == "veil"
        answers = list(live.exchange(picture(shade=60 + n) for n in range(20)))
    assert sorted(a.seq for a in answers) == list(range(20))
    lost = [a.seq for a in answers if isinstance(a, Dropped) and a.reason == "AGE"]
    shown = [a for a in answers if isinstance(a, Frame)]  # others may be superseded
    assert sorted(lost) == [4, 9, 14, 19] and shown
    for frame in shown:
        expected = picture(shade=60 + frame.seq).astype(int)
        assert np.abs(frame.pixels - expected).max() < 16


def test_control_goes_along(service: Listening, client: Client) -> None:
    with client.push() as live:
        live.bypass(True)
        live.strength(0.75)
        live.want("split")
        live.send(jpeg(), seq=5, capture_ts_ns=77)
        answer = live.receive()
        assert isinstance(answer, Frame)
        assert (answer.seq, answer.capture_ts_ns, answer.reason) == (5, 77, "BYPASS")
        assert live.receive(timeout_s=0) is None
    name = live.welcome.stream_id
    assert {("bypass", name, True), ("strength", name, 0.75)} <= set(service.manager.calls)


def test_a_viewer_that_is_slow_gets_the_newest(service: Listening, client: Client) -> None:
    name = service.begin()
    with client.view(name) as frames:
        for _ in range(50):
            service.do(lambda: service.manager.feed(name))
        first = frames.receive(10)
        assert first is not None
        time.sleep(0.2)  # showing it
        newest = frames.receive(10)
        assert newest is not None and newest.seq == 50
        assert frames.receive(0.1) is None


def test_an_ended_stream_ends_the_iteration(service: Listening, client: Client) -> None:
    name = service.begin()
    with client.view(name) as frames:
        service.do(lambda: service.manager.feed(name))
        timer = threading.Timer(0.3, lambda: client_stop(service, name))
        timer.start()
        assert [frame.seq for frame in frames] == [1]
        timer.join()


def client_stop(service: Listening, name: str) -> None:
    with Client(service.url) as other:
        other.stop(name)


def test_a_closed_connection_says_its_code(service: Listening, client: Client) -> None:
    with pytest.raises(Closed) as closed:
        client.view("nobody")
    assert closed.value.code == 4404 and "stream" in closed.value.message
    service.manager.full = True
    with pytest.raises(Closed) as closed:
        client.push()
    assert closed.value.code == 1013
    with pytest.raises(Closed) as closed:
        client.push(engine="nobody")
    assert closed.value.code == 4400 and "nobody" in closed.value.message


@pytest.mark.parametrize("url", ["", "ftp://a", "http://", "http://u:p@a", "http://a?token=b"])
def test_a_wrong_address_is_said(url: str) -> None:
    with pytest.raises(ValueError):
        base_of(url)


def test_nothing_there_is_unreachable() -> None:
    with Client("127.0.0.1:9", timeout_s=5) as client:
        with pytest.raises(Unreachable):
            client.streams()
        with pytest.raises(Unreachable):
            client.push()


def test_a_token_opens(tmp_path: Path) -> None:
    token, line = new_token("me", Role.OPERATOR)
    (tmp_path / "tokens").write_text(line)
    with listening(config_of(auth={"tokens_file": tmp_path / "tokens"})) as service:
        with Client(service.url, token=token) as client, client.push() as live:
            live.send(jpeg())
            assert live.receive() is not None and client.streams()
        with Client(service.url) as client:
            with pytest.raises(Refused) as refused:
                client.streams()
            assert refused.value.status == 401
            with pytest.raises(Closed) as closed:
                client.push()
            assert closed.value.code == 4401
        assert token not in service.logged.getvalue()


def test_the_async_client_does_the_same(service: Listening) -> None:
    async def scenario() -> None:
        async with AsyncClient(service.url) as client:
            done = await client.restore(picture(), compare="none")
            assert done.restored
            assert (await client.detect(SOUND["png"]))["fog"]["level"] == 0
            assert len(await client.engines()) == 2
            name = (await client.start("phantom:"))["id"]
            assert (await client.bypass(name, True))["bypass"]
            assert (await client.set_engine(name, "other"))["engine"] == "other"
            assert (await client.set_strength(name, 0.5))["strength"] == 0.5
            assert (await client.state(name))["id"] == name
            assert await client.snapshot(name) == jpeg()
            async with client.view(name) as frames:
                service.loop.call_soon_threadsafe(service.manager.feed, name)
                seen = await frames.receive(10)
                assert seen is not None and seen.seq == 1
                assert frames.welcome.stream_id == name
                await client.stop(name)
                assert [f async for f in frames] == []
            assert await client.streams() == []
            with pytest.raises(Refused):
                await client.restore(b"x")
            with pytest.raises(Closed):
                async with client.view("nobody"):
                    pass
        with pytest.raises(Unreachable):
            async with AsyncClient("127.0.0.1:9") as nobody:
                await nobody.streams()

    asyncio.run(scenario())


def test_async_frames_are_exchanged_while_sending_and_receiving_in_two_tasks(
    service: Listening,
) -> None:
    async def scenario() -> None:
        async with AsyncClient(service.url) as client, client.push(credits=4) as live:
            answers = [a.seq async for a in live.exchange(jpeg() for _ in range(20))]
            assert answers == list(range(20))
            await live.bypass(True)
            await live.want("raw")
            await live.strength(0.5)
            seen: list[int] = []

            async def listen() -> None:
                while len(seen) < 30:
                    answer = await live.receive(10)
                    assert answer is not None
                    seen.append(answer.seq)

            listener = asyncio.create_task(listen())
            for _ in range(30):
                await live.send(jpeg())
            await listener
            assert seen == list(range(20, 50)) and live.pending == 0
            assert await live.receive(0.05) is None

    asyncio.run(scenario())
