"""The async client: the same calls as the blocking one, awaited."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from contextlib import AsyncExitStack
from typing import Any, Self, TypeVar

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Subprotocol

from surgiclear_client import rest
from surgiclear_client.blocking import MESSAGE_BYTES, OPEN_S
from surgiclear_client.errors import Closed, Refused, Unreachable
from surgiclear_client.frame import Frame, Picture
from surgiclear_client.rest import Call, Compare, Format, Json, Restored, View
from surgiclear_client.session import SUBPROTOCOL, Answer, Dropped, Heard, Session, Want, Welcome

T = TypeVar("T")


class _Socket:
    """One open socket and its session; opened by `async with`."""

    def __init__(self, url: str, session: Session) -> None:
        self.session = session
        self._url = url
        self._refusal: Refused | None = None
        self._wire: ClientConnection | None = None
        self._stack = AsyncExitStack()

    @property
    def wire(self) -> ClientConnection:
        if self._wire is None:
            raise RuntimeError("use `async with`")
        return self._wire

    async def open(self) -> None:
        try:
            self._wire = await self._stack.enter_async_context(
                connect(
                    self._url,
                    subprotocols=[Subprotocol(SUBPROTOCOL)],
                    compression=None,
                    open_timeout=OPEN_S,
                    max_size=MESSAGE_BYTES,
                    max_queue=2,
                    proxy=None,
                )
            )
        except (OSError, TimeoutError, InvalidHandshake) as error:
            raise Unreachable(f"no service answers at {self._url}: {error}") from error
        try:
            await self.send(self.session.hello())
            welcome = await self.hear(OPEN_S)
        except BaseException:
            await self.close()
            raise
        if not isinstance(welcome, Welcome):
            await self.close()
            raise Unreachable(f"no welcome from {self._url}")

    async def send(self, message: str | bytes) -> None:
        try:
            await self.wire.send(message)
        except ConnectionClosed as error:
            raise self._closed(error) from None

    async def hear(self, timeout_s: float | None) -> Heard | None:
        """The next message; None when none came in time."""
        while True:
            try:
                async with asyncio.timeout(timeout_s):
                    message = await self.wire.recv()
            except TimeoutError:
                return None
            except ConnectionClosed as error:
                raise self._closed(error) from None
            try:
                return self.session.receive(message)
            except Refused as refusal:
                self._refusal = refusal  # the reason of the close that follows, or a warning

    async def close(self) -> None:
        await self._stack.aclose()

    def _closed(self, error: ConnectionClosed) -> Closed:
        frame = error.rcvd
        code, reason = (1006, "") if frame is None else (frame.code, frame.reason)
        return Closed(code, self._refusal.message if self._refusal else reason)


class AsyncPush:
    """Frames out, answers back: exactly one answer for each frame. `send` and `receive` may run
    in two tasks."""

    def __init__(self, socket: _Socket) -> None:
        self._socket = socket
        self._session = socket.session
        self._answers: deque[Answer] = deque()
        self._hearing = asyncio.Lock()

    @property
    def welcome(self) -> Welcome:
        assert self._session.welcome is not None
        return self._session.welcome

    @property
    def credit(self) -> int:
        """How many frames may be sent now without waiting."""
        return self._session.credit

    @property
    def pending(self) -> int:
        """Frames without an answer yet."""
        return self._session.pending

    async def send(
        self, picture: Picture, *, seq: int | None = None, capture_ts_ns: int | None = None
    ) -> int:
        """Sends a picture and returns its seq; waits for a credit first. Raises BadPicture or
        Closed."""
        while not self.credit:
            async with self._hearing:
                if not self.credit:
                    await self._hear(None)
        number, message = self._session.frame(picture, seq=seq, capture_ts_ns=capture_ts_ns)
        await self._socket.send(message)
        return number

    async def receive(self, timeout_s: float | None = None) -> Answer | None:
        """The next answer; None when none came in time. Raises Closed."""
        while not self._answers:
            async with self._hearing:
                if not self._answers and not await self._hear(timeout_s):
                    return None
        return self._answers.popleft()

    async def exchange(
        self, pictures: Iterable[Picture] | AsyncIterable[Picture]
    ) -> AsyncIterator[Answer]:
        """Sends all pictures and yields all answers, in order; waits, never skips."""
        async for picture in _each(pictures):
            await self.send(picture)
            while self._answers:
                yield self._answers.popleft()
        while self.pending or self._answers:
            answer = await self.receive()
            assert answer is not None
            yield answer

    async def bypass(self, on: bool) -> None:
        """Raw from the next frame on, or no longer."""
        await self._socket.send(Session.control("bypass", on=on))

    async def want(self, want: Want) -> None:
        await self._socket.send(Session.control("want", want=want))

    async def strength(self, strength: float) -> None:
        await self._socket.send(Session.control("strength", strength=strength))

    async def _hear(self, timeout_s: float | None) -> bool:
        heard = await self._socket.hear(timeout_s)
        if isinstance(heard, Frame | Dropped):
            self._answers.append(heard)
        return heard is not None

    async def __aenter__(self) -> Self:
        await self._socket.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._socket.close()


class AsyncWatch:
    """The newest picture each time; ends when the stream ends."""

    def __init__(self, socket: _Socket) -> None:
        self._socket = socket
        self._shown: int | None = None

    @property
    def welcome(self) -> Welcome:
        assert self._socket.session.welcome is not None
        return self._socket.session.welcome

    async def receive(self, timeout_s: float | None = None) -> Frame | None:
        """The next picture; None when none came in time. Raises Closed. The service sends a
        further one only once this is called again."""
        if self._shown is not None:
            await self._socket.send(Session.control("ack", seq=self._shown))
            self._shown = None
        while True:
            heard = await self._socket.hear(timeout_s)
            if heard is None:
                return None
            if isinstance(heard, Frame):
                self._shown = heard.seq
                return heard

    async def __aiter__(self) -> AsyncIterator[Frame]:
        try:
            while (frame := await self.receive()) is not None:
                yield frame
        except Closed as closed:
            if closed.code not in (1000, 1001):
                raise

    async def __aenter__(self) -> Self:
        await self._socket.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._socket.close()


class AsyncClient:
    """A service at `url` (http://HOST:PORT). timeout_s: of a REST call."""

    def __init__(self, url: str, *, token: str | None = None, timeout_s: float = 60.0) -> None:
        self._base = rest.base_of(url)
        self._token = token
        self._http = httpx.AsyncClient(base_url=self._base, timeout=timeout_s, trust_env=False)

    async def restore(
        self,
        picture: Picture,
        *,
        engine: str | None = None,
        compare: Compare = "none",
        format: Format | None = None,
        strength: float = 1.0,
    ) -> Restored:
        """One picture (RGB array, JPEG or PNG bytes). Raises Refused or Unreachable."""
        call = rest.restore(
            picture, engine=engine, compare=compare, format=format, strength=strength
        )
        return await self._do(call)

    async def detect(self, picture: Picture, *, engine: str | None = None) -> Json:
        """{"smoke": {"level", "probability", "coverage"}, "fog": …, "splash": {…, "type"}}."""
        return await self._do(rest.detect(picture, engine=engine))

    async def engines(self) -> list[Json]:
        return await self._do(rest.engines())

    async def streams(self) -> list[Json]:
        return await self._do(rest.streams())

    async def state(self, stream_id: str) -> Json:
        return await self._do(rest.state(stream_id))

    async def start(self, source: str, **options: Any) -> Json:
        """Starts a stream: "phantom:", "file:PATH", "rtsp://HOST/PATH". Returns its state."""
        return await self._do(rest.start(source, options))

    async def stop(self, stream_id: str) -> None:
        await self._do(rest.stop(stream_id))

    async def bypass(self, stream_id: str, on: bool) -> Json:
        return await self._do(rest.bypass(stream_id, on))

    async def set_engine(self, stream_id: str, name: str) -> Json:
        return await self._do(rest.set_engine(stream_id, name))

    async def set_strength(self, stream_id: str, strength: float) -> Json:
        return await self._do(rest.set_strength(stream_id, strength))

    async def snapshot(self, stream_id: str, view: View = "restored") -> bytes:
        """JPEG bytes."""
        return await self._do(rest.snapshot(stream_id, view))

    def push(
        self,
        *,
        want: Want = "restored",
        credits: int | None = None,
        quality: int = 90,
        **options: Any,
    ) -> AsyncPush:
        """A stream of one's own frames, for `async with`. options: engine, max_age_ms,
        deadline_ms, strength, kinds, mode."""
        session = Session(
            want=want, token=self._token, credits=credits, options=options, quality=quality
        )
        return AsyncPush(_Socket(rest.socket_url(self._base, "/v1/stream"), session))

    def view(self, stream_id: str, *, want: Want = "restored") -> AsyncWatch:
        """Watches a stream, for `async with`."""
        session = Session(want=want, token=self._token, credits=1)
        url = rest.socket_url(self._base, rest.view_path(stream_id))
        return AsyncWatch(_Socket(url, session))

    async def close(self) -> None:
        await self._http.aclose()

    async def _do(self, call: Call[T]) -> T:
        try:
            response = await self._http.request(
                call.method,
                call.path,
                params=call.params,
                content=call.content,
                headers=call.headers(self._token),
            )
        except httpx.HTTPError as error:
            raise Unreachable(f"no answer from {self._base}: {type(error).__name__}") from error
        return call.read(response)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def _each(pictures: Iterable[Picture] | AsyncIterable[Picture]) -> AsyncIterator[Picture]:
    if isinstance(pictures, AsyncIterable):
        async for picture in pictures:
            yield picture
    else:
        for picture in pictures:
            yield picture
