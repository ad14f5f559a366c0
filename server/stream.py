"""One live stream's own process: it lets every frame leave, restored by its deadline, else raw.

    source -> decode process -> raw slot ----------------------> select -> mark, encode -> out
                             -> frame slot -> engine process -> answer slot -^

Nothing here waits for a decoder, an engine or a viewer, and nothing here computes for long.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import select
import sys
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from server.child import Control, end_on_terminate
from server.controls import Controls, Limits
from server.decode_process import Feed
from server.egress import Egress
from server.engine_process import RestorerFactory
from server.events import Event, EventKind, Scalar
from server.frame import Reason
from server.lanes import Engines, Lane
from server.reader import Reader
from server.select import Arrived, Choice, Selector
from server.shared import Board, Slot, SlotHandle, drain
from server.side import SideChannel
from server.spec import EngineState, StreamSpec, View

FREEZE_AFTER = 30  # frames: by then everything that stays has been made
LAST_HOP_NICE = -5
TURN_MOST_S = 0.25  # supervision looks round at least this often


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamTask:
    """What a stream process is started with. raw, pushed: slots that the manager fills, for a
    push stream; outs, replay: slots that it reads; sinks: slots that sink processes read; epoch:
    the first to use; pressed, latched: the state of the bypass that a predecessor left."""

    number: int
    spec: StreamSpec
    factory: RestorerFactory
    feed: Feed
    limits: Limits
    controls: Controls
    epoch: int
    pressed: bool
    latched: bool
    raw: SlotHandle | None
    pushed: SlotHandle | None
    outs: dict[View, SlotHandle]
    sinks: tuple[SlotHandle, ...]
    replay: SlotHandle


class Stream:
    """The loop of one stream process."""

    def __init__(self, task: StreamTask, control: Control) -> None:
        self.task = task
        self.control = control
        self.limits, self.controls = task.limits, task.controls
        control.room(task.limits.side_buffer_bytes)
        self.side = SideChannel(control, task.number, task.limits, task.controls)
        spec, limits, controls = task.spec, task.limits, task.controls
        self.selector = Selector(
            task.number,
            spec.mode,
            spec.deadline_ms,
            spec.max_age_ms,
            limits,
            controls,
            self.side.tell,
        )
        outs = {view: Slot(handle) for view, handle in task.outs.items()}
        sinks = [Slot(handle) for handle in task.sinks]
        self.egress = Egress(task.number, spec, limits, controls, outs, self.side.tell, sinks=sinks)
        self.replay = Slot(task.replay)
        self.raw = Slot.create(limits.frame_bytes, "raw") if task.raw is None else Slot(task.raw)
        self.board = Board.create()
        self.engines = Engines(
            spec,
            task.number,
            task.factory,
            limits,
            controls,
            self.board,
            told=lambda state, data: self._log(EventKind.ENGINE, state=state, **data),
            lost=self._lost,
            moved=self._engine_moved,
        )
        self.reader = Reader(
            task.number,
            spec,
            task.feed,
            limits,
            controls,
            self.raw,
            None if task.pushed is None else Slot(task.pushed),
            self.engines.frame_slots,
            self.board,
            task.epoch,
            lost=self._lost,
            fault=lambda hop, what: self._log(EventKind.FAULT, hop=hop, what=what),
            back=lambda wait_s: self._log(EventKind.RESTART, hop="source", wait_s=wait_s),
            unreadable=self._unreadable,
        )
        self._terminate_fd, self._terminate = end_on_terminate()

    # its life

    def run(self) -> None:
        self._begin()
        while not self._terminate.is_set():
            try:
                self._turn()
            except EOFError:
                break  # the manager is gone
        self._end()

    def _begin(self) -> None:
        spec, limits = self.task.spec, self.limits
        self._log(
            EventKind.CONFIG,
            mode=spec.mode,
            deadline_ms=spec.deadline_ms,
            max_age_ms=spec.max_age_ms,
            stale_warn_ms=limits.stale_warn_ms,
            stale_stop_ms=limits.stale_stop_ms,
            good_frames=limits.good_frames,
            return_gap_s=limits.return_gap_s,
            trips=limits.trips,
            trip_window_s=limits.trip_window_s,
            late_allowance=limits.late_allowance,
            slack_ms=limits.slack_ms,
            pressed=self.task.pressed,
            latched=self.task.latched,
        )
        now = time.monotonic_ns()
        if self.task.pressed:
            self.selector.press(True, now)
        if self.task.latched:
            self.selector.hold.latch(Reason.ENGINE_DOWN, "latched before the restart", now)

    def _turn(self) -> None:
        """Waits for something to happen, and does it. Answers come before frames, so that a
        frame whose answer is here already never counts as late."""
        self._wait()
        self._obey()
        self._take_answers()
        self._take_raw()
        self._tick()
        self.side.flush()
        self.egress.side_ns += self.side.spent_ns()

    def _wait(self) -> None:
        room = self.egress.outs["restored"].handle.room
        if not self._live:
            drain(room)
        poll = select.poll()
        for fd in self._sources(room):
            poll.register(fd, select.POLLIN)
        poll.poll(self._pause_ms())

    def _sources(self, room: int) -> Iterator[int]:
        """Everything that may have something for us."""
        yield self.control.fileno()
        yield self._terminate_fd
        yield self.raw.fileno() if self._may_take_raw() else room
        for lane in self.engines.lanes:
            yield lane.answers.fileno()
        for worker in (self.reader.worker, *(lane.worker for lane in self.engines.lanes)):
            if worker.child is not None:
                yield worker.child.control.fileno()

    def _pause_ms(self) -> float:
        now = time.monotonic_ns()
        due = [now + int(TURN_MOST_S * 1e9), self.selector.due_ns, self.reader.worker.due_ns]
        due += [lane.worker.due_ns for lane in self.engines.lanes]
        if self._live:
            due.append(self.egress.card_due_ns)
        return max(0.0, (min(at for at in due if at is not None) - now) / 1e6)

    def _end(self) -> None:
        """Nothing is left: no process, no memory."""
        now = time.monotonic_ns()
        self.reader.end()
        self.engines.end()
        self.selector.stop(now)
        self._log(EventKind.END)
        self.side.flush()
        self.raw.close()
        self.board.close()

    # what it reads

    def _obey(self) -> None:
        while (message := self.control.receive()) is not None:
            now = time.monotonic_ns()
            if "bypass" in message:
                self._leave(self.selector.press(bool(message["bypass"]), now))
            if "strength" in message:
                self.engines.strength = float(message["strength"])
                self.engines.send({"strength": self.engines.strength})
            if "wants" in message:
                self.egress.wants = frozenset(message["wants"])
                self.egress.watched = bool(message["watched"])
                self.engines.split = bool(self.egress.wants & {"split", "both"})
                self.engines.send({"split": self.engines.split})
            if "original" in message:
                epoch, seq = message["original"]
                self.replay.put(*self.egress.original((int(epoch), int(seq))))
            if "engine" in message:
                self._change_engine(message["engine"])

    def _change_engine(self, pickled_hex: str) -> None:
        """From our own parent, which made this process."""
        factory: RestorerFactory = pickle.loads(bytes.fromhex(pickled_hex))
        self.engines.change(factory)

    def _take_answers(self) -> None:
        for lane in self.engines.lanes:
            try:
                answer = lane.take()
            except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
                self.engines.died(lane, f"nonsense: {error}", time.monotonic_ns())
                continue
            if answer is None:
                continue
            now = time.monotonic_ns()
            self._hear_engine(lane, now)  # what it said before it answered
            if lane is self.engines.candidate:
                continue
            self._leave(self.selector.answer(answer, now))
            sound = answer.reason not in (Reason.GUARD, Reason.ENGINE_DOWN)
            self.engines.answered(lane, sound)

    def _may_take_raw(self) -> bool:
        """Lossless: one frame after the other, and only when the last one was taken."""
        if self._live:
            return True
        return not self.selector.waiting and self.egress.outs["restored"].has_room()

    def _take_raw(self) -> None:
        if not self._may_take_raw():
            return
        now = time.monotonic_ns()
        taken = self.reader.take(now)
        if taken is None:
            return
        packet, item = taken
        crc = zlib.crc32(item.body.data) if self.task.raw is not None else None
        self.engines.size = (packet.width, packet.height)
        self.selector.ready_size = self.engines.serving.ready_size
        self.selector.refused_size = self.engines.refused_size
        self._leave(self.selector.arrive(Arrived(packet, item.body, crc, item.missed), now))
        if self.egress.left == FREEZE_AFTER:
            gc.collect()
            gc.freeze()  # a full collection would cost 0.1 s in the middle of a case

    # what it does

    def _leave(self, choices: list[Choice]) -> None:
        self.egress.waiting = self.selector.waiting
        for choice in choices:
            self.egress.emit(choice)

    def _tick(self) -> None:
        now = time.monotonic_ns()
        self._leave(self.selector.tick(now))
        overdue = now - self.reader.seen_ns > self.limits.hang_ms * 1e6
        if not self._live and overdue and self.engines.owes_nothing:
            self._leave(self.selector.give_up(now))
        if self._live and now >= self.egress.card_due_ns:
            self.egress.card(now)
        for lane in self.engines.lanes:
            self._hear_engine(lane, now)
        self.engines.tick(now)
        self.reader.tick(now)

    def _hear_engine(self, lane: Lane, now: int) -> None:
        child = lane.worker.child
        try:
            while child is not None and (message := child.control.receive()) is not None:
                self.engines.message(lane, message, now)
        except (EOFError, ValueError, KeyError, TypeError):
            self.engines.died(lane, "died", now)

    # how it reports

    @property
    def _live(self) -> bool:
        return self.task.spec.mode == "live"

    def _engine_moved(self, state: EngineState) -> None:
        serving = self.engines.serving
        self.selector.verified[serving.factory.name] = serving.verified
        self.selector.ready_size = serving.ready_size
        self.selector.refused_size = self.engines.refused_size
        self._leave(self.selector.engine(state, time.monotonic_ns()))

    def _unreadable(self, place: tuple[int, int]) -> None:
        self.selector.unreadable(place, time.monotonic_ns())

    def _lost(self, hop: str, what: str, wait_s: float) -> None:
        self._log(EventKind.FAULT, hop=hop, what=what)
        self._log(EventKind.RESTART, hop=hop, wait_s=wait_s)

    def _log(self, kind: EventKind, **data: Scalar) -> None:
        self.side.tell(Event(kind, time.monotonic_ns(), self.task.number, data=data))


def run(task: StreamTask, control: Control) -> None:
    """Entry of the process."""
    sys.setswitchinterval(0.0005)
    with contextlib.suppress(PermissionError):
        os.nice(LAST_HOP_NICE)  # where it is permitted, the last hop goes before the rest of ours
    Stream(task, control).run()
