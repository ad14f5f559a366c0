"""The streams of this service: start, stop, steer and watch them from one event loop."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from types import TracebackType

from server import rtsp
from server.controls import Controls, Limits
from server.decode_process import Feed
from server.engine_process import EngineFacts, RestorerFactory
from server.errors import EngineUnknown, Failure, SettingInvalid, StreamsFull, StreamUnknown
from server.feed import check_source, feed
from server.keeper import Keeper
from server.snapshot import difference, still
from server.spec import (
    Codec,
    Dropped,
    Fate,
    Outgoing,
    SnapshotView,
    StreamEvent,
    StreamSpec,
    StreamState,
    View,
)
from server.subscription import Subscription
from server.trust import SYSTEM, Trust, is_secure

__all__ = [
    "Codec",
    "Controls",
    "Dropped",
    "EngineFacts",
    "Fate",
    "Limits",
    "Outgoing",
    "RestorerFactory",
    "SnapshotView",
    "StreamEvent",
    "StreamManager",
    "StreamSpec",
    "StreamState",
    "Subscription",
    "View",
]

logger = logging.getLogger(__name__)
SNAPSHOT_S = 2.0
WATCH_MOST = 1000  # events that a watcher may be behind
NUMBERS = 2**32
SINKS_MOST = 4


class Watch:
    """Events from the moment it was made; a slow reader loses the oldest."""

    def __init__(self, closed: Callable[[Watch], None]) -> None:
        self._events: deque[StreamEvent] = deque(maxlen=WATCH_MOST)
        self._there = asyncio.Event()
        self._closed = closed
        self._ended = False

    def put(self, event: StreamEvent) -> None:
        self._events.append(event)
        self._there.set()

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> StreamEvent:
        while not self._events:
            if self._ended:
                raise StopAsyncIteration
            self._there.clear()
            await self._there.wait()
        return self._events.popleft()

    def close(self) -> None:
        """Ends the iteration once what has come was read."""
        self._ended = True
        self._there.set()
        self._closed(self)


class StreamManager:
    """Owns every stream process. One instance per service, used from one event loop.

    engines: engine name -> factory called inside the engine process; trust: for sinks (a feed
    brings its own).
    All methods that take an id raise StreamUnknown for one that is not there.
    """

    def __init__(
        self,
        engines: Mapping[str, RestorerFactory],
        *,
        limits: Limits | None = None,
        controls: Controls | None = None,
        feed: Feed = feed,
        trust: Trust = SYSTEM,
    ) -> None:
        self._engines = dict(engines)
        self._limits = limits or Limits()
        self._controls = controls or Controls()
        self._feed = feed
        self._trust = trust
        self._keepers: dict[str, Keeper] = {}
        self._numbers = count(secrets.randbelow(NUMBERS // 2) + 1)
        self._watches: list[Watch] = []
        self._observers: list[Callable[[Fate], None]] = []

    async def __aenter__(self) -> StreamManager:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def start(self, spec: StreamSpec) -> str:
        """Starts the stream's processes, returns its unguessable id. Raises EngineUnknown,
        SettingInvalid (bad spec) or StreamsFull. The picture is raw until the engine is warm."""
        factory = self._factory(spec.engine)
        check_spec(spec)
        if len(self._keepers) >= self._limits.max_streams:
            raise StreamsFull(f"{len(self._keepers)} streams run already", "stop one first")
        if not self._trust.verify and any(map(is_secure, (spec.source, *spec.sinks))):
            logger.warning("a stream starts whose rtsps:// certificates are NOT verified")
        stream_id = secrets.token_urlsafe(16)
        self._keepers[stream_id] = Keeper(
            stream_id,
            next(self._numbers) % NUMBERS,
            spec,
            factory,
            self._feed,
            self._limits,
            self._controls,
            self._trust,
            heard=self._heard,
            counted=self._counted,
        )
        return stream_id

    async def stop(self, stream_id: str) -> None:
        """Ends the stream: no process and no shared memory is left when this returns."""
        keeper = self._keeper(stream_id)
        del self._keepers[stream_id]
        await keeper.stop()

    def list(self) -> tuple[str, ...]:
        return tuple(self._keepers)

    @property
    def limits(self) -> Limits:
        """What every stream is held to."""
        return self._limits

    def engines(self) -> tuple[str, ...]:
        """Names that `start` and `set_engine` take."""
        return tuple(self._engines)

    def number(self, stream_id: str) -> int:
        """The u32 that stands for the stream in wire headers and process names."""
        return self._keeper(stream_id).number

    def state(self, stream_id: str) -> StreamState:
        return self._keeper(stream_id).state()

    async def bypass(self, stream_id: str, on: bool) -> None:
        """Latching; acts on the next frame, also with the engine dead. Off also releases a
        stream that had latched itself."""
        await self._keeper(stream_id).bypass(on)

    async def set_engine(self, stream_id: str, name: str) -> None:
        """Returns when the change is under way; "engine.changed", "engine.rolled_back" or
        "engine.refused" follows. The old engine serves until the new one is warm."""
        self._keeper(stream_id).set_engine(self._factory(name))

    async def set_strength(self, stream_id: str, strength: float) -> None:
        """0 (raw) to 1 (the full repair)."""
        if not 0.0 <= strength <= 1.0:
            raise SettingInvalid(f"strength {strength} is out of range", "use 0 to 1")
        self._keeper(stream_id).set_strength(strength)

    async def snapshot(self, stream_id: str, view: SnapshotView) -> bytes:
        """The newest picture as JPEG. Raises Failure when none comes within 2 s."""
        keeper = self._keeper(stream_id)
        wants: tuple[View, ...] = ("raw", "restored") if view == "difference" else (view,)
        viewers = [keeper.subscribe(want, answers=False) for want in wants]
        try:
            async with asyncio.timeout(SNAPSHOT_S):
                pictures = [await _next(viewer, None) for viewer in viewers]
                while len({(p.epoch, p.place_seq) for p in pictures}) > 1:  # until of one frame
                    oldest = min(
                        range(len(pictures)),
                        key=lambda i: (pictures[i].epoch, pictures[i].place_seq),
                    )
                    pictures[oldest] = await _next(viewers[oldest], pictures[oldest])
        except TimeoutError:
            raise Failure("no picture came", "is the source sending?") from None
        finally:
            for viewer in viewers:
                viewer.close()
        if view == "difference":
            return await asyncio.to_thread(difference, *pictures)
        return await asyncio.to_thread(still, pictures[0])

    async def original(self, stream_id: str, epoch: int, place_seq: int) -> Outgoing | None:
        """The raw frame behind a picture of the last two seconds, as it came in; None when it is
        not kept any more."""
        try:
            return await self._keeper(stream_id).original((epoch, place_seq))
        except TimeoutError:
            return None

    async def push(
        self,
        stream_id: str,
        payload: bytes | memoryview,
        *,
        codec: Codec = "jpeg",
        seq: int,
        capture_ts_ns: int,
        width: int = 0,
        height: int = 0,
    ) -> None:
        """Hands over one frame. live: newest wins; lossless: waits until the stream has room.
        width, height: needed for rgb24 and i420, read from the header for jpeg. Raises
        SourceUnreadable (not a picture), FrameTooLarge, SettingInvalid (not a push stream)."""
        keeper = self._keeper(stream_id)
        await keeper.push(payload, codec, seq, capture_ts_ns, (width, height))

    def subscribe(self, stream_id: str, want: View, *, answers: bool = False) -> Subscription:
        """A viewer; answers: for the one who pushes."""
        return self._keeper(stream_id).subscribe(want, answers)

    def watch(self) -> Watch:
        """All streams' events from now on (for webhooks)."""
        watch = Watch(self._watches.remove)
        self._watches.append(watch)
        return watch

    def observe(self, callback: Callable[[Fate], None]) -> None:
        """Calls back for the fate of every frame (for metrics), in the event loop."""
        self._observers.append(callback)

    def save_history(self, stream_id: str, path: Path) -> int:
        """Writes the kept event history as JSONL, returns the number of events."""
        return self._keeper(stream_id).history.save(path)

    async def close(self) -> None:
        """Ends every stream, at most about 4 s."""
        keepers = list(self._keepers.values())
        self._keepers.clear()
        await asyncio.gather(*(keeper.stop() for keeper in keepers))
        for watch in list(self._watches):
            watch.close()

    def _keeper(self, stream_id: str) -> Keeper:
        keeper = self._keepers.get(stream_id)
        if keeper is None:
            raise StreamUnknown("no stream has this id", "list the streams")
        return keeper

    def _factory(self, name: str) -> RestorerFactory:
        factory = self._engines.get(name)
        if factory is None:
            raise EngineUnknown(f"no engine is called {name!r}", f"use {', '.join(self._engines)}")
        return factory

    def _heard(self, event: StreamEvent) -> None:
        for watch in self._watches:
            watch.put(event)

    def _counted(self, fate: Fate) -> None:
        for observer in self._observers:
            try:
                observer(fate)
            except Exception:  # metrics may fail; the picture and its answers go on (I13)
                logger.exception("an observer of frames failed")


def check_spec(spec: StreamSpec) -> None:
    """Raises SettingInvalid."""
    check_source(spec.source)
    if len(spec.sinks) > SINKS_MOST or len(set(spec.sinks)) < len(spec.sinks):
        raise SettingInvalid(f"{len(spec.sinks)} sinks", f"use up to {SINKS_MOST}, all different")
    for sink in spec.sinks:
        rtsp.check(sink)
    for name, value, low, high in (
        ("deadline_ms", spec.deadline_ms, 1.0, 1000.0),
        ("max_age_ms", spec.max_age_ms, 10.0, 10_000.0),
        ("strength", spec.strength, 0.0, 1.0),
        ("jpeg_quality", spec.jpeg_quality, 10, 100),
    ):
        if not low <= value <= high:
            raise SettingInvalid(f"{name} {value} is out of range", f"use {low:g} to {high:g}")


async def _next(viewer: Subscription, after: Outgoing | None) -> Outgoing:
    """The next camera picture."""
    async for item in viewer:
        if isinstance(item, Outgoing) and not item.card and item is not after:
            return item
    raise Failure("the stream has ended")
