"""Plays a source into a service at its own rate, as a camera would: a late frame is skipped."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from server import jpeg
from server.decode_process import Shown
from server.errors import SourceUnreadable
from server.feed import FILE, PHANTOM, feed
from server.rtsp import SCHEMES as RTSP_SCHEMES
from surgiclear_client import AsyncClient, Dropped, Frame
from surgiclear_client.session import Want

RATE_DEFAULT = 25.0  # of a source without times of its own
DRAIN_S = 5.0  # for the last answers


@dataclass(frozen=True, slots=True)
class Still:
    """An encoded frame and when it is due, in s from the start; None: at once."""

    jpeg: bytes
    at_s: float | None


@dataclass
class Pushed:
    """What became of the frames. skipped: found no credit in time; lost: no answer came."""

    sent: int = 0
    skipped: int = 0
    restored: int = 0
    raw: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    added_ms: list[float] = field(default_factory=list)
    round_trip_ms: list[float] = field(default_factory=list)

    @property
    def answered(self) -> int:
        return self.restored + self.raw.total() + self.dropped.total()

    @property
    def lost(self) -> int:
        return self.sent - self.answered

    def add(self, answer: Frame | Dropped, sent_ns: int | None) -> None:
        """Counts one answer."""
        if isinstance(answer, Dropped):
            self.dropped[answer.reason] += 1
            return
        if answer.restored:
            self.restored += 1
        else:
            self.raw[answer.reason or "?"] += 1
        self.added_ms.append(answer.added_ms)
        if sent_ns is not None:
            self.round_trip_ms.append((time.monotonic_ns() - sent_ns) / 1e6)

    def lines(self) -> list[str]:
        """For a person."""
        raw = ", ".join(f"{count} {reason}" for reason, count in self.raw.most_common())
        dropped = ", ".join(f"{count} {reason}" for reason, count in self.dropped.most_common())
        out = [
            f"{self.sent} frames sent, {self.answered} answered, {self.skipped} skipped",
            f"{self.restored} restored, raw: {raw or 'none'}, dropped: {dropped or 'none'}",
        ]
        if self.added_ms:
            p50, p99 = np.percentile(self.added_ms, (50, 99))
            out.append(f"added latency p50 {p50:.1f} ms, p99 {p99:.1f} ms")
        return out


def stills(
    source: str, *, quality: int = 90, loop: bool = False, seconds: float | None = None
) -> Iterator[Still]:
    """The frames of a file, "phantom:" or "rtsp://" as JPEG. Ends after one round unless `loop`,
    and after `seconds`. Raises SettingInvalid or SourceUnreadable."""
    named = source if source.startswith((FILE, PHANTOM, *RTSP_SCHEMES)) else f"{FILE}{source}"
    if named.startswith(FILE) and not Path(named.removeprefix(FILE)).is_file():
        raise SourceUnreadable(f"there is no file {named.removeprefix(FILE)}")
    offset_s = last_s = 0.0
    for shown in feed(named):
        if shown.again:
            if not loop:
                return
            offset_s = last_s + 1 / RATE_DEFAULT
        at_s = _due(shown, offset_s)
        last_s = last_s if at_s is None else at_s
        if seconds is not None and last_s > seconds:
            return
        yield Still(jpeg.encode(shown.picture, quality), at_s)


def _due(shown: Shown, offset_s: float) -> float | None:
    return None if shown.at_s is None else shown.at_s + offset_s


class Live(Protocol):
    """Where frames go and answers come from: an AsyncPush, or one that is watched."""

    @property
    def credit(self) -> int: ...
    @property
    def pending(self) -> int: ...
    async def send(self, picture: bytes) -> int: ...
    async def receive(self) -> Frame | Dropped | None: ...


async def play(
    live: Live,
    frames: Iterator[Still],
    told: Callable[[Pushed], None] = lambda pushed: None,
) -> Pushed:
    """Pushes frames when they are due, waits for the last answers. told: after every frame."""
    pushed = Pushed()
    stamps: dict[int, int] = {}

    async def listen() -> None:
        while (answer := await live.receive()) is not None:
            pushed.add(answer, stamps.pop(answer.seq, None))

    listener = asyncio.create_task(listen())
    start = time.monotonic()
    try:
        async for still in _in_thread(frames):
            if still.at_s is not None:
                await asyncio.sleep(max(0.0, start + still.at_s - time.monotonic()))
            if listener.done():
                break  # the connection has ended: its error is raised below
            if live.credit:
                before_ns = time.monotonic_ns()
                stamps[await live.send(still.jpeg)] = before_ns
                pushed.sent += 1
            else:
                pushed.skipped += 1
            told(pushed)
        end = time.monotonic() + DRAIN_S
        while live.pending and time.monotonic() < end and not listener.done():
            await asyncio.sleep(0.005)
    finally:
        listener.cancel()
        result = (await asyncio.gather(listener, return_exceptions=True))[0]
    if isinstance(result, Exception):
        raise result
    return pushed


async def _in_thread(frames: Iterator[Still]) -> AsyncIterator[Still]:
    """Decoding and encoding would hold up the answers."""
    while (still := await asyncio.to_thread(next, frames, None)) is not None:
        yield still


async def push(
    source: str,
    url: str,
    *,
    token: str | None = None,
    want: Want = "restored",
    quality: int = 90,
    loop: bool = False,
    seconds: float | None = None,
    engine: str | None = None,
    told: Callable[[Pushed], None] = lambda pushed: None,
) -> Pushed:
    """Plays `source` into the service at `url`. Raises SurgiclearError for the source,
    SurgiclearClientError for the service."""
    frames = stills(source, quality=quality, loop=loop, seconds=seconds)
    async with (
        AsyncClient(url, token=token) as client,
        client.push(want=want, engine=engine) as live,
    ):
        return await play(live, frames, told)
