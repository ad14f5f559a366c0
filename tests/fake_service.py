"""A service that speaks the contract to the operator's page, and misbehaves when it is told to."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import simplejpeg
import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.staticfiles import StaticFiles
from pydantic import TypeAdapter

from server.frame import Provenance, Reason
from server.messages import SUBPROTOCOL, Ack, Close, Hello, Ping, ProtocolError
from server.messages import parse as parse_control
from server.spec import Levels, StreamSpec, StreamState, flags_of
from server.wire import WireFrame

WEB = Path(__file__).parent.parent / "clients" / "web"
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
WIDTH, HEIGHT = 320, 180
RAW_RGB, RESTORED_RGB = (60, 70, 140), (150, 60, 60)
STATE = TypeAdapter(StreamState)


def jpeg(*colours: tuple[int, int, int]) -> bytes:
    """Flat pictures of WIDTH x HEIGHT, one under the other."""
    halves = [np.full((HEIGHT, WIDTH, 3), colour, np.uint8) for colour in colours]
    picture = np.vstack(halves)
    return bytes(simplejpeg.encode_jpeg(picture, quality=95, colorsubsampling="444"))


RAW, RESTORED = jpeg(RAW_RGB), jpeg(RESTORED_RGB)
PICTURES: dict[tuple[str, Provenance], bytes] = {
    ("raw", Provenance.RAW): RAW,
    ("raw", Provenance.RESTORED): RAW,
    ("restored", Provenance.RAW): RAW,
    ("restored", Provenance.RESTORED): RESTORED,
    ("both", Provenance.RAW): jpeg(RAW_RGB, RAW_RGB),
    ("both", Provenance.RESTORED): jpeg(RAW_RGB, RESTORED_RGB),
}


@dataclass(kw_only=True)
class Script:
    """What the next frame is like. Tests change it while frames flow.

    order: "up" counts; "repeat" sends the last seq again; "older" sends earlier frames again;
    cycle: by seq, instead of reason. age_ms: how old a frame is when it leaves.
    """

    sending: bool = True
    fps: float = 25.0
    reason: Reason | None = None  # None: restored
    cycle: tuple[Reason | None, ...] = ()
    stale: bool = False
    card: bool = False
    age_ms: float = 5.0
    order: Literal["up", "repeat", "older"] = "up"
    number: int = 7
    extra_flags: int = 0
    body: bytes | None = None  # instead of a picture
    levels: Levels = field(default_factory=Levels)

    def reason_of(self, seq: int) -> Reason | None:
        return self.cycle[seq % len(self.cycle)] if self.cycle else self.reason


@dataclass(kw_only=True)
class Settings:
    """What holds for new connections. The limits are wide, so that a slow machine shows no age
    that no test asked for."""

    both: bool = True
    stale_warn_ms: float = 20_000.0
    stale_stop_ms: float = 60_000.0
    refuse: bool = False  # new viewers are sent away with 1013
    rest_down: bool = False  # every REST call but the page fails with 503
    token: str | None = None


class FakeService:
    """Serves the page, the streams and their state; `calls` holds what the page asked for."""

    def __init__(self) -> None:
        self.reset()
        self.app = self._app()

    def reset(self) -> None:
        self.script = Script()
        self.settings = Settings()
        self.calls: list[tuple[str, Any]] = []
        self.wants: list[str] = []
        self.viewers: list[str] = []  # what those want that are connected now
        self.acks: list[int] = []
        self.sent: dict[int, Reason | None] = {}
        self.seq = 100
        self.closing = 0  # viewers that were connected before this count are cut off
        self.streams: dict[str, StreamState] = {}
        self.add("first", 7)

    def add(self, stream_id: str, number: int, **changes: Any) -> StreamState:
        state = StreamState(
            id=stream_id,
            number=number,
            spec=StreamSpec(source=f"file:{stream_id}.mp4", engine="veil"),
            epoch=0,
            seq=0,
            width=WIDTH,
            height=HEIGHT,
            engine="veil",
            engine_version="1.0.0",
            engine_sha256="0" * 64,
            engine_state="ready",
            provenance=Provenance.RESTORED,
            reason=None,
            age_ms=5.0,
            since_last_ms=10.0,
            fps_in=25.0,
            fps_out=25.0,
            levels=Levels(),
            frames_in=0,
            frames_out=0,
            restored=0,
            raw={},
            drops={},
            restarts={},
            violations={},
            alarms=(),
            bypass=False,
            latched=False,
            holding=False,
            strength=1.0,
            clean_lens=False,
            timeline=(),
            events=(),
        )
        self.streams[stream_id] = replace(state, **changes)
        return self.streams[stream_id]

    def change(self, stream_id: str = "first", **changes: Any) -> None:
        """The stream's state says otherwise from now on."""
        self.streams[stream_id] = replace(self.streams[stream_id], **changes)

    def cut(self) -> None:
        """Every viewer that is connected loses its socket."""
        self.closing += 1

    def made(self, kind: str) -> list[Any]:
        return [value for name, value in self.calls if name == kind]

    # the frames

    def frame(self, want: str) -> bytes:
        """The next message for a viewer."""
        script = self.script
        if script.order == "up":
            self.seq += 1
        seq = self.seq - 50 if script.order == "older" else self.seq
        now = time.monotonic_ns()
        reason = script.reason_of(seq)
        provenance = Provenance.RESTORED if reason is None else Provenance.RAW
        self.sent[seq] = reason
        body = script.body or PICTURES[(want, provenance)]
        age_ms = script.age_ms + (10_000 if script.order == "older" else 0)
        flags = flags_of(provenance, reason, stale=script.stale, card=script.card)
        return WireFrame(
            codec="jpeg",
            seq=seq,
            capture_ts_ns=now - int(age_ms * 1e6),
            width=WIDTH,
            height=HEIGHT * (2 if want == "both" else 1),
            payload=body,
            flags=flags | script.extra_flags,
            mask=script.levels.mask,
            stream=script.number,
            server_in_ns=now - int(age_ms * 1e6),
            server_out_ns=now,
        ).pack()

    async def _view(self, socket: WebSocket, stream_id: str) -> None:
        await socket.accept(subprotocol=SUBPROTOCOL)
        try:
            hello = parse_control(await socket.receive_text())
            if not isinstance(hello, Hello):
                raise ProtocolError("hello_expected", "the first message is a hello")
        except ProtocolError as error:
            await self._refuse(socket, Close.PROTOCOL, error.what)
            return
        want = hello.want
        self.wants.append(want)
        if self.settings.refuse:
            await socket.close(Close.TRY_LATER)
        elif self.settings.token is not None and hello.token != self.settings.token:
            await self._refuse(socket, Close.AUTH, "a token is needed")
        elif stream_id not in self.streams:
            await self._refuse(socket, Close.UNKNOWN, "no such stream")
        elif want == "both" and not self.settings.both:
            await self._refuse(socket, Close.PROTOCOL, "want: not both")
        else:
            await self._serve(socket, hello, want)

    async def _refuse(self, socket: WebSocket, code: int, why: str) -> None:
        await socket.send_json({"type": "error", "code": "refused", "message": why})
        await socket.close(code)

    async def _serve(self, socket: WebSocket, hello: Hello, want: str) -> None:
        await socket.send_json(
            {
                "type": "welcome",
                "stream_id": "first",
                "engine": "veil",
                "deadline_ms": 40.0,
                "stale_warn_ms": self.settings.stale_warn_ms,
                "stale_stop_ms": self.settings.stale_stop_ms,
            }
        )
        credit = asyncio.Semaphore(hello.credits or 1_000_000)
        reader = asyncio.create_task(self._read(socket, credit))
        mine, viewers = self.closing, self.viewers
        viewers.append(want)
        try:
            while not reader.done():
                await asyncio.sleep(1 / self.script.fps)
                if self.closing != mine:
                    await socket.close(1012)
                    return
                if self.script.sending and not credit.locked():
                    await credit.acquire()
                    await socket.send_bytes(self.frame(want))
        except (WebSocketDisconnect, RuntimeError):
            pass  # the page has gone
        finally:
            viewers.remove(want)
            reader.cancel()
            with suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
                await reader

    async def _read(self, socket: WebSocket, credit: asyncio.Semaphore) -> None:
        while True:
            message = parse_control(await socket.receive_text())
            if isinstance(message, Ack):
                self.acks.append(message.seq)
                credit.release()
            elif isinstance(message, Ping):
                now = time.monotonic_ns()
                await socket.send_json({"type": "pong", "t": message.t, "server_ns": now})

    # the calls

    def _app(self) -> FastAPI:
        app = FastAPI()

        def stream(stream_id: str) -> StreamState:
            if self.settings.rest_down:
                raise HTTPException(503)
            if stream_id not in self.streams:
                raise HTTPException(404)
            return self.streams[stream_id]

        def json_of(state: StreamState) -> Any:
            return STATE.dump_python(state, mode="json") | {"now_ns": time.monotonic_ns()}

        @app.middleware("http")
        async def policy(request: Request, call_next: Any) -> Response:
            answer = cast(Response, await call_next(request))
            answer.headers["content-security-policy"] = CSP
            if request.url.path.startswith("/v1"):
                answer.headers["cache-control"] = "no-store"
            return answer

        @app.exception_handler(HTTPException)
        async def told(request: Request, error: HTTPException) -> Response:
            body = {"error": {"code": "refused", "message": f"refused with {error.status_code}"}}
            return Response(json.dumps(body), error.status_code, media_type="application/json")

        @app.get("/v1/streams")
        async def streams(request: Request) -> Any:
            if self.settings.rest_down:
                raise HTTPException(503)
            wanted = self.settings.token
            if wanted and request.headers.get("authorization") != f"Bearer {wanted}":
                raise HTTPException(401)
            return [json_of(state) for state in self.streams.values()]

        @app.post("/v1/streams")
        async def start(body: dict[str, Any]) -> Any:
            self.calls.append(("start", body))
            return json_of(self.add("started", 9))

        @app.get("/v1/streams/{stream_id}")
        async def state(stream_id: str) -> Any:
            return json_of(stream(stream_id))

        @app.delete("/v1/streams/{stream_id}", status_code=204)
        async def stop(stream_id: str) -> None:
            stream(stream_id)
            self.calls.append(("stop", stream_id))
            del self.streams[stream_id]

        @app.post("/v1/streams/{stream_id}/bypass")
        async def bypass(stream_id: str, body: dict[str, bool]) -> Any:
            self.calls.append(("bypass", body["on"]))
            stream(stream_id)
            self.change(stream_id, bypass=body["on"], latched=False)
            self.script.reason = Reason.BYPASS if body["on"] else None
            return json_of(stream(stream_id))

        @app.put("/v1/streams/{stream_id}/engine")
        async def engine(stream_id: str, body: dict[str, str]) -> Any:
            self.calls.append(("engine", body["name"]))
            self.change(stream_id, engine=body["name"])
            return json_of(stream(stream_id))

        @app.put("/v1/streams/{stream_id}/strength")
        async def strength(stream_id: str, body: dict[str, float]) -> Any:
            self.calls.append(("strength", body["strength"]))
            self.change(stream_id, strength=body["strength"])
            return json_of(stream(stream_id))

        @app.get("/v1/streams/{stream_id}/snapshot")
        async def snapshot(stream_id: str, view: str) -> Response:
            stream(stream_id)
            self.calls.append(("snapshot", view))
            return Response(RAW, media_type="image/jpeg")

        @app.get("/v1/engines")
        async def engines() -> Any:
            return [
                {"name": "veil", "state": "available"},
                {"name": "focalnet", "state": "available"},
                {"name": "tampered", "state": "refused"},
            ]

        @app.websocket("/v1/streams/{stream_id}/view")
        async def view(socket: WebSocket, stream_id: str) -> None:
            with suppress(WebSocketDisconnect):
                await self._view(socket, stream_id)

        app.mount("/", StaticFiles(directory=WEB, html=True))
        return app


@contextmanager
def running(service: FakeService) -> Iterator[str]:
    """The address at which the service answers, while the block runs."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        service.app, log_level="error", ws="websockets-sansio", ws_per_message_deflate=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()
