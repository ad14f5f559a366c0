"""A stream manager that does what a test tells it, and the service around it, really listening."""

from __future__ import annotations

import asyncio
import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import simplejpeg
from fakes import FakeRestorer
from states import QUIET

from server import serve
from server.app import build_service
from server.catalog import Catalog, Offer
from server.config import Config
from server.controls import Controls, Limits
from server.engine_process import RestorerFactory
from server.errors import (
    EngineUnknown,
    Failure,
    FrameTooLarge,
    SourceUnreadable,
    StreamsFull,
    StreamUnknown,
)
from server.frame import Provenance, Reason
from server.log import make_log
from server.manager import StreamManager, Watch
from server.service import Service
from server.spec import (
    Codec,
    Fate,
    Levels,
    Outgoing,
    SnapshotView,
    StreamEvent,
    StreamSpec,
    StreamState,
    View,
)
from server.subscription import Subscription

Deed = Literal["restore", "raw", "hold", "lose"]


def picture(
    width: int = 64, height: int = 48, shade: int = 90
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Columns of rising brightness: h w 3."""
    row = np.linspace(shade, 255 - shade // 2, width).astype(np.uint8)
    return np.repeat(np.tile(row, (height, 1))[:, :, None], 3, axis=2)


def jpeg(width: int = 64, height: int = 48, shade: int = 90) -> bytes:
    return bytes(simplejpeg.encode_jpeg(picture(width, height, shade), 90))


@dataclass
class Line:
    """One scripted stream."""

    number: int
    spec: StreamSpec
    state: StreamState
    viewers: list[Subscription] = field(default_factory=list)
    frames: int = 0


class ScriptedManager(StreamManager):
    """Answers every pushed frame as `deed` says: back restored (the bytes as they came), raw,
    never, or as lost. `calls` holds what it was asked."""

    def __init__(self, limits: Limits | None = None) -> None:
        super().__init__({}, limits=limits)
        self.deed: Deed | Callable[[int], Deed] = "restore"
        self.names = {"veil", "other"}
        self.lines: dict[str, Line] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.watches: list[Watch] = []
        self.full = False
        self.started = 0
        self.snapshot_fails = False

    async def start(self, spec: StreamSpec) -> str:
        self._known(spec.engine)
        if self.full:
            raise StreamsFull("too many", "stop one")
        self.started += 1
        number = self.started
        stream_id = f"id-{number}"
        self.calls.append(("start", spec))
        state = replace(QUIET, id=stream_id, number=number, spec=spec)
        self.lines[stream_id] = Line(number, spec, state)
        return stream_id

    async def stop(self, stream_id: str) -> None:
        line = self._line(stream_id)
        self.calls.append(("stop", stream_id))
        del self.lines[stream_id]
        for viewer in list(line.viewers):
            viewer.end()

    def list(self) -> tuple[str, ...]:
        return tuple(self.lines)

    def number(self, stream_id: str) -> int:
        return self._line(stream_id).number

    def state(self, stream_id: str) -> StreamState:
        return self._line(stream_id).state

    def change(self, stream_id: str, **changes: Any) -> None:
        line = self._line(stream_id)
        line.state = replace(line.state, **changes)

    async def bypass(self, stream_id: str, on: bool) -> None:
        self.change(stream_id, bypass=on)
        self.calls.append(("bypass", stream_id, on))

    async def set_engine(self, stream_id: str, name: str) -> None:
        self._known(name)
        self.change(stream_id, engine=name)
        self.calls.append(("engine", stream_id, name))

    async def set_strength(self, stream_id: str, strength: float) -> None:
        self.change(stream_id, strength=strength)
        self.calls.append(("strength", stream_id, strength))

    async def snapshot(self, stream_id: str, view: SnapshotView) -> bytes:
        self._line(stream_id)
        self.calls.append(("snapshot", stream_id, view))
        if self.snapshot_fails:
            raise Failure("no picture came", "is the source sending?")
        return jpeg()

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
        line = self._line(stream_id)
        if codec == "jpeg" and bytes(payload[:2]) != b"\xff\xd8":
            raise SourceUnreadable("not a JPEG")
        if width == 4000:
            raise FrameTooLarge("over the cap")
        place = (0, line.frames)
        line.frames += 1
        for viewer in line.viewers:
            viewer.owe(place, seq)
        deed = self.deed(seq) if callable(self.deed) else self.deed
        if deed == "lose":
            for viewer in line.viewers:
                viewer.lose(place, "AGE")
        elif deed != "hold":
            shown = replace(
                self.outgoing(line, payload=bytes(payload), deed=deed),
                place_seq=place[1],
                seq=seq,
                capture_ts_ns=capture_ts_ns,
                codec=codec,
                width=width,
                height=height,
            )
            self.show(line, shown)

    def outgoing(self, line: Line, *, payload: bytes | None = None, deed: Deed = "raw") -> Outgoing:
        bypassed = line.state.bypass
        restored = deed == "restore" and not bypassed
        now = time.monotonic_ns()
        return Outgoing(
            stream=line.number,
            view="restored",
            epoch=0,
            place_seq=line.frames,
            seq=line.frames,
            capture_ts_ns=now,
            server_in_ns=now,
            server_out_ns=now,
            provenance=Provenance.RESTORED if restored else Provenance.RAW,
            reason=None if restored else Reason.BYPASS if bypassed else Reason.CLEAR,
            stale=False,
            card=False,
            levels=Levels(smoke=2),
            codec="jpeg",
            width=64,
            height=48,
            payload=payload or jpeg(),
        )

    def show(self, line: Line, item: Outgoing) -> None:
        for viewer in line.viewers:
            viewer.show(replace(item, view=viewer.want))

    def feed(self, stream_id: str, payload: bytes | None = None) -> int:
        """One more picture for the viewers; returns its seq. Called in the event loop."""
        line = self._line(stream_id)
        line.frames += 1
        self.show(line, self.outgoing(line, payload=payload))
        return line.frames

    def subscribe(self, stream_id: str, want: View, *, answers: bool = False) -> Subscription:
        line = self._line(stream_id)
        viewer = Subscription(
            want, answers=answers, closed=line.viewers.remove, controls=Controls()
        )
        line.viewers.append(viewer)
        return viewer

    def tell(self, event: StreamEvent) -> None:
        """An event of a stream. Called in the event loop."""
        for watch in self._watches:
            watch.put(event)

    def count(self, fate: Fate) -> None:
        for observer in self._observers:
            observer(fate)

    def reset(self) -> None:
        """As new. Called in the event loop."""
        for line in list(self.lines.values()):
            for viewer in list(line.viewers):
                viewer.end()
        self.lines.clear()
        self.calls.clear()
        self.deed, self.full, self.snapshot_fails = "restore", False, False

    async def close(self) -> None:
        for stream_id in list(self.lines):
            await self.stop(stream_id)

    def _line(self, stream_id: str) -> Line:
        if stream_id not in self.lines:
            raise StreamUnknown("no stream has this id", "list the streams")
        return self.lines[stream_id]

    def _known(self, name: str) -> None:
        if name not in self.names:
            raise EngineUnknown(f"no engine is called {name!r}")


CATALOG = Catalog(
    (Offer(name="veil", state="available", default=True), Offer(name="other", state="refused")),
    {"veil": RestorerFactory(name="veil", make=FakeRestorer)},
    "veil",
)


def config_of(**sections: Any) -> Config:
    """Settings with a port of its own and no picture workers, but for what is given."""
    return Config(**{"server": {"port": 0}, "stills": {"workers": 0}, **sections})


@dataclass
class Listening:
    """A service that answers at `url`, its loop in another thread."""

    url: str
    service: Service
    loop: asyncio.AbstractEventLoop
    logged: io.StringIO
    stopping: asyncio.Event

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def manager(self) -> ScriptedManager:
        assert isinstance(self.service.manager, ScriptedManager)
        return self.service.manager

    def do(self, act: Callable[[], Any]) -> Any:
        """Calls `act` in the service's loop and returns what it returns."""

        async def acted() -> Any:
            return act()

        return asyncio.run_coroutine_threadsafe(acted(), self.loop).result(10)

    def stop(self) -> None:
        """Asks the service to end, as a signal would."""
        self.loop.call_soon_threadsafe(self.stopping.set)

    def reset(self) -> None:
        """No streams, an empty log, the manager as new; waits for sockets of before to go."""
        self.do(self.manager.reset)
        end = time.monotonic() + 10
        while self.service.sockets.open and time.monotonic() < end:
            time.sleep(0.01)
        self.logged.truncate(0)
        self.logged.seek(0)

    def begin(self, **spec: Any) -> str:
        """Starts a scripted stream."""
        wish = StreamSpec(**{"source": "phantom:", "engine": "veil", **spec})
        return asyncio.run_coroutine_threadsafe(self.manager.start(wish), self.loop).result(10)


@contextmanager
def listening(
    config: Config | None = None,
    *,
    manager: StreamManager | None = None,
    catalog: Catalog = CATALOG,
) -> Iterator[Listening]:
    """Runs the service as `surgiclear serve` would, at a free port of 127.0.0.1."""
    config = config or config_of()
    logged = io.StringIO()
    log = make_log("debug", file=logged, lines_per_s=1000)
    service = build_service(config, catalog, log, manager=manager or ScriptedManager())
    addresses: list[str] = []
    loops: list[asyncio.AbstractEventLoop] = []
    stops: list[asyncio.Event] = []
    up = threading.Event()
    failures: list[BaseException] = []

    def ready(address: str) -> None:
        addresses.append(address)
        up.set()

    async def life(listener: socket.socket) -> None:
        loops.append(asyncio.get_running_loop())
        stops.append(asyncio.Event())
        await serve.run(service, listener, ready, stop=stops[0])

    def thread() -> None:
        try:
            with serve.bind("127.0.0.1", config.server.port) as listener, serve.bridged(log):
                asyncio.run(life(listener))
        except BaseException as error:
            failures.append(error)
        up.set()

    runner = threading.Thread(target=thread)
    runner.start()
    try:
        assert up.wait(60)
        if failures:
            raise failures[0]
        yield Listening(addresses[0], service, loops[0], logged, stops[0])
    finally:
        if runner.is_alive() and stops:
            loops[0].call_soon_threadsafe(stops[0].set)
        runner.join(30)
        assert not runner.is_alive()
    if failures:
        raise failures[0]
