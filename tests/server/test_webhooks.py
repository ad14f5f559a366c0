"""Webhooks: delivered, signed, retried, bounded, and never in anybody's way."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import io
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from server.config import WebhookSection
from server.errors import SettingInvalid
from server.log import make_log
from server.metrics import Metrics
from server.spec import StreamEvent
from server.webhooks import SIGNATURE, Webhooks, body_of

SMOKE = StreamEvent("id", "smoke.persistent", 5, 6.0, {"level": 3})


class Post:
    def __init__(self, head: str, body: bytes) -> None:
        self.headers = {
            name.lower(): text.strip()
            for name, _, text in (line.partition(":") for line in head.splitlines()[1:])
        }
        self.body = body


class Receiver:
    """An HTTP server that answers with the next of `statuses` (0: hangs; -1: cuts), then 200."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.posts: list[Post] = []
        self.url = ""
        self.tasks: set[asyncio.Task[None]] = set()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                post = Post(head, b"")
                post.body = await reader.readexactly(int(post.headers["content-length"]))
                self.posts.append(post)
                status = self.statuses.pop(0) if self.statuses else 200
                if status == 0:
                    await reader.read()  # until the other side gives up
                    break
                if status == -1:
                    break
                writer.write(f"HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n".encode())
        writer.close()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[Receiver]:
        server = await asyncio.start_server(self.answer, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
        try:
            yield self
        finally:
            server.close()
            await asyncio.gather(*self.tasks)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def outcomes(metrics: Metrics) -> dict[str, float]:
    return {
        s.labels["outcome"]: s.value
        for s in next(iter(metrics.webhooks.collect())).samples
        if s.name.endswith("_total")
    }


async def run(
    receiver: Receiver, offered: list[StreamEvent], done: dict[str, float], **section: object
) -> list[float]:
    """Offers events, waits for the outcomes `done`; returns the pauses between tries."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    metrics = Metrics()
    async with receiver.listening():
        settings = WebhookSection.model_validate({"url": receiver.url, **section})
        hooks = Webhooks((settings,), metrics, make_log(file=io.StringIO()), sleep=sleep)
        hooks.start()
        try:
            for event in offered:
                hooks.offer(event)
            await until(lambda: outcomes(metrics) == done)
        finally:
            await hooks.close()
    return pauses


def test_an_event_is_posted_and_signed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("0123456789abcdef\n")
    receiver = Receiver()
    asyncio.run(run(receiver, [SMOKE], {"delivered": 1}, secret_file=tmp_path / "secret"))
    (post,) = receiver.posts
    assert json.loads(post.body) == {
        "event": "smoke.persistent",
        "stream_id": "id",
        "at_ns": 5,
        "wall_s": 6.0,
        "data": {"level": 3},
    }
    expected = hmac.new(b"0123456789abcdef", post.body, "sha256").hexdigest()
    assert post.headers[SIGNATURE.lower()] == f"sha256={expected}"


def test_only_events_that_were_asked_for_are_posted() -> None:
    receiver = Receiver()
    events = [
        StreamEvent("id", name, 0, 0.0)
        for name in ("engine.ready", "alarm.raised", "bypass.on", "lens.clean", "alarm.cleared")
    ]
    asyncio.run(run(receiver, events, {"delivered": 2}, events=["alarm.*"]))
    names = [json.loads(post.body)["event"] for post in receiver.posts]
    assert names == ["alarm.raised", "alarm.cleared"]


def test_a_failure_is_tried_again_with_growing_pauses() -> None:
    receiver = Receiver(500, 429, -1, 200)
    done = {"retry": 3.0, "delivered": 1.0}
    pauses = asyncio.run(run(receiver, [SMOKE], done, pause_s=0.5))
    assert pauses == [0.5, 1.0, 2.0]
    assert [post.body for post in receiver.posts] == [body_of(SMOKE)] * 4


def test_tries_are_bounded_and_the_next_event_gets_its_turn() -> None:
    receiver = Receiver(500, 500, 500)
    later = StreamEvent("id", "lens.clean", 7, 8.0)
    done = {"retry": 3.0, "given_up": 1.0, "delivered": 1.0}
    asyncio.run(run(receiver, [SMOKE, later], done, tries=3))
    assert len(receiver.posts) == 4


def test_a_refusal_is_final() -> None:
    receiver = Receiver(403)
    asyncio.run(run(receiver, [SMOKE], {"refused": 1.0}))
    assert len(receiver.posts) == 1


def test_a_hanging_receiver_times_out() -> None:
    receiver = Receiver(0)
    done = {"retry": 1.0, "delivered": 1.0}
    asyncio.run(run(receiver, [SMOKE], done, timeout_s=0.2))
    assert len(receiver.posts) == 2


def test_a_full_queue_loses_the_oldest_and_offering_never_waits() -> None:
    async def scenario() -> tuple[dict[str, float], float, list[int]]:
        metrics, receiver = Metrics(), Receiver(0)
        async with receiver.listening():
            settings = WebhookSection(url=receiver.url, queue=3, timeout_s=0.3, tries=1)
            hooks = Webhooks((settings,), metrics, make_log(file=io.StringIO()))
            hooks.start()
            started = time.perf_counter()
            for number in range(1000):
                hooks.offer(StreamEvent("id", "alarm.raised", number, 0.0))
            took = time.perf_counter() - started
            await until(lambda: outcomes(metrics).get("delivered") == 2)
            await hooks.close()
        return outcomes(metrics), took, [json.loads(p.body)["at_ns"] for p in receiver.posts]

    counts, took, posted = asyncio.run(scenario())
    assert counts["overflow"] == 997
    assert posted == [997, 998, 999]  # the newest three; the first of them met the hanging receiver
    assert took < 5.0  # a thousand offers against a receiver that never answers


@pytest.mark.parametrize("content", [None, b"short"])
def test_a_useless_secret_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingInvalid):
        Webhooks((WebhookSection(url="http://a", secret_file=path),), Metrics(), make_log())
