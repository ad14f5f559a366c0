"""uvicorn's protocols with bounds: what the application has not sent can still be newer.

uvicorn offers a message to the application's `send` before it waits for room, so that a slow
reader would get a picture that was newest when the wait began. Here the application waits for room
first, then takes the newest picture. A reader that takes nothing can be cut off: a closing
handshake behind a full buffer would never end. And who connects has to say something in time.
"""

from __future__ import annotations

import socket
from asyncio import BaseTransport, TimerHandle
from contextlib import suppress
from typing import cast

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

EXTENSION = "surgiclear.socket"
UNSENT_BYTES = 128 * 1024  # that the kernel may hold unsent: less than one picture at 720p
CLOSE_GRACE_S = 1.0


class BoundedSocket(WebSocketsSansIOProtocol):
    """Puts itself into the scope's extensions under EXTENSION."""

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        self.close_timeout = CLOSE_GRACE_S
        self.transport.set_write_buffer_limits(high=0)
        sock = transport.get_extra_info("socket")
        if sock is not None and hasattr(socket, "TCP_NOTSENT_LOWAT"):
            with suppress(OSError):  # a socket of another family
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        scope = getattr(self, "scope", None)
        if scope is not None:  # not for a refused handshake
            cast(dict[str, object], scope["extensions"])[EXTENSION] = self

    async def room(self) -> None:
        """Returns once all that was sent before has been handed to the kernel, or is lost."""
        await self.writable.wait()

    def cut(self, code: int, reason: str) -> None:
        """Says goodbye if the other side listens, and is gone within CLOSE_GRACE_S if not."""
        if self.disconnected or self.transport.is_closing():
            self.transport.abort()
            return
        if not self.close_sent:
            self.conn.send_close(code, reason)
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.close_sent = True
        self.loop.call_later(CLOSE_GRACE_S, self.transport.abort)


class PatientHttp(H11Protocol):
    """Ends a connection whose first request's head is not there within `patience_s`."""

    patience_s = 5.0
    _patience: TimerHandle | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._patience = self.loop.call_later(self.patience_s, self._out_of_patience)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._patience is not None:
            self._patience.cancel()
        super().connection_lost(exc)

    def _out_of_patience(self) -> None:
        asked = self.cycle is not None or self.transport.get_protocol() is not self
        if not asked and not self.transport.is_closing():
            self.transport.close()


def http_within(patience_s: float) -> type[H11Protocol]:
    """PatientHttp with this patience; uvicorn makes one for each connection."""
    return type("PatientHttp", (PatientHttp,), {"patience_s": patience_s})
