"""A client that pushes frames over its own socket: every frame gets exactly one answer.

Credits bound what is in flight, so nothing queues up: a frame beyond them is answered "dropped" at
once. The client's seq and capture time come back to it; server_in_ns and server_out_ns are the
socket's own, so that their difference is all the latency that the service adds.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from server.auth import Action
from server.errors import (
    EngineUnknown,
    FrameTooLarge,
    SettingInvalid,
    SourceUnreadable,
    StreamsFull,
    StreamUnknown,
)
from server.messages import (
    Ack,
    Bypass,
    Close,
    Control,
    Engine,
    Hello,
    Ping,
    ProtocolError,
    Strength,
    Want,
    dump,
)
from server.spec import Dropped, Outgoing, StreamSpec, View
from server.subscription import Subscription
from server.talk import Ended, Talk
from server.wire import WireError, WireFrame

NO_CREDIT, REPEATED = "CREDITS", "OLDER"


def spec_of(hello: Hello, talk: Talk) -> StreamSpec:
    """What the client asks for, the service's defaults where it asks for nothing."""
    live = talk.service.config.live
    return StreamSpec(
        source="push",
        engine=hello.engine or talk.service.catalog.default,
        mode=hello.mode or live.mode,
        deadline_ms=live.deadline_ms if hello.deadline_ms is None else hello.deadline_ms,
        max_age_ms=live.max_age_ms if hello.max_age_ms is None else hello.max_age_ms,
        strength=live.strength if hello.strength is None else hello.strength,
        kinds=frozenset(live.kinds if hello.kinds is None else hello.kinds),
        jpeg_quality=live.jpeg_quality,
    )


class Pusher:
    """One pushing client and the stream that lives as long as its socket."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._service = talk.service
        self._manager = talk.service.manager
        self._pending: dict[int, int] = {}  # seq -> when it came in, ns
        self._settled = asyncio.Event()
        self._last_seq = -1

    async def converse(self) -> None:
        """The whole conversation. Raises Ended or ProtocolError."""
        hello = await self._talk.hello(Action.SEND)
        self._credits = hello.credits or self._service.config.live.credits
        spec = spec_of(hello, self._talk)
        try:
            self._id = await self._manager.start(spec)
        except StreamsFull as error:
            raise Ended(Close.TRY_LATER, "streams_full", str(error)) from error
        except EngineUnknown as error:
            raise ProtocolError("engine_unknown", str(error)) from error
        except SettingInvalid as error:
            raise ProtocolError("invalid", str(error)) from error
        self._subscription = self._subscribe(hello.want)
        try:
            await self._welcome(spec)
            await self._talk.together(self._listen(), self._answer())
        finally:
            self._subscription.close()
            with suppress(StreamUnknown):  # somebody else may have stopped it
                await asyncio.shield(self._manager.stop(self._id))

    def _subscribe(self, want: View) -> Subscription:
        return self._manager.subscribe(self._id, want, answers=True)

    async def _welcome(self, spec: StreamSpec) -> None:
        config = self._service.config
        await self._talk.send(
            dump(
                "welcome",
                stream_id=self._id,
                stream=self._manager.number(self._id),
                engine=spec.engine,
                deadline_ms=spec.deadline_ms,
                max_age_ms=spec.max_age_ms,
                mode=spec.mode,
                credits=self._credits,
                want=self._subscription.want,
                max_bytes=config.limits.max_bytes,
                max_pixels=config.limits.max_pixels,
                server_ns=self._service.clock_ns(),
            )
        )

    # what the client says

    async def _listen(self) -> None:
        while True:
            message = await self._talk.receive()
            if isinstance(message, bytes):
                await self._frame(message, self._service.clock_ns())
            else:
                await self._control(message)

    async def _frame(self, message: bytes, in_ns: int) -> None:
        try:
            frame = WireFrame.unpack(message, max_pixels=self._service.config.limits.max_pixels)
        except WireError as error:
            raise ProtocolError(error.code, str(error)) from error
        if frame.seq <= self._last_seq:
            await self._drop(frame.seq, REPEATED)
            return
        self._last_seq = frame.seq
        if len(self._pending) >= self._credits:
            await self._drop(frame.seq, NO_CREDIT)
            return
        self._pending[frame.seq] = in_ns
        try:
            await self._manager.push(
                self._id,
                frame.payload,
                codec=frame.codec,
                seq=frame.seq,
                capture_ts_ns=frame.capture_ts_ns,
                width=frame.width,
                height=frame.height,
            )
        except SourceUnreadable:
            await self._drop(frame.seq, "UNREADABLE")
        except FrameTooLarge:
            await self._drop(frame.seq, "TOO_LARGE")
        except StreamUnknown:
            raise Ended(Close.GOING_AWAY, "stream_ended", "the stream was stopped") from None

    async def _drop(self, seq: int, reason: str) -> None:
        if reason not in (NO_CREDIT, REPEATED):
            self._settle(seq)
        await self._talk.send(dump("dropped", seq=seq, reason=reason))

    async def _control(self, message: Control) -> None:
        try:
            match message:
                case Bypass(on=on):
                    await self._allowed(Action.BYPASS_ON if on else Action.OPERATE)
                    await self._manager.bypass(self._id, on)
                case Strength(strength=strength):
                    await self._allowed(Action.OPERATE)
                    await self._manager.set_strength(self._id, strength)
                case Engine(name=name):
                    await self._allowed(Action.OPERATE)
                    await self._manager.set_engine(self._id, name)
                case Want(want=want):
                    await self._switch(want)
                case Ping(t=t):
                    now = self._service.clock_ns()
                    await self._talk.send(dump("pong", t=t, server_ns=now))
                case Hello() | Ack():
                    raise ProtocolError("unexpected", f"{message.type} does not belong here")
        except EngineUnknown as error:
            await self._talk.send(dump("error", code="engine_unknown", message=str(error)))
        except StreamUnknown:
            raise Ended(Close.GOING_AWAY, "stream_ended", "the stream was stopped") from None

    async def _allowed(self, action: Action) -> None:
        if (why := self._talk.admit(action)) is not None:
            raise Ended(Close.AUTH, "forbidden", why)

    async def _switch(self, want: View) -> None:
        """Another view from the next frame on: first every frame under way gets its answer."""
        while self._pending:
            self._settled.clear()
            await self._settled.wait()
        old, self._subscription = self._subscription, self._subscribe(want)
        old.close()

    # what the client gets

    async def _answer(self) -> None:
        while True:
            await self._talk.room()
            subscription = self._subscription
            item = await subscription.get()
            if item is None:
                if subscription is not self._subscription:
                    continue  # the view was changed
                raise Ended(Close.GOING_AWAY, "stream_ended", "the stream was stopped")
            in_ns = self._settle(item.seq)
            if in_ns is None:
                continue  # answered already
            await self._send(item, in_ns)

    async def _send(self, item: Outgoing | Dropped, in_ns: int) -> None:
        if isinstance(item, Dropped):
            await self._talk.send(dump("dropped", seq=item.seq, reason=item.reason))
            return
        out_ns = self._service.clock_ns()
        await self._talk.send(WireFrame.of(item, in_ns=in_ns, out_ns=out_ns).pack())
        self._service.metrics.answer.observe((out_ns - in_ns) / 1e9)

    def _settle(self, seq: int) -> int | None:
        """Gives the credit back; when the frame came in, None if it was answered before."""
        in_ns = self._pending.pop(seq, None)
        self._settled.set()
        return in_ns
