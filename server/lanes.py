"""The engines of one stream: the one that serves, and the one that may follow it.

Each has a lane: a slot of frames, a slot of answers, a process. Only one lane gets the live
frames. A new engine loads and warms in its own process; then the frames go to its lane from one
frame to the next; the old one stays loaded until the new one has proven itself, and takes over
again if it does not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engines.picture import Picture
from server import engine_process
from server.child import Child, launch
from server.controls import Controls, Limits
from server.decode_process import ACTIVE_LANE, LATER, NO_LANE
from server.engine_process import EngineTask, RestorerFactory
from server.events import Scalar
from server.frame import Reason
from server.packet import Packet, picture_of, raw_bytes
from server.select import Answer
from server.shared import Board, Slot
from server.spec import EngineState, Levels, StreamSpec
from server.supervise import Worker

STAGES = ("decode", "detect", "restore", "guard")
TellEngine = Callable[[str, dict[str, Scalar]], None]


class Lane:
    """One engine process with its two slots."""

    def __init__(
        self,
        index: int,
        slots: tuple[Slot, Slot],
        factory: RestorerFactory,
        worker: Callable[[Callable[[], Child]], Worker],
        task: Callable[[Lane], EngineTask],
        number: int,
    ) -> None:
        self.index = index
        self.frames, self.answers = slots
        self.factory = factory
        self.state: EngineState = "starting"
        self.version, self.sha256, self.verified = "", "", False
        self.ready_size: tuple[int, int] | None = None
        self.idle = False  # loaded, and has seen no frame yet
        self.worker = worker(
            lambda: launch(
                engine_process.run,
                task(self),
                title=f"surgiclear: engine {number}",
                fds=(*self.frames.handle.fds, *self.answers.handle.fds),
            )
        )
        self._answered = self.frames.published
        self._behind_ns: int | None = None
        self._since_ns = 0

    def began(self, now: int) -> None:
        """A fresh process: what a dead one took is not owed any more."""
        self.state, self.ready_size = "starting", None
        self._answered, self._behind_ns, self._since_ns = self.frames.taken, None, now

    def waits_since(self, state: EngineState, now: int) -> None:
        self.state, self._since_ns, self._behind_ns = state, now, None
        self._answered = max(self._answered, self.frames.taken)

    def hangs(self, limits: Limits, now: int) -> str | None:
        """What it has been doing for too long, if it has."""
        for_s = (now - self._since_ns) / 1e9
        if self.state == "starting" and for_s > limits.start_timeout_s:
            return "did not load in time"
        if self.state == "warming" and not self.idle and for_s > limits.warm_timeout_s:
            return "did not warm in time"
        if self.state != "ready" or not self.behind:
            self._behind_ns = None
            return None
        if self._behind_ns is None:
            self._behind_ns = now
        return "hangs" if now - self._behind_ns > limits.hang_ms * 1e6 else None

    @property
    def behind(self) -> bool:
        return self.frames.published > self._answered

    def take(self) -> Answer | None:
        """The newest answer, if there is one."""
        item = self.answers.take()
        if item is None:
            return None
        packet = Packet.unpack(item.head)
        note: dict[str, Any] = packet.note
        self._answered = max(self._answered, int(note["index"]))
        self._behind_ns = None
        pictures: list[Picture | None] = [None, None]
        offset = 0
        for place, there in enumerate(note["parts"]):
            if there:
                pictures[place] = picture_of(packet, item.body[offset:])
                offset += raw_bytes(packet.codec, packet.width, packet.height)
        return Answer(
            packet=packet,
            reason=None if note["reason"] is None else Reason(note["reason"]),
            engine=self.factory.name,
            picture=pictures[0],
            raw=pictures[1],
            levels=Levels(*(min(4, max(0, int(level))) for level in note["levels"])),
            stages_ms={stage: float(note["stages"].get(stage, 0.0)) for stage in STAGES},
        )


class Engines:
    """Which engine serves, and how it is changed. told: takes ENGINE events' name and data;
    moved: is called when the serving engine's state changes."""

    def __init__(
        self,
        spec: StreamSpec,
        number: int,
        factory: RestorerFactory,
        limits: Limits,
        controls: Controls,
        board: Board,
        *,
        told: TellEngine,
        lost: Callable[[str, str, float], None],
        moved: Callable[[EngineState], None],
    ) -> None:
        self.spec = spec
        self.number = number
        self.limits = limits
        self.controls = controls
        self.strength = spec.strength
        self.split = False
        self.size: tuple[int, int] | None = None  # of the newest raw frame
        self.refused_size: tuple[int, int] | None = None
        self.board = board
        self._told, self._lost, self._moved = told, lost, moved
        capacity = 2 * limits.frame_bytes  # restored, and raw beside it for the split view
        self._slots = [
            (
                Slot.create(limits.frame_bytes, f"frames {index}"),
                Slot.create(capacity, f"answers {index}"),
            )
            for index in range(2)
        ]
        self.serving = self._lane(0, factory)
        self.candidate: Lane | None = None
        self.previous: Lane | None = None  # stays loaded while the new one is on probation
        self._proven = 0
        self._leaving: list[Worker] = []  # of dropped lanes, until their processes are gone
        board[ACTIVE_LANE] = LATER

    @property
    def lanes(self) -> tuple[Lane, ...]:
        return tuple(x for x in (self.serving, self.candidate, self.previous) if x is not None)

    @property
    def frame_slots(self) -> tuple[Slot, Slot]:
        return self._slots[0][0], self._slots[1][0]

    def _lane(self, index: int, factory: RestorerFactory) -> Lane:
        lane = Lane(index, self._slots[index], factory, self._worker, self._task, self.number)
        lane.waits_since("starting", 0)
        return lane

    def _worker(self, start: Callable[[], Child]) -> Worker:
        return Worker(
            start, self.limits, self.controls, lambda what, s: self._lost("engine", what, s)
        )

    def _task(self, lane: Lane) -> EngineTask:
        return EngineTask(
            stream=self.number,
            factory=lane.factory,
            frames=lane.frames.handle,
            answers=lane.answers.handle,
            mode=self.spec.mode,
            strength=self.strength,
            kinds=self.spec.kinds,
            split=self.split,
            size=self.size,
            guard=self.controls.guard,
            deadline_ms=self.spec.deadline_ms,
            ladder=self.limits.ladder,
        )

    # what happens

    def change(self, factory: RestorerFactory) -> None:
        """Loads the engine beside the serving one. A change under way is given up."""
        self._drop(self.candidate)
        self._drop(self.previous)
        self.candidate = self.previous = None
        self.candidate = self._lane(1 - self.serving.index, factory)
        self._say(self.candidate, "loading")

    def message(self, lane: Lane, message: dict[str, Any], now: int) -> None:
        """What the engine process says of itself."""
        state = message.get("state")
        if state == "loaded":
            lane.version, lane.sha256 = str(message["version"]), str(message["sha256"])
            lane.verified = message["verified"] is True
            lane.waits_since("warming", now)
            lane.idle = self.size is None
        elif state == "warming":
            lane.idle, lane.ready_size = False, None
            lane.waits_since("warming", now)
        elif state == "shape":
            self.refused_size = (int(message["width"]), int(message["height"]))
            lane.waits_since("ready", now)
        elif state == "ready":
            lane.ready_size = (int(message["width"]), int(message["height"]))
            if self.refused_size == lane.ready_size:
                self.refused_size = None
            lane.waits_since("ready", now)
        elif state == "refused":
            lane.state = "refused"
            self._say(lane, "refused", why=str(message.get("why")))
            lane.worker.retire()
        elif state == "rung":
            rung, why, p99 = str(message["rung"]), str(message["why"]), float(message["p99_ms"])
            self._say(lane, "rung", rung=rung, why=why, p99_ms=p99)
            return
        self._settle(lane)

    def died(self, lane: Lane, what: str, now: int) -> None:
        """Its process is gone, or hangs and has to go."""
        if lane not in self.lanes:
            return
        if lane is self.previous:
            self._drop(lane)
            self.previous = None
            return
        if lane is self.candidate:
            self._say(lane, "refused", why=what)
            self._drop(lane)
            self.candidate = None
            return
        if lane.state == "refused":
            return
        if self.previous is not None:
            self._roll_back(what)
            return
        lane.state = "down"
        self.board[ACTIVE_LANE] = LATER
        lane.worker.lost(what, now)
        self._say(lane, "down", why=what)
        self._moved("down")

    def answered(self, lane: Lane, sound: bool) -> None:
        """An answer of the serving engine; sound: it did not fail its check."""
        if self.previous is None or lane is not self.serving:
            return
        if not sound:
            self._roll_back("failed on probation")
            return
        self._proven += 1
        if self._proven >= self.limits.probation_frames:
            self._drop(self.previous)
            self.previous = None
            self._say(self.serving, "proven")

    def tick(self, now: int) -> None:
        """Starts what is due, ends what hangs."""
        self._leaving = [worker for worker in self._leaving if not worker.reaped(0.0)]
        for lane in self.lanes:
            if lane.worker.start(now):
                lane.began(now)
                if lane is self.serving:
                    self._say(lane, "starting")
                    self._moved("starting")
            what = lane.hangs(self.limits, now)
            if what is not None and lane.worker.child is not None and self.controls.restart:
                self.died(lane, what, now)

    @property
    def owes_nothing(self) -> bool:
        """Whether the serving engine is up and has answered for all it was given."""
        return self.serving.state == "ready" and not self.serving.behind

    def send(self, message: dict[str, Any]) -> None:
        """To every engine process."""
        for lane in self.lanes:
            if lane.worker.child is not None:
                lane.worker.child.control.send(message)

    def end(self) -> None:
        """Ends every engine process; nothing is left of them or of their memory."""
        for lane in self.lanes:
            self._drop(lane)
        for worker in self._leaving:
            worker.reaped(1.0)
        for pair in self._slots:
            for slot in pair:
                slot.close()

    # how the lanes change

    def _settle(self, lane: Lane) -> None:
        """A lane's state has changed: who serves?"""
        if lane is self.candidate:
            if lane.state == "refused":
                self._drop(lane)
                self.candidate = None
            elif lane.state == "ready" or (lane.state == "warming" and self.size is None):
                old, self.serving, self.candidate = self.serving, lane, None
                self._proven = 0
                if old.state == "ready":
                    self.previous = old
                else:
                    self._drop(old)  # nothing that one could roll back to
                self._serve("changed")
        elif lane is self.serving:
            self._serve(lane.state)

    def _serve(self, why: str) -> None:
        lane = self.serving
        up = lane.state in ("ready", "warming")
        self.board[ACTIVE_LANE] = (
            lane.index if up else NO_LANE if lane.state == "refused" else LATER
        )
        if lane.state != "refused":
            self._say(lane, lane.state, why=why)
        self._moved(lane.state)

    def _roll_back(self, what: str) -> None:
        failed, old = self.serving, self.previous
        if old is None:
            return
        self.serving, self.previous = old, None
        self._say(failed, "rolled_back", why=what, to=old.factory.name)
        self._drop(failed)
        self._serve("rolled back")

    def _drop(self, lane: Lane | None) -> None:
        if lane is not None:
            lane.worker.retire()
            self._leaving.append(lane.worker)

    def _say(self, lane: Lane, state: str, **data: Scalar) -> None:
        self._told(
            state,
            {
                "name": lane.factory.name,
                "version": lane.version,
                "sha256": lane.sha256,
                "verified": lane.verified,
                "lane": lane.index,
                "active": lane is self.serving,
                **data,
            },
        )
