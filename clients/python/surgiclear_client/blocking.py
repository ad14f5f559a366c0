"""The blocking client: REST calls, pushing frames, watching streams."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from surgiclear_client import rest
from surgiclear_client.errors import Closed, Refused, Unreachable
from surgiclear_client.frame import Frame, Picture
from surgiclear_client.rest import Call, Compare, Format, Json, Restored, View
from surgiclear_client.session import SUBPROTOCOL, Answer, Dropped, Heard, Session, Want, Welcome

T = TypeVar("T")
OPEN_S = 10.0
MESSAGE_BYTES = 64 * 2**20


class _Socket:
    """One open socket and its session."""

    def __init__(self, url: str, session: Session) -> None:
        self.session = session
        self._refusal: Refused | None = None
        self._stack = ExitStack()
        try:
            self._wire: ClientConnection = self._stack.enter_context(
                connect(
                    url,
                    subprotocols=[Subprotocol(SUBPROTOCOL)],
                    compression=None,
                    open_timeout=OPEN_S,
                    max_size=MESSAGE_BYTES,
                    max_queue=2,
                    proxy=None,
                )
            )
        except (OSError, TimeoutError, InvalidHandshake) as error:
            raise Unreachable(f"no service answers at {url}: {error}") from error
        try:
            self.send(session.hello())
            welcome = self.hear(OPEN_S)
        except BaseException:
            self.close()
            raise
        if not isinstance(welcome, Welcome):
            self.close()
            raise Unreachable(f"no welcome from {url}")

    def send(self, message: str | bytes) -> None:
        try:
            self._wire.send(message)
        except ConnectionClosed as error:
            raise self._closed(error) from None

    def hear(self, timeout_s: float | None) -> Heard | None:
        """The next message; None when none came in time."""
        try:
            message = self._wire.recv(timeout_s)
        except TimeoutError:
            return None
        except ConnectionClosed as error:
            raise self._closed(error) from None
        try:
            return self.session.receive(message)
        except Refused as refusal:
            self._refusal = refusal  # the reason of the close that follows, or a warning
            return self.hear(timeout_s)

    def close(self) -> None:
        self._stack.close()

    def _closed(self, error: ConnectionClosed) -> Closed:
        frame = error.rcvd
        code, reason = (1006, "") if frame is None else (frame.code, frame.reason)
        return Closed(code, self._refusal.message if self._refusal else reason)


class Push:
    """Frames out, answers back: exactly one answer for each frame. Not for two threads at once."""

    def __init__(self, socket: _Socket) -> None:
        self._socket = socket
        self._session = socket.session
        self._answers: deque[Answer] = deque()
        assert self._session.welcome is not None
        self.welcome = self._session.welcome

    @property
    def credit(self) -> int:
        """How many frames may be sent now without waiting."""
        return self._session.credit

    @property
    def pending(self) -> int:
        """Frames without an answer yet."""
        return self._session.pending

    def send(
        self, picture: Picture, *, seq: int | None = None, capture_ts_ns: int | None = None
    ) -> int:
        """Sends a picture and returns its seq; waits for a credit first. Raises BadPicture or
        Closed."""
        while not self.credit:
            self._hear(None)
        number, message = self._session.frame(picture, seq=seq, capture_ts_ns=capture_ts_ns)
        self._socket.send(message)
        return number

    def receive(self, timeout_s: float | None = None) -> Answer | None:
        """The next answer; None when none came in time (0: only one that is here). Raises
        Closed."""
        while not self._answers:
            if not self._hear(timeout_s):
                return None
        return self._answers.popleft()

    def exchange(self, pictures: Iterable[Picture]) -> Iterator[Answer]:
        """Sends all pictures and yields all answers, in order; waits, never skips."""
        for picture in pictures:
            self.send(picture)
            while (answer := self.receive(0)) is not None:
                yield answer
        while self.pending or self._answers:
            answer = self.receive()
            assert answer is not None
            yield answer

    def bypass(self, on: bool) -> None:
        """Raw from the next frame on, or no longer."""
        self._socket.send(Session.control("bypass", on=on))

    def want(self, want: Want) -> None:
        self._socket.send(Session.control("want", want=want))

    def strength(self, strength: float) -> None:
        self._socket.send(Session.control("strength", strength=strength))

    def close(self) -> None:
        self._socket.close()

    def _hear(self, timeout_s: float | None) -> bool:
        heard = self._socket.hear(timeout_s)
        if isinstance(heard, Frame | Dropped):
            self._answers.append(heard)
        return heard is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Watch:
    """The newest picture each time; ends when the stream ends."""

    def __init__(self, socket: _Socket) -> None:
        self._socket = socket
        self._shown: int | None = None
        assert socket.session.welcome is not None
        self.welcome = socket.session.welcome

    def receive(self, timeout_s: float | None = None) -> Frame | None:
        """The next picture; None when none came in time. Raises Closed. The service sends a
        further one only once this is called again."""
        if self._shown is not None:
            self._socket.send(Session.control("ack", seq=self._shown))
            self._shown = None
        while True:
            heard = self._socket.hear(timeout_s)
            if heard is None:
                return None
            if isinstance(heard, Frame):
                self._shown = heard.seq
                return heard

    def __iter__(self) -> Iterator[Frame]:
        try:
            while (frame := self.receive()) is not None:
                yield frame
        except Closed as closed:
            if closed.code not in (1000, 1001):
                raise

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Client:
    """A service at `url` (http://HOST:PORT). timeout_s: of a REST call."""

    def __init__(self, url: str, *, token: str | None = None, timeout_s: float = 60.0) -> None:
        self._base = rest.base_of(url)
        self._token = token
        self._http = httpx.Client(base_url=self._base, timeout=timeout_s, trust_env=False)

    def restore(
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
        return self._do(call)

    def detect(self, picture: Picture, *, engine: str | None = None) -> Json:
        """{"smoke": {"level", "probability", "coverage"}, "fog": …, "splash": {…, "type"}}."""
        return self._do(rest.detect(picture, engine=engine))

    def engines(self) -> list[Json]:
        return self._do(rest.engines())

    def streams(self) -> list[Json]:
        return self._do(rest.streams())

    def state(self, stream_id: str) -> Json:
        return self._do(rest.state(stream_id))

    def start(self, source: str, **options: Any) -> Json:
        """Starts a stream: "phantom:", "file:PATH", "rtsp://HOST/PATH". Returns its state."""
        return self._do(rest.start(source, options))

    def stop(self, stream_id: str) -> None:
        self._do(rest.stop(stream_id))

    def bypass(self, stream_id: str, on: bool) -> Json:
        return self._do(rest.bypass(stream_id, on))

    def set_engine(self, stream_id: str, name: str) -> Json:
        return self._do(rest.set_engine(stream_id, name))

    def set_strength(self, stream_id: str, strength: float) -> Json:
        return self._do(rest.set_strength(stream_id, strength))

    def snapshot(self, stream_id: str, view: View = "restored") -> bytes:
        """JPEG bytes."""
        return self._do(rest.snapshot(stream_id, view))

    def push(
        self,
        *,
        want: Want = "restored",
        credits: int | None = None,
        quality: int = 90,
        **options: Any,
    ) -> Push:
        """A stream of one's own frames. options: engine, max_age_ms, deadline_ms, strength, kinds,
        mode. Raises Unreachable or Closed."""
        session = Session(
            want=want, token=self._token, credits=credits, options=options, quality=quality
        )
        return Push(_Socket(rest.socket_url(self._base, "/v1/stream"), session))

    def view(self, stream_id: str, *, want: Want = "restored") -> Watch:
        """Watches a stream. Raises Unreachable or Closed."""
        session = Session(want=want, token=self._token, credits=1)
        return Watch(_Socket(rest.socket_url(self._base, rest.view_path(stream_id)), session))

    def close(self) -> None:
        self._http.close()

    def _do(self, call: Call[T]) -> T:
        try:
            response = self._http.request(
                call.method,
                call.path,
                params=call.params,
                content=call.content,
                headers=call.headers(self._token),
            )
        except httpx.HTTPError as error:
            raise Unreachable(f"no answer from {self._base}: {type(error).__name__}") from error
        return call.read(response)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
