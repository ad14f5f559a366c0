"""The whole of it: real stream processes behind real sockets, from push to answer."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from itertools import count

import httpx
import psutil
import pytest
from fakes import FakeRestorer
from scripted import CATALOG, Listening, config_of, jpeg, listening

from server.catalog import Catalog
from server.engine_process import RestorerFactory
from server.manager import StreamManager
from surgiclear_client import Client, Closed, Dropped, Frame, Push

FACTORIES = {"veil": RestorerFactory(name="veil", make=FakeRestorer)}


@pytest.fixture(scope="module")
def service() -> Iterator[Listening]:
    catalog = Catalog(CATALOG.offers, FACTORIES, "veil")
    # a deadline for a busy machine: these tests are of answers, not of speed
    config = config_of(live={"deadline_ms": 900.0, "max_age_ms": 9000.0})
    with listening(config, manager=StreamManager(FACTORIES), catalog=catalog) as running:
        yield running


@pytest.fixture
def live(service: Listening) -> Iterator[Push]:
    with Client(service.url) as client, client.push() as push:
        yield push


def until_restored(live: Push) -> Frame:
    """Pushes until the engine is warm."""
    for _ in range(600):
        live.send(jpeg(320, 240))
        answer = live.receive()
        if isinstance(answer, Frame) and answer.restored:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"never restored, last {answer}")


def test_live_frames_are_answered_once_each(live: Push) -> None:
    """Faster than it can be done: newer frames win, and each has its answer still."""
    until_restored(live)
    answers = list(live.exchange(jpeg(320, 240, shade) for shade in range(60, 110)))
    seqs = [answer.seq for answer in answers]
    assert len(seqs) == len(set(seqs)) == 50 and not live.pending
    shown = [answer for answer in answers if isinstance(answer, Frame)]
    assert shown and [f.seq for f in shown] == sorted(f.seq for f in shown)
    assert all(f.restored != bool(f.reason) for f in shown)
    assert all(f.added_ms > 0 for f in shown)


def test_lossless_frames_are_all_restored_in_order(service: Listening) -> None:
    with Client(service.url) as client, client.push(mode="lossless", credits=4) as live:
        until_restored(live)
        answers = list(live.exchange(jpeg(320, 240, shade) for shade in range(60, 110)))
        assert all(isinstance(answer, Frame) and answer.restored for answer in answers)
        assert [answer.seq for answer in answers] == sorted(answer.seq for answer in answers)


def test_bypass_gives_the_very_bytes_that_came(live: Push) -> None:
    until_restored(live)
    live.bypass(True)
    for shade in range(60, 80):
        payload = jpeg(320, 240, shade)
        live.send(payload)
        answer = live.receive()
        if isinstance(answer, Dropped):
            continue
        assert answer is not None and not answer.restored
        assert answer.reason == "BYPASS" and answer.payload == payload


def test_a_dead_engine_leaves_the_picture_and_the_bypass(service: Listening, live: Push) -> None:
    until_restored(live)
    (engine,) = [
        child
        for child in psutil.Process().children(recursive=True)
        if child.cmdline()[:1] == [f"surgiclear: engine {live.welcome.stream}"]
    ]
    engine.kill()
    shown = 0
    for shade in (n % 100 + 60 for n in count()):
        live.send(jpeg(320, 240, shade))
        answer = live.receive(20)
        assert answer is not None  # always an answer
        if isinstance(answer, Frame) and not answer.restored:
            shown += 1
        if shown == 5:
            break
    live.bypass(True)
    live.send(jpeg())
    answer = live.receive(20)
    assert isinstance(answer, Frame | Dropped)


def test_a_viewer_sees_what_is_pushed(service: Listening, live: Push) -> None:
    until_restored(live)
    with Client(service.url) as client, client.view(live.welcome.stream_id, want="raw") as watch:
        payload = jpeg(320, 240, 77)
        seen = None
        for _ in range(40):
            live.send(payload)
            live.receive()
            seen = watch.receive(0.5) or seen
            if seen is not None:
                break
        assert seen is not None and seen.payload == payload
        assert seen.stream == live.welcome.stream
        states = client.streams()
        assert [s["id"] for s in states] == [live.welcome.stream_id]
        assert states[0]["frames_in"] > 0 and states[0]["spec"]["source"] == "push"
        snapshot_needs_frames(client, live)


def snapshot_needs_frames(client: Client, live: Push) -> None:
    """A snapshot is of a picture that leaves while it is asked for."""
    import threading

    stop = threading.Event()
    taken: list[bytes] = []

    def take() -> None:
        taken.append(client.snapshot(live.welcome.stream_id, "split"))
        stop.set()

    thread = threading.Thread(target=take)
    thread.start()
    while not stop.is_set() and thread.is_alive():
        live.send(jpeg(320, 240))
        live.receive()
    thread.join()
    assert taken and taken[0][:2] == b"\xff\xd8"


def named(number: int) -> list[str]:
    """Titles of the processes of a stream."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            found += [title for title in child.cmdline()[:1] if title.endswith(f" {number}")]
    return found


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_an_ended_socket_ends_its_processes(service: Listening) -> None:
    with Client(service.url) as client:
        live = client.push()
        number = live.welcome.stream
        until(lambda: f"surgiclear: engine {number}" in named(number))
        live.close()
        until(lambda: client.streams() == [])
    until(lambda: named(number) == [])


def test_a_stopped_stream_ends_its_socket(service: Listening, live: Push) -> None:
    response = httpx.delete(
        f"{service.url}/v1/streams/{live.welcome.stream_id}", trust_env=False, timeout=30
    )
    assert response.status_code == 204
    with pytest.raises(Closed) as closed:
        live.receive(20)
    assert closed.value.code == 1001
