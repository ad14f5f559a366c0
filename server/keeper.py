"""One stream as the service sees it: its process, its slots, its history and its viewers."""

from __future__ import annotations

import asyncio
import logging
import pickle
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from server import stream
from server.child import Child, launch
from server.controls import Controls, Limits
from server.decode_process import Feed
from server.engine_process import RestorerFactory
from server.errors import SettingInvalid
from server.events import DropReason, Event, EventKind, History, Scalar
from server.feed import PUSH
from server.ingest import Ingest
from server.invariants import Checker
from server.outgoing import no_signal, outgoing
from server.packet import Packet
from server.shared import Slot
from server.sink_hold import SinkHold
from server.spec import (
    Codec,
    Fate,
    Outgoing,
    StreamEvent,
    StreamSpec,
    StreamState,
    View,
)
from server.stream import StreamTask
from server.subscription import Place, Subscription
from server.supervise import Worker
from server.tally import Tally
from server.timeline import Call
from server.trust import Trust

logger = logging.getLogger(__name__)
VIEWS: tuple[View, ...] = ("restored", "raw", "split", "both")
CARE_EVERY_S = 0.05
REPLAY_S = 1.0
STOP_S = 2.5  # for the stream process to end in order; then it is killed


class Keeper:
    """Starts the stream process, hears it, restarts it, and hands its pictures to the viewers.
    Lives in one event loop. heard: takes StreamEvents; counted: takes Fates."""

    def __init__(
        self,
        stream_id: str,
        number: int,
        spec: StreamSpec,
        factory: RestorerFactory,
        feed: Feed,
        limits: Limits,
        controls: Controls,
        trust: Trust,
        *,
        heard: Callable[[StreamEvent], None],
        counted: Callable[[Fate], None],
    ) -> None:
        self.id, self.number, self.spec, self.factory, self.feed = (
            stream_id, number, spec, factory, feed,
        )  # fmt: skip
        self.limits, self.controls = limits, controls
        self.history = History(limits.history_events)
        self.checker = Checker()
        self.tally = Tally(stream_id, number, spec, limits)
        self.viewers: list[Subscription] = []
        self._heard, self._counted = heard, counted
        self._loop = asyncio.get_running_loop()
        self._outs = {
            view: Slot.create(2 * limits.frame_bytes, f"{view} {number}") for view in VIEWS
        }
        self._replay = Slot.create(limits.frame_bytes, f"replay {number}")
        self._asked: dict[Place, asyncio.Future[Outgoing | None]] = {}
        self._ingest = Ingest(number, spec.mode, limits) if spec.source == PUSH else None
        hold = partial(SinkHold, lost=self._sink_lost, back=self._sink_back)
        self._sinks = [
            hold(number, index, url, limits, controls, trust)
            for index, url in enumerate(spec.sinks)
        ]
        self._worker = Worker(self._launch, limits, controls, self._lost)
        self._next_factory: RestorerFactory | None = None
        self._epoch = 0  # that the stream process begins with
        self._progress_ns = self._fed_ns = self._card_ns = time.monotonic_ns()
        self._begun = False  # the stream process has said that it runs
        self._emitted = 0
        self._stopping = False
        for view, slot in self._outs.items():
            self._loop.add_reader(slot.fileno(), self._take_out, view)
        self._loop.add_reader(self._replay.fileno(), self._take_replay)
        self._start(time.monotonic_ns())
        self._care = self._loop.create_task(self._look_after())

    # its life

    def _launch(self) -> Child:
        outs = {view: slot.handle for view, slot in self._outs.items()}
        ingest = self._ingest
        pushed = [] if ingest is None else [ingest.raw, ingest.pushed]
        sinks = [sink.slot for sink in self._sinks]
        slots = [self._replay, *self._outs.values(), *pushed, *sinks]
        return launch(
            stream.run,
            StreamTask(
                number=self.number,
                spec=self.spec,
                factory=self.factory,
                feed=self.feed,
                limits=self.limits,
                controls=self.controls,
                epoch=self._epoch,
                pressed=self.tally.pressed,
                latched=self.tally.latched,
                raw=None if ingest is None else ingest.raw.handle,
                pushed=None if ingest is None else ingest.pushed.handle,
                outs=outs,
                sinks=tuple(slot.handle for slot in sinks),
                replay=self._replay.handle,
            ),
            title=f"surgiclear: stream {self.number}",
            fds=[fd for slot in slots for fd in slot.handle.fds],
        )

    def _start(self, now: int) -> None:
        if self._worker.start(now) and self._worker.child is not None:
            self._loop.add_reader(self._worker.child.control.fileno(), self._hear)
            self.tally.stream_down = self._begun = False
            self._progress_ns = self._fed_ns = now
            self._tell_wants()

    async def stop(self) -> None:
        """Ends the stream in order, or else at once; nothing of it is left."""
        self._stopping = True
        self._care.cancel()
        child = self._worker.child
        if child is not None:
            if child.alive:
                child.process.terminate()
            deadline = time.monotonic() + STOP_S
            while not child.reaped() and time.monotonic() < deadline:
                await asyncio.sleep(0.01)
            self._hear()
            if child.control.fileno() >= 0:
                self._loop.remove_reader(child.control.fileno())
        self._abandon(DropReason.STOPPED)
        for sink in self._sinks:
            sink.worker.retire()
        self._worker.retire()
        await asyncio.to_thread(self._worker.reaped, 1.0)
        for sink in self._sinks:
            await asyncio.to_thread(sink.worker.reaped, 1.0)
            sink.slot.close()
        for viewer in list(self.viewers):
            viewer.end()
        for slot in (self._replay, *self._outs.values()):
            self._loop.remove_reader(slot.fileno())
            slot.close()
        if self._ingest is not None:
            self._ingest.close()

    async def _look_after(self) -> None:
        """The watchdog, fed by what has left (I14); restarts; alarms."""
        while True:
            await asyncio.sleep(CARE_EVERY_S)
            try:
                self._look(time.monotonic_ns())
            except Exception:  # it has to go on looking, whatever it has seen
                logger.exception("looking after stream %d failed", self.number)

    def _look(self, now: int) -> None:
        self._start(now)
        self._watchdog(now)
        self._show_card(now)
        for sink in self._sinks:
            sink.tick(now)
        for call in self.tally.alarm_calls(now):
            self._call(call)

    def _watchdog(self, now: int) -> None:
        emitted = self._outs["restored"].published
        if emitted > self._emitted or not self.controls.watchdog:
            self._emitted, self._progress_ns = emitted, now
            if now - self._fed_ns >= self.limits.watchdog_s * 1e9 / 4:
                self._fed_ns = now
                self._log(EventKind.WATCHDOG, emitted=emitted)
            return
        patience_s = self.limits.watchdog_s if self._begun else self.limits.start_timeout_s
        silent = now - self._progress_ns > patience_s * 1e9
        if silent and self.spec.mode == "live" and self.controls.restart:
            self._gone("nothing has left it", now)

    def _show_card(self, now: int) -> None:
        """Should the stream process itself be silent, the viewers still hear of it (I11)."""
        stop_ns = int(self.limits.stale_stop_ms * 1e6)
        if self.spec.mode != "live" or not self.controls.card:
            return
        if now - self._progress_ns < 2 * stop_ns or now - self._card_ns < stop_ns:
            return
        self._card_ns = now
        place = (self.tally.epoch, max(0, self.tally.seq))
        size = (self.tally.width or 1280, self.tally.height or 720)
        pictures = {v.want: no_signal(self.number, place, size, now, v.want) for v in self.viewers}
        self._log(EventKind.CARD, by="service")
        for viewer in self.viewers:
            viewer.show(pictures[viewer.want])

    def _gone(self, what: str, now: int) -> None:
        """The stream process has died, or has to."""
        child = self._worker.child
        if child is None:
            return
        self._loop.remove_reader(child.control.fileno())
        self._worker.lost(what, now)
        self._abandon(DropReason.RESTART)
        self.tally.stream_down = True
        ours = 0 if self._ingest is None else self._ingest.epoch
        self._epoch = max(self._epoch, self.tally.epoch, ours) + 1
        if self._ingest is not None:
            self._ingest.renew(self._epoch)
        self._next_factory = None

    def _abandon(self, reason: DropReason) -> None:
        for epoch, seq in self.checker.in_flight:
            data: dict[str, Scalar] = {"reason": reason, "hop": "stream", "count": 1}
            now = time.monotonic_ns()
            self._event(Event(EventKind.DROP, now, self.number, epoch, seq, data=data))
        for viewer in self.viewers:
            viewer.lose_before((2**63, 0), reason)

    def _lost(self, what: str, wait_s: float) -> None:
        self._log(EventKind.FAULT, hop="stream", what=what)
        self._log(EventKind.RESTART, hop="stream", wait_s=wait_s)

    def _sink_lost(self, index: int, why: str) -> None:
        self._log(EventKind.FAULT, hop="sink", what=why, sink=index)
        self._call(("sink.lost", {"sink": index, "why": why}))

    def _sink_back(self, index: int) -> None:
        self._call(("sink.back", {"sink": index}))

    # what it hears

    def _hear(self) -> None:
        """Events of the stream process."""
        child = self._worker.child
        if child is None:
            return
        try:
            while (message := child.control.receive_bytes()) is not None:
                for line in message.split(b"\n"):
                    self._event(Event.parse(line))
        except (EOFError, ValueError):
            if self._stopping:
                self._loop.remove_reader(child.control.fileno())
            else:
                self._gone("died", time.monotonic_ns())

    def _event(self, event: Event) -> None:
        self.history.append(event)
        calls = self.tally.feed(event)
        for violation in self.checker.feed(event):
            calls.append(self.tally.violated(violation))
        fate = self.tally.fate(event)
        if fate is not None:
            self._counted(fate)
        if event.kind is EventKind.DROP:
            self._answer_drop(event)
        elif event.kind is EventKind.EMIT:
            for view in VIEWS:
                self._take_out(view)
            for viewer in self.viewers if self.spec.mode == "live" else ():
                viewer.lose_before((event.epoch, event.seq + 1))
        elif event.kind is EventKind.ENGINE:
            self._serving(event)
        elif event.kind is EventKind.CONFIG:
            self._begun, self._progress_ns = True, time.monotonic_ns()
        for call in calls:
            self._call(call)

    def _serving(self, event: Event) -> None:
        """Which engine a successor of the stream process should start with."""
        following = self._next_factory
        proven = event.data.get("state") in ("proven", "ready") and event.data.get("active")
        if following is not None and proven and event.data.get("name") == following.name:
            self.factory, self._next_factory = following, None

    def _answer_drop(self, event: Event) -> None:
        count = int(str(event.data.get("count", 1)))
        for seq in range(event.seq, event.seq + min(count, 10_000)):
            for viewer in self.viewers:
                viewer.lose((event.epoch, seq), str(event.data.get("reason")))

    def _take_out(self, view: View) -> None:
        slot = self._outs[view]
        if self.spec.mode == "lossless" and any(v.full for v in self.viewers if v.want == view):
            self._loop.call_later(0.002, self._take_out, view)  # until it has been read
            return
        item = slot.take()
        if item is None or not item.body.size:  # nobody looked: its head alone has left
            return
        picture = outgoing(Packet.unpack(item.head), item.body.tobytes(), view)
        for viewer in self.viewers:
            if viewer.want == view:
                viewer.show(picture)

    def _take_replay(self) -> None:
        item = self._replay.take()
        if item is None:
            return
        head = Packet.unpack(item.head)
        asked = self._asked.pop(head.place, None)
        if asked is not None and not asked.done():
            found = outgoing(head, item.body.tobytes(), "raw") if head.width else None
            asked.set_result(found)

    def _call(self, call: Call) -> None:
        name, data = call
        self._heard(self.tally.told(name, data))

    def _log(self, kind: EventKind, **data: Scalar) -> None:
        self._event(Event(kind, time.monotonic_ns(), self.number, data=data))

    # what it is asked

    def state(self) -> StreamState:
        state = self.tally.state(time.monotonic_ns())
        return replace(state, sinks=tuple(sink.report() for sink in self._sinks))

    async def push(
        self,
        payload: bytes | memoryview,
        codec: Codec,
        seq: int,
        capture_ts_ns: int,
        size: tuple[int, int],
    ) -> None:
        """Raises as StreamManager.push."""
        ingest = self._ingest
        if ingest is None:
            raise SettingInvalid("this stream takes no frames", "it has a source of its own")
        size = ingest.measure(payload, codec, size)
        turn = await ingest.room()
        try:
            if ingest.closed:
                return
            place = ingest.place(size)
            for viewer in self.viewers:
                viewer.owe(place, seq)
            ingest.put(payload, codec, size, place, (seq, capture_ts_ns))
        finally:
            turn.release()

    async def original(self, place: Place) -> Outgoing | None:
        """The raw frame at (epoch, place_seq), while it is kept."""
        asked = self._asked.setdefault(place, self._loop.create_future())
        self._send({"original": list(place)})
        async with asyncio.timeout(REPLAY_S):
            return await asked

    def subscribe(self, want: View, answers: bool) -> Subscription:
        viewer = Subscription(want, answers=answers, closed=self._left, controls=self.controls)
        self.viewers.append(viewer)
        self._tell_wants()
        return viewer

    def _left(self, viewer: Subscription) -> None:
        if viewer in self.viewers:
            self.viewers.remove(viewer)
            self._tell_wants()

    def _tell_wants(self) -> None:
        wants = {viewer.want for viewer in self.viewers}
        self._send({"wants": sorted(wants - {"restored"}), "watched": "restored" in wants})

    async def bypass(self, on: bool) -> None:
        self.tally.pressed = on  # for a successor of the stream process, should it die now
        self.tally.latched = self.tally.latched and on
        while not self._send({"bypass": on}) and self._worker.child is not None:
            await asyncio.sleep(0.002)

    def set_engine(self, factory: RestorerFactory) -> None:
        self._next_factory = factory
        self._send({"engine": pickle.dumps(factory).hex()})

    def set_strength(self, strength: float) -> None:
        self.spec = replace(self.spec, strength=strength)
        self.tally.strengthened(strength)
        self._send({"strength": strength})

    def _send(self, message: dict[str, object]) -> bool:
        child = self._worker.child
        return child is not None and child.control.send(message)
