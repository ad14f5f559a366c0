"""The last hop with no process and no real time: frames, an engine and people, by script."""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count

import numpy as np

from engines.picture import Rgb
from server import jpeg
from server.controls import Controls, Limits
from server.egress import Egress
from server.events import Event, EventKind
from server.frame import Reason
from server.invariants import Checker, Violation
from server.packet import Packet, as_bytes
from server.select import Answer, Arrived, Choice, Selector
from server.shared import Item, Slot
from server.spec import EngineState, Levels, StreamSpec, View

MS = 1_000_000
WIDTH, HEIGHT = 64, 48
STREAM = 7
START_NS = 10**12


def scene(seed: int = 0) -> Rgb:
    """A smooth coloured picture, 48 64 3."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH] / 16.0
    waves = [np.sin(x * a + y * b + c) for a, b, c in rng.uniform(0.3, 1.5, (3, 3))]
    return Rgb(np.clip(128 + 80 * np.stack(waves, axis=2), 0, 255).astype(np.uint8))


PAYLOAD = jpeg.encode(scene(), 90)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What the engine does with one frame. after_ms None: it never answers."""

    after_ms: float | None = 5.0
    reason: Reason | None = None
    picture: bool = True
    engine: str = "fake"


@dataclass
class Simulation:
    """Frames every period_ms; `engine` says what becomes of each; `script` holds what else happens
    at what time (in ms since the start)."""

    frames: int = 20
    period_ms: float = 40.0
    late_ms: Callable[[int], float] = lambda n: 0.0  # from capture to the last hop
    skip: frozenset[int] = frozenset()  # never sent: the source pauses
    engine: Callable[[int], Reply] = lambda n: Reply()
    spec: StreamSpec = field(
        default_factory=lambda: StreamSpec(source="push", engine="fake", deadline_ms=25.0)
    )
    limits: Limits = field(default_factory=lambda: Limits(return_gap_s=1.0))
    controls: Controls = field(default_factory=Controls)
    script: dict[float, Callable[[Simulation], None]] = field(default_factory=dict)
    verified: bool = True
    stream_of: Callable[[int], int] = lambda n: STREAM
    wants: frozenset[View] = frozenset()

    def __post_init__(self) -> None:
        self.now = START_NS
        self.events: list[Event] = []
        self.violations: list[Violation] = []
        self.left: list[tuple[Packet, Item]] = []
        self.checker = Checker()
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()
        self._seq = count()

    @property
    def rules(self) -> set[str]:
        """The invariants broken."""
        return {violation.rule for violation in self.violations}

    def emits(self) -> list[Event]:
        return [e for e in self.events if e.kind is EventKind.EMIT]

    def told(self, kind: EventKind) -> list[Event]:
        return [e for e in self.events if e.kind is kind]

    def run(self) -> Simulation:
        with slots() as outs:
            self._run(outs)
        return self

    def _run(self, outs: dict[View, Slot]) -> None:
        spec, limits, controls = self.spec, self.limits, self.controls
        self.selector = Selector(
            STREAM, spec.mode, spec.deadline_ms, spec.max_age_ms, limits, controls, self.log
        )
        self.egress = Egress(STREAM, spec, limits, controls, outs, self.log, lambda: self.now)
        self.egress.wants = self.wants
        self.log(
            Event(
                EventKind.CONFIG,
                self.now,
                STREAM,
                data={
                    "mode": spec.mode,
                    "deadline_ms": spec.deadline_ms,
                    "max_age_ms": spec.max_age_ms,
                    "good_frames": limits.good_frames,
                    "return_gap_s": limits.return_gap_s,
                    "late_allowance": limits.late_allowance,
                    "trips": limits.trips,
                },
            )
        )
        self.engine_state("ready")
        for n in range(self.frames):
            if n not in self.skip:
                capture = START_NS + round(n * self.period_ms * MS)
                self.at(capture + round(self.late_ms(n) * MS), partial(self.send, capture, n))
        for at_ms, action in self.script.items():
            self.at(START_NS + round(at_ms * MS), partial(action, self))
        while self._queue:
            at, _, act = self._queue[0]
            due = min((t for t in (self.selector.due_ns, self.egress.card_due_ns) if t), default=at)
            if due < at:
                self.now = max(self.now, due)
                self.leave(self.selector.tick(self.now))
                if self.now >= self.egress.card_due_ns:
                    self.egress.card(self.now)
                    self.egress.shown_ns = self.now
            else:
                heapq.heappop(self._queue)
                self.now = max(self.now, at)
                act()
            self._collect(outs)
        while (due_ns := self.selector.due_ns) is not None:
            self.now = max(self.now, due_ns)
            self.leave(self.selector.tick(self.now))
            self._collect(outs)
        self.selector.stop(self.now)
        self._collect(outs)
        self.log(Event(EventKind.END, self.now, STREAM))

    def at(self, when_ns: int, action: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (when_ns, next(self._order), action))

    def log(self, event: Event) -> None:
        event = Event.parse(event.line())  # as it reads in a saved history
        self.events.append(event)
        self.violations += self.checker.feed(event)

    def engine_state(self, state: EngineState, verified: bool | None = None) -> None:
        verified = self.verified if verified is None else verified
        data = {"state": state, "name": "fake", "verified": verified, "active": True}
        self.log(Event(EventKind.ENGINE, self.now, STREAM, data=data))
        self.selector.verified["fake"] = verified
        self.leave(self.selector.engine(state, self.now))

    def packet(self, capture: int, seq: int, n: int) -> Packet:
        return Packet(
            stream=self.stream_of(n), epoch=0, seq=seq, capture_ns=capture, width=WIDTH,
            height=HEIGHT, codec="jpeg", tag_seq=n,
        )  # fmt: skip

    def send(self, capture: int, n: int, seq: int | None = None) -> None:
        """A raw frame arrives, and the engine gets to work on it."""
        packet = self.packet(capture, next(self._seq) if seq is None else seq, n)
        reply = self.engine(n)
        if reply.after_ms is not None:
            self.at(
                max(self.now, capture + round(reply.after_ms * MS)),
                lambda: self.answer(packet, reply),
            )
        body = as_bytes(PAYLOAD)
        self.leave(self.selector.arrive(Arrived(packet, body, zlib.crc32(body.data)), self.now))

    def answer(self, packet: Packet, reply: Reply) -> None:
        picture = scene(1) if reply.picture else None
        head = replace(packet, stream=STREAM)
        answer = Answer(head, reply.reason, reply.engine, picture, None, Levels(smoke=2))
        self.leave(self.selector.answer(answer, self.now))

    def leave(self, choices: list[Choice]) -> None:
        self.egress.waiting = self.selector.waiting
        for choice in choices:
            self.egress.emit(choice)

    def _collect(self, outs: dict[View, Slot]) -> None:
        item = outs["restored"].take()
        if item is not None:
            self.left.append((Packet.unpack(item.head), item))


@contextmanager
def slots() -> Iterator[dict[View, Slot]]:
    views: tuple[View, ...] = ("restored", "raw", "split")
    made = {view: Slot.create(100_000) for view in views}
    try:
        yield made
    finally:
        for slot in made.values():
            slot.close()
