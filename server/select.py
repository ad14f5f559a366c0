"""The last hop's choice: the restored frame by its deadline, else the raw one, never late.

Pure: it is told the time and what happened, and answers with what leaves. Two frames wait at most:
the one in the engine's hands, and the next.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from engines.picture import Picture, Rgb
from server.controls import Controls, Limits
from server.events import DropReason, Event, EventKind, Scalar
from server.frame import Provenance, Reason
from server.hold import Hold, HoldState
from server.packet import Packet
from server.shared import Bytes
from server.spec import EngineState, Levels, Mode

WAIT_MOST = 2  # networks deliver in bursts: the next frame's coming does not make this one late


@dataclass(frozen=True, slots=True)
class Arrived:
    """A raw frame at the last hop. body: the JPEG or the planes, as the packet says; missed:
    frames that newer ones replaced on the way since the last one that arrived."""

    packet: Packet
    body: Bytes
    crc: int | None = None  # of a payload that has to leave as it came
    missed: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What an engine says of one frame: restored (reason None) with its picture, or why not."""

    packet: Packet
    reason: Reason | None
    engine: str
    picture: Picture | None = None
    raw: Picture | None = None  # the decoded raw frame, where the split view is wanted
    levels: Levels = Levels()
    stages_ms: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Choice:
    """What leaves for one frame, and why."""

    arrived: Arrived
    provenance: Provenance
    reason: Reason | None
    answer: Answer | None
    at_ns: int


