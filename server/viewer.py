"""A client that watches a stream: the newest picture whenever it has room for one.

A viewer that states credits acknowledges what it has shown and is never sent more than it can
show. One that does not is bounded by its own TCP window. Either way what it was too slow for is
skipped, never queued, and a viewer that takes nothing at all is cut off.
"""

from __future__ import annotations

import asyncio

from server.auth import Action
from server.errors import StreamUnknown
from server.messages import Ack, Bypass, Close, Control, Ping, ProtocolError, Want, dump
from server.spec import Outgoing, View
from server.subscription import Subscription
from server.talk import Ended, Talk
from server.wire import WireFrame


class Viewer:
    """One viewer of one stream."""

    def __init__(self, talk: Talk, stream_id: str) -> None:
        self._talk = talk
        self._service = talk.service
        self._manager = talk.service.manager
        self._id = stream_id
        self._credits: int | None = None
        self._acknowledged = asyncio.Event()
        self._skipped = 0

    async def converse(self) -> None:
        """The whole conversation. Raises Ended or ProtocolError."""
        hello = await self._talk.hello(Action.SEE)
        self._credits = hello.credits
        self._most = hello.credits or 0
        self._subscription = self._subscribe(hello.want)
        try:
            await self._welcome(hello.want)
            await self._talk.together(self._listen(), self._show())
        finally:
            self._subscription.close()

    def _subscribe(self, want: View) -> Subscription:
        try:
            return self._manager.subscribe(self._id, want)
        except StreamUnknown as error:
            raise Ended(Close.UNKNOWN, "stream_unknown", str(error)) from None

    async def _welcome(self, want: View) -> None:
        state = self._manager.state(self._id)
        limits = self._manager.limits
        await self._talk.send(
            dump(
                "welcome",
                stream_id=self._id,
                stream=state.number,
                engine=state.engine,
                deadline_ms=state.spec.deadline_ms,
                stale_warn_ms=limits.stale_warn_ms,
                stale_stop_ms=limits.stale_stop_ms,
                want=want,
                credits=self._credits,
                server_ns=self._service.clock_ns(),
            )
        )

    async def _listen(self) -> None:
        while True:
            message = await self._talk.receive()
            if isinstance(message, bytes):
                raise ProtocolError("unexpected", "a viewer sends no frames")
            await self._control(message)

    async def _control(self, message: Control) -> None:
        match message:
            case Ack():
                if self._credits is None:
                    raise ProtocolError("unexpected", "state credits in the hello to acknowledge")
                self._credits = min(self._credits + 1, self._most)
                self._acknowledged.set()
            case Ping(t=t):
                now = self._service.clock_ns()
                await self._talk.send(dump("pong", t=t, server_ns=now))
            case Want(want=want):
                old, self._subscription = self._subscription, self._subscribe(want)
                self._skipped = 0
                old.close()
            case Bypass(on=on):
                why = self._talk.admit(Action.BYPASS_ON if on else Action.OPERATE)
                if why is not None:
                    raise Ended(Close.AUTH, "forbidden", why)
                await self._manager.bypass(self._id, on)
            case _:
                raise ProtocolError("unexpected", f"{message.type} does not belong here")

    async def _show(self) -> None:
        while True:
            await self._credit()
            await self._talk.room()
            subscription = self._subscription
            item = await subscription.get()
            if item is None:
                if subscription is not self._subscription:
                    continue  # the view was changed
                raise Ended(Close.GOING_AWAY, "stream_ended", "the stream was stopped")
            if not isinstance(item, Outgoing):
                continue
            if subscription.skipped > self._skipped:
                self._service.metrics.skipped.inc(subscription.skipped - self._skipped)
                self._skipped = subscription.skipped
            if self._credits is not None:
                self._credits -= 1
            await self._talk.send(WireFrame.of(item).pack())

    async def _credit(self) -> None:
        """Waits for a credit. Raises Ended for a viewer that acknowledges nothing for slow_s."""
        if self._credits is None:
            return
        try:
            async with asyncio.timeout(self._service.config.limits.slow_s):
                while self._credits == 0:
                    self._acknowledged.clear()
                    await self._acknowledged.wait()
        except TimeoutError:
            raise Ended(Close.TOO_SLOW, "too_slow", "the viewer acknowledges nothing") from None
