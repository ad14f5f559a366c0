"""One WebSocket conversation: hello, who it is, sending with a bound, and ending with a reason."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import TypeVar, cast

from fastapi import WebSocket, WebSocketDisconnect

from server.auth import Action, Principal, Unauthenticated, bearer
from server.errors import UserError
from server.messages import (
    SUBPROTOCOL,
    TEXT_BYTES,
    Close,
    Control,
    Hello,
    ProtocolError,
    dump,
    parse,
)
from server.service import Service
from server.sockets import EXTENSION, BoundedSocket

T = TypeVar("T")
RECHECK_S = 1.0  # how often a token is checked again while a socket is open
REASON_BYTES = 100  # of a close frame; RFC 6455 section 5.5 allows 125 with the code


class Ended(Exception):
    """This conversation is over. code: for the close frame, None when the peer has gone already."""

    def __init__(self, close: Close | None = None, code: str = "", message: str = "") -> None:
        super().__init__(message)
        self.close = close
        self.code = code


class Talk:
    """The service's side of one socket. Everything raises Ended once it is over."""

    def __init__(self, socket: WebSocket, service: Service, role: str) -> None:
        self.service = service
        self.token: str | None = None
        self.principal: Principal | None = None
        self.role = role
        self._socket = socket
        self._wire = cast(BoundedSocket | None, socket.scope.get("extensions", {}).get(EXTENSION))
        self._limits = service.config.limits
        self._gauge = service.metrics.sockets.labels(role)

    @property
    def peer(self) -> str | None:
        """Address of the other side."""
        return None if self._socket.client is None else self._socket.client.host

    async def run(self, conversation: Awaitable[None]) -> None:
        """Accepts, converses, and ends in order whatever happens."""
        sockets = self.service.sockets
        spoken = SUBPROTOCOL in self._socket.scope.get("subprotocols", [])
        sockets.open += 1
        self._gauge.inc()
        try:
            await self._socket.accept(subprotocol=SUBPROTOCOL if spoken else None)
            try:
                if not spoken:
                    raise Ended(Close.PROTOCOL, "subprotocol", f"offer {SUBPROTOCOL}")
                await conversation
            except ProtocolError as error:
                raise Ended(Close.PROTOCOL, error.code, str(error)) from error
        except Ended as end:
            await self._end(end)
        except WebSocketDisconnect:
            pass  # it has gone
        finally:
            if asyncio.iscoroutine(conversation):
                conversation.close()  # where it never began
            sockets.open -= 1
            self._gauge.dec()

    async def hello(self, action: Action) -> Hello:
        """The first message; then the peer is known and allowed to do `action`."""
        try:
            async with asyncio.timeout(self._limits.hello_s):
                message = await self.receive()
        except TimeoutError:
            raise Ended(Close.TOO_SLOW, "hello_late", "say hello first") from None
        if not isinstance(message, Hello):
            raise ProtocolError("hello_expected", "the first message is a hello")
        self.token = message.token or bearer(self._socket.headers.get("authorization"))
        try:
            self.principal = self.service.gate.admit(self.token, action, peer=self.peer)
        except UserError as error:
            known = "unauthenticated" if isinstance(error, Unauthenticated) else "forbidden"
            raise Ended(Close.AUTH, known, str(error)) from error
        if self.service.sockets.open > self._limits.max_sockets:
            raise Ended(Close.TRY_LATER, "too_many_sockets", "too many sockets are open")
        return message

    def admit(self, action: Action) -> str | None:
        """None if the peer may do this, else why not."""
        try:
            self.service.gate.admit(self.token, action, peer=self.peer)
        except UserError as error:
            return str(error)
        return None

    async def receive(self) -> Control | bytes:
        """The next control message or the bytes of a frame. Raises ProtocolError."""
        try:
            message = await self._socket.receive()
        except WebSocketDisconnect:
            raise Ended from None
        if message["type"] == "websocket.disconnect":
            raise Ended
        text = message.get("text")
        if text is None:
            return cast(bytes, message["bytes"])
        if len(text) > TEXT_BYTES:
            raise ProtocolError("control_too_long", f"at most {TEXT_BYTES} characters")
        return parse(text)

    async def room(self) -> None:
        """Returns once what was sent before is on its way. Raises Ended for a peer that reads
        nothing for slow_s."""
        if self._wire is not None:
            await self._in_time(self._wire.room())

    async def send(self, message: str | bytes) -> None:
        """Raises Ended for a peer that reads nothing."""
        try:
            if isinstance(message, str):
                await self._in_time(self._socket.send_text(message))
            else:
                await self._in_time(self._socket.send_bytes(message))
        except (WebSocketDisconnect, RuntimeError):
            raise Ended from None  # it has gone meanwhile

    async def watch(self) -> None:
        """Never returns; raises Ended when the service stops or the token does not stand."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(RECHECK_S):
                    await self.service.closing.wait()
                raise Ended(Close.GOING_AWAY, "stopping", "the service stops")
            if self.principal is not None and not self.service.gate.stands(self.principal):
                raise Ended(Close.AUTH, "revoked", "the token is no longer valid")

    async def together(self, *parts: Awaitable[None]) -> None:
        """Runs all parts and the watch until the first of them ends, then ends the others.
        Raises what that one raised."""
        tasks = [asyncio.ensure_future(part) for part in (*parts, self.watch())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        errors = [r for r in results if isinstance(r, Exception)]
        stated = [e for e in errors if isinstance(e, Ended) and e.close is not None]
        for error in stated or errors:
            raise error

    async def _in_time(self, step: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._limits.slow_s):
                return await step
        except TimeoutError:
            raise Ended(Close.TOO_SLOW, "too_slow", "the reader takes nothing") from None

    async def _end(self, end: Ended) -> None:
        if end.close is None:
            return
        self.service.metrics.closed.labels(str(int(end.close))).inc()
        self.service.log.info("socket closed", role=self.role, code=int(end.close), why=end.code)
        reason = str(end).encode()[:REASON_BYTES].decode(errors="ignore")
        if end.close is Close.TOO_SLOW and self._wire is not None:
            self._wire.cut(end.close, reason)
            return
        with suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
            async with asyncio.timeout(1.0):
                await self._socket.send_text(dump("error", code=end.code, message=str(end)))
                await self._socket.close(end.close, reason)