class Selector:
    """Chooses for one stream. log: takes every event; all times in monotonic ns."""

    def __init__(
        self,
        stream: int,
        mode: Mode,
        deadline_ms: float,
        max_age_ms: float,
        limits: Limits,
        controls: Controls,
        log: Callable[[Event], None],
    ) -> None:
        self.stream = stream
        self.mode = mode
        self.deadline_ns = int(deadline_ms * 1e6)
        self.max_age_ns = int(max_age_ms * 1e6)
        self.limits = limits
        self.controls = controls
        self.hold = Hold(limits, controls, self._moved)
        self.pressed = False
        self.engine_state: EngineState = "starting"
        self.ready_size: tuple[int, int] | None = None  # that the engine is warm for
        self.refused_size: tuple[int, int] | None = None
        self.verified: dict[str, bool] = {}
        self._log = log
        self._waiting: list[Arrived] = []  # WAIT_MOST; more only with newest_wins off
        self._early: Answer | None = None
        self._last: tuple[int, int] | None = None

    # what happens

    def arrive(self, arrived: Arrived, now: int) -> list[Choice]:
        """A raw frame is here."""
        packet = arrived.packet
        if self.controls.route and packet.stream != self.stream:
            self._event(EventKind.FAULT, now, hop="route", what=f"frame of {packet.stream}")
            self._event(EventKind.DROP, now, packet, reason=DropReason.ROUTE, hop="select", count=0)
            return []
        if self.controls.order and self._last is not None and packet.place <= self._last:
            self._event(EventKind.DROP, now, packet, reason=DropReason.OLDER, hop="select", count=0)
            return []
        self._count_missed(arrived, now)
        self._last = packet.place
        crc: dict[str, Scalar] = {} if arrived.crc is None else {"crc": arrived.crc}
        self._log(
            Event(EventKind.INGEST, packet.capture_ns, packet.stream, *packet.place, data=crc)
        )
        choices: list[Choice] = []
        if self.controls.newest_wins and self.mode == "live":
            while len(self._waiting) >= WAIT_MOST:  # the engine is no longer at this one
                choices.append(self._late(self._waiting.pop(0), now))
        if self._too_old(packet, now):
            self.drop(arrived, DropReason.AGE, now)
            return choices + self._let_go(now)
        reason = self._raw_at_once(packet)
        if reason is not None:
            return [*choices, *self._make_way(now), self._raw(arrived, reason, None, now)]
        self._waiting.append(arrived)
        if self._early is not None and self._early.packet.place == packet.place:
            early, self._early = self._early, None
            return choices + self._decide(early, now)
        return choices

    def answer(self, answer: Answer, now: int) -> list[Choice]:
        """The engine has answered for a frame."""
        if self.controls.route and answer.packet.stream != self.stream:
            what = f"answer of {answer.packet.stream}"
            self._event(EventKind.FAULT, now, hop="route", what=what)
            return []
        self._judge(answer, now)
        return self._decide(answer, now) + self._let_go(now)

    def tick(self, now: int) -> list[Choice]:
        """Time has passed."""
        choices: list[Choice] = []
        while self._waiting and self._overdue(self._waiting[0], now):
            choices.append(self._late(self._waiting.pop(0), now))
        return choices + self._let_go(now)

    def give_up(self, now: int) -> list[Choice]:
        """Lossless: the engine has nothing to do and will not answer for what waits here."""
        waiting, self._waiting = self._waiting, []
        return [self._late(arrived, now) for arrived in waiting]

    def press(self, on: bool, now: int) -> list[Choice]:
        """A person asks for raw, or releases it (and with it a latched stream)."""
        self.pressed = on
        self._event(EventKind.PRESS, now, on=on)
        if not on:
            self.hold.release(now)
        return self._let_go(now)

    def engine(self, state: EngineState, now: int) -> list[Choice]:
        """The engine is ready, warming, down, or was refused for good."""
        before, self.engine_state = self.engine_state, state
        if state == "refused":
            self.hold.latch(Reason.ENGINE_DOWN, "engine refused", now)
        elif state == "down" and before == "ready":
            self.hold.trip(Reason.ENGINE_DOWN, now)
        return self._let_go(now)

    def unreadable(self, place: tuple[int, int], now: int) -> None:
        """The decoder could not read the waiting frame."""
        for arrived in [a for a in self._waiting if a.packet.place == place]:
            self._waiting.remove(arrived)
            self.drop(arrived, DropReason.UNREADABLE, now)

    def stop(self, now: int) -> None:
        for arrived in self._waiting:
            self.drop(arrived, DropReason.STOPPED, now)
        self._waiting.clear()

    def drop(self, arrived: Arrived, reason: DropReason, now: int) -> None:
        if self.controls.account:
            self._event(EventKind.DROP, now, arrived.packet, reason=reason, hop="select", count=1)

    # what the loop asks

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def due_ns(self) -> int | None:
        """When `tick` has to be called."""
        if not self._waiting or not self._has_deadline:
            return None
        return self._waiting[0].packet.capture_ns + self.deadline_ns

    @property
    def _has_deadline(self) -> bool:
        return self.mode == "live" and self.controls.deadline

    # how it chooses

    def _raw_at_once(self, packet: Packet) -> Reason | None:
        """Why the frame need not wait for the engine."""
        if self.pressed and (self.controls.press or self.engine_state != "ready"):
            return Reason.BYPASS
        if self.engine_state in ("down", "refused"):
            return Reason.ENGINE_DOWN
        size = (packet.width, packet.height)
        if self.refused_size == size:
            return Reason.SHAPE
        ready = self.engine_state == "ready" and self.ready_size in (None, size)
        if not ready and self.mode == "live":
            return Reason.WARMING
        if self.hold.state is not HoldState.OFF:
            return self.hold.reason
        return None

    def _judge(self, answer: Answer, now: int) -> None:
        """Tells the hold how the engine does, also while raw frames leave."""
        on_time = not self._has_deadline or now <= answer.packet.capture_ns + self.deadline_ns
        self._log(
            Event(
                EventKind.RESULT,
                now,
                answer.packet.stream,
                *answer.packet.place,
                data={
                    "verdict": "RESTORED" if answer.reason is None else answer.reason.value,
                    "engine": answer.engine,
                    "on_time": on_time,
                    "waiting": len(self._waiting),
                    "smoke": answer.levels.smoke,
                    "fog": answer.levels.fog,
                    "splash": answer.levels.splash,
                },
            )
        )
        if answer.reason in (Reason.GUARD, Reason.ENGINE_DOWN) and self.controls.guard:
            self.hold.trip(answer.reason, now)
        elif not on_time:
            self.hold.broken()  # the frame itself is counted where it leaves
        elif answer.reason in (None, Reason.CLEAR, Reason.BYPASS):
            self.hold.good(answer.packet.place, now)

    def _decide(self, answer: Answer, now: int) -> list[Choice]:
        place = answer.packet.place
        choices: list[Choice] = []
        while self._waiting and self._waiting[0].packet.place < place:
            choices.append(self._late(self._waiting.pop(0), now))  # the engine has passed it over
        if not self._waiting or self._waiting[0].packet.place != place:
            if self._last is None or place > self._last:
                self._early = answer  # faster than its own raw frame
            return choices
        arrived = self._waiting.pop(0)
        if self._overdue(arrived, now, strict=True):
            return [*choices, self._late(arrived, now)]
        reason = answer.reason
        if not self.controls.guard and answer.picture is not None:
            reason = None
        if reason is None and self.hold.state is not HoldState.OFF:
            reason = self.hold.reason
        if reason is None:
            reason = self._unfit(arrived, answer)
            if reason is not None:
                self.hold.trip(reason, now)
        if reason is not None:
            return [*choices, self._raw(arrived, reason, answer, now)]
        return [*choices, Choice(arrived, Provenance.RESTORED, None, answer, now)]

    def _unfit(self, arrived: Arrived, answer: Answer) -> Reason | None:
        """The last hop's own look at a restored picture: right size, not flat, verified engine."""
        picture = answer.picture
        if self.controls.verified and not self.verified.get(answer.engine, False):
            return Reason.ENGINE_DOWN
        if not self.controls.guard:
            return None
        size = (arrived.packet.width, arrived.packet.height)
        if picture is None or (picture.width, picture.height) != size:
            return Reason.GUARD
        luma = picture.pixels[..., 1] if isinstance(picture, Rgb) else picture.y
        sample = luma[:: max(1, luma.shape[0] // 32), :: max(1, luma.shape[1] // 32)]
        return Reason.GUARD if np.ptp(sample) == 0 else None

    def _late(self, arrived: Arrived, now: int) -> Choice:
        self.hold.late(now)
        return self._raw(arrived, Reason.LATE, None, now)

    def _raw(self, arrived: Arrived, reason: Reason, answer: Answer | None, now: int) -> Choice:
        return Choice(arrived, Provenance.RAW, reason, answer, now)

    def _let_go(self, now: int) -> list[Choice]:
        """Frames that wait for an engine which will not answer, or need not."""
        choices: list[Choice] = []
        while self._waiting:
            reason = self._raw_at_once(self._waiting[0].packet)
            if reason is None:
                break
            choices.append(self._raw(self._waiting.pop(0), reason, None, now))
        return choices

    def _make_way(self, now: int) -> list[Choice]:
        """For a newer frame, which leaves at once."""
        choices = self._let_go(now)
        while self._waiting:
            choices.append(self._late(self._waiting.pop(0), now))
        return choices

    def _overdue(self, arrived: Arrived, now: int, *, strict: bool = False) -> bool:
        due = arrived.packet.capture_ns + self.deadline_ns
        return self._has_deadline and (now > due if strict else now >= due)

    def _too_old(self, packet: Packet, now: int) -> bool:
        live = self.mode == "live" and self.controls.age_drop
        return live and packet.age_ns(now) > self.max_age_ns

    # how it reports

    def _count_missed(self, arrived: Arrived, now: int) -> None:
        """Frames that newer ones replaced before they reached the last hop: `seq` has no holes,
        so what an epoch misses before this frame is known, and the rest ended the epoch before."""
        packet = arrived.packet
        if not self.controls.account:
            return
        epoch, seq = self._last if self._last is not None else (packet.epoch, -1)
        same = packet.epoch == epoch
        first = seq + 1 if same else 0
        tail = 0 if same else max(0, arrived.missed - packet.seq)
        for at, count in (((epoch, seq + 1), tail), ((packet.epoch, first), packet.seq - first)):
            if count > 0:
                data: dict[str, Scalar] = {
                    "reason": DropReason.SUPERSEDED,
                    "hop": "raw",
                    "count": count,
                }
                self._log(Event(EventKind.DROP, now, packet.stream, *at, data=data))

    def _moved(self, state: HoldState, why: str, now: int) -> None:
        self._event(EventKind.BYPASS, now, to=state.value, why=why)

    def _event(
        self, kind: EventKind, now: int, packet: Packet | None = None, **data: Scalar
    ) -> None:
        place = (-1, -1) if packet is None else packet.place
        self._log(Event(kind, now, self.stream, *place, data=data))
