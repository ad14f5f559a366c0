"""The streams of this service: start, stop, steer and watch them from one event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from types import TracebackType

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

__all__ = [
    "Codec",
    "Dropped",
    "Fate",
    "Outgoing",
    "SnapshotView",
    "StreamEvent",
    "StreamManager",
    "StreamSpec",
    "StreamState",
    "Subscription",
    "View",
]


class Subscription:
    """One viewer's newest-wins slot. With answers=True (the pusher) every pushed frame gives
    exactly one item, an Outgoing or a Dropped, in order; without, only pictures come, and
    those the viewer was too slow for are counted in `skipped`."""

    skipped: int

    async def get(self) -> Outgoing | Dropped | None:
        """The next item; None once the stream has ended."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def __aiter__(self) -> AsyncIterator[Outgoing | Dropped]:
        raise NotImplementedError


class StreamManager:
    """Owns every stream process. One instance per service, used from one event loop.

    engines: engine name -> picklable factory called inside the engine process.
    All methods that take an id raise StreamUnknown for one that is not there.
    """

    def __init__(self, engines: Mapping[str, Callable[[], object]]) -> None:
        self._engines = dict(engines)

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
        raise NotImplementedError

    async def stop(self, stream_id: str) -> None:
        """Ends the stream: no process and no shared memory is left when this returns."""
        raise NotImplementedError

    def list(self) -> tuple[str, ...]:
        raise NotImplementedError

    def number(self, stream_id: str) -> int:
        """The u32 that stands for the stream in wire headers and process names."""
        raise NotImplementedError

    def state(self, stream_id: str) -> StreamState:
        raise NotImplementedError

    async def bypass(self, stream_id: str, on: bool) -> None:
        """Latching; acts on the next frame, also with the engine dead. Off also releases a
        stream that had latched itself."""
        raise NotImplementedError

    async def set_engine(self, stream_id: str, name: str) -> None:
        """Returns when the change is under way; "engine.changed", "engine.rolled_back" or
        "engine.refused" follows. The old engine serves until the new one is warm."""
        raise NotImplementedError

    async def set_strength(self, stream_id: str, strength: float) -> None:
        raise NotImplementedError

    async def snapshot(self, stream_id: str, view: SnapshotView) -> bytes:
        """The newest picture as JPEG. Raises Failure when none comes within 2 s."""
        raise NotImplementedError

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
        raise NotImplementedError

    def subscribe(self, stream_id: str, want: View, *, answers: bool = False) -> Subscription:
        raise NotImplementedError

    def watch(self) -> AsyncIterator[StreamEvent]:
        """All streams' events from now on (for webhooks); a slow reader loses the oldest."""
        raise NotImplementedError

    def observe(self, callback: Callable[[Fate], None]) -> None:
        """Calls back for the fate of every frame (for metrics), in the event loop."""
        raise NotImplementedError

    def save_history(self, stream_id: str, path: str) -> int:
        """Writes the kept event history as JSONL, returns the number of events."""
        raise NotImplementedError

    async def close(self) -> None:
        """Ends every stream, at most about 4 s."""
        raise NotImplementedError
