"""The safety invariants I1 to I14 of the frame path as one pure checker over the event history.

The same code runs beside a live stream, in tests and over a saved history. It shares nothing with
the selector but the events: it keeps its own count of good frames, trips and frames in flight.

I1  restored by the deadline, else raw      I8  no restored frame without a sound result
I2  bypass acts at once                     I9  one stream, one pixel path
I3  never older without saying so           I10 only verified engines
I4  order strictly increases                I11 every state but "restored, fresh" is visible
I5  in = out + dropped, two wait           I12 no automatic optimism
I6  the mark tells the provenance           I13 telling others never delays the picture
I7  the original is kept and untouched      I14 the watchdog eats frames only
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from server.caution import Caution
from server.controls import Limits
from server.events import DropReason, Event, EventKind, load
from server.frame import Provenance, Reason
from server.spec import flags_of

Place = tuple[int, int]
IN_FLIGHT_MOST = 3  # one is in the engine, one waits for it, the next one has just come in
DROP_REASONS = frozenset(reason.value for reason in DropReason)
COUNT_MOST = 100_000  # frames that one DROP may speak of
KEPT = 256  # results and capture times remembered beyond their frames


@dataclass(frozen=True, slots=True)
class Violation:
    """One invariant broken. rule: "I1" to "I14"."""

    rule: str
    at_ns: int
    place: Place
    what: str

    def __str__(self) -> str:
        return f"{self.rule} at epoch {self.place[0]} seq {self.place[1]}: {self.what}"


@dataclass(frozen=True, slots=True)
class _Rules:
    """What a CONFIG event says the stream promised."""

    live: bool
    deadline_ns: int
    max_age_ns: int
    limits: Limits

    @classmethod
    def of(cls, event: Event) -> _Rules:
        data, own = event.data, Limits()

        def number(key: str, otherwise: float) -> float:
            value = data.get(key, otherwise)
            return float(value) if isinstance(value, int | float) else otherwise

        return cls(
            live=data.get("mode", "live") == "live",
            deadline_ns=int(number("deadline_ms", 40.0) * 1e6),
            max_age_ns=int(number("max_age_ms", 500.0) * 1e6),
            limits=Limits(
                stale_warn_ms=number("stale_warn_ms", own.stale_warn_ms),
                stale_stop_ms=number("stale_stop_ms", own.stale_stop_ms),
                good_frames=int(number("good_frames", own.good_frames)),
                return_gap_s=number("return_gap_s", own.return_gap_s),
                trips=int(number("trips", own.trips)),
                trip_window_s=number("trip_window_s", own.trip_window_s),
                late_allowance=int(number("late_allowance", own.late_allowance)),
                slack_ms=number("slack_ms", own.slack_ms),
            ),
        )


class Checker:
    """Feed it one stream's events in order; it answers with what each one breaks."""

    def __init__(self) -> None:
        self.came_in = 0
        self.left = 0
        self.lost: Counter[str] = Counter()
        self.violations: Counter[str] = Counter()
        self._last_left: Place | None = None  # over all runs of the stream's process
        self._found: list[Violation] = []
        self._begin(Event(EventKind.CONFIG, 0, -1))

    def feed(self, event: Event) -> list[Violation]:
        self._found = []
        match event.kind:
            case EventKind.CONFIG:
                for place in list(self._in_flight):
                    self._broken("I5", event, "a frame of the run before has no fate", place)
                self._begin(event)
            case EventKind.INGEST:
                self._ingest(event)
            case EventKind.RESULT:
                self._result(event)
            case EventKind.EMIT:
                self._emit(event)
            case EventKind.DROP:
                self._drop(event)
            case EventKind.ENGINE:
                self._engine(event)
            case EventKind.PRESS:
                self._pressed = bool(event.data.get("on"))
                if not self._pressed:
                    self._caution.release()
            case EventKind.CARD:
                self._shown_ns = event.at_ns
            case EventKind.WATCHDOG:
                self._watchdog(event)
            case EventKind.GAP:
                self._resume()
            case EventKind.END:
                for place in list(self._in_flight):
                    self._broken("I5", event, "the stream ended and this frame has no fate", place)
            case EventKind.BYPASS | EventKind.FAULT | EventKind.RESTART:
                pass  # what the stream says of itself proves nothing
        for violation in self._found:
            self.violations[violation.rule] += 1
        return self._found

    @property
    def in_flight(self) -> tuple[Place, ...]:
        """Frames that came in and have no fate yet."""
        return tuple(self._in_flight)

    # one event each

    def _begin(self, event: Event) -> None:
        self._stream = event.stream
        self._rules = _Rules.of(event)
        self._caution = Caution(self._rules.limits)
        self._caution.raw_only = self._caution.latched = bool(event.data.get("latched"))
        self._in_flight: OrderedDict[Place, Event] = OrderedDict()
        self._captured: OrderedDict[Place, int] = OrderedDict()
        self._results: OrderedDict[Place, Event] = OrderedDict()
        self._verified: dict[str, bool] = {}
        self._engine_up = False
        self._pressed = bool(event.data.get("pressed"))
        self._last_in: Place | None = None
        self._shown_ns = event.at_ns
        self._fed: int | None = None
        self._blind = False  # after a gap, until the next frame has come in

    def _resume(self) -> None:
        """Events were lost: forget what they may have changed."""
        self._in_flight.clear()
        self._results.clear()
        self._caution = Caution(self._rules.limits)
        self._last_in = None
        self._blind = True
        self._shown_ns = 0

    def _ingest(self, event: Event) -> None:
        place = (event.epoch, event.seq)
        self.came_in += 1
        if event.stream != self._stream:
            self._broken("I9", event, f"a frame of stream {event.stream} came in")
        if self._last_in is not None or not self._blind:
            self._follows(event, place)
        self._last_in = place
        self._in_flight[place] = event
        self._captured[place] = event.at_ns
        if len(self._captured) > KEPT:
            self._captured.popitem(last=False)
        if len(self._in_flight) > IN_FLIGHT_MOST:
            self._broken("I5", event, f"{len(self._in_flight)} frames wait")

    def _follows(self, event: Event, place: Place) -> None:
        last = self._last_in
        if last is not None and place <= last:
            self._broken("I4", event, "came in again, or out of order")
            return
        first = last[1] + 1 if last is not None and place[0] == last[0] else 0
        if place[1] != first:
            self._broken("I5", event, f"frames {first} to {place[1] - 1} vanished uncounted")

    def _result(self, event: Event) -> None:
        place = (event.epoch, event.seq)
        self._results[place] = event
        if len(self._results) > KEPT:
            self._results.popitem(last=False)
        captured = self._captured.get(place)
        on_time = bool(event.data.get("on_time"))
        if captured is not None and self._rules.live:
            on_time = event.at_ns <= captured + self._rules.deadline_ns
        verdict = event.data.get("verdict")
        if verdict in (Reason.GUARD, Reason.ENGINE_DOWN):
            self._caution.trip(event.at_ns)
        elif not on_time:
            self._caution.run = 0
        elif verdict in (Provenance.RESTORED, Reason.CLEAR, Reason.BYPASS):
            self._caution.good(place, event.at_ns)

    def _emit(self, event: Event) -> None:
        place = (event.epoch, event.seq)
        data = event.data
        restored = data.get("provenance") == Provenance.RESTORED
        self.left += 1
        frame = self._in_flight.pop(place, None)
        self._order(event, place)
        known = frame is not None or not self._blind
        if frame is None and known:
            self._broken("I5", event, "left, but had not come in or had left already")
        if frame is not None:
            self._blind = False
            self._times(event, frame, restored)
            if "crc" in frame.data and not restored and data.get("crc") != frame.data["crc"]:
                self._broken("I7", event, "a raw payload was altered")
        if event.stream != self._stream or data.get("source", event.stream) != self._stream:
            self._broken("I9", event, f"pixels of stream {data.get('source')} left")
        self._honesty(event, restored)
        if restored and known:
            self._entitled(event, place)
        elif data.get("reason") == Reason.LATE and not self._caution.raw_only:
            self._caution.late(event.at_ns)
        self._results.pop(place, None)
        self._freshness(event)

    def _order(self, event: Event, place: Place) -> None:
        if self._last_left is not None and place <= self._last_left:
            self._broken("I4", event, f"left after {self._last_left}")
        self._last_left = max(place, self._last_left or place)
        for older in [p for p in self._in_flight if p < place]:
            del self._in_flight[older]
            self._broken("I5", event, "a later frame left and this one has no fate", older)

    def _times(self, event: Event, frame: Event, restored: bool) -> None:
        if not self._rules.live:
            return
        took = _int(event, "decided_ns", event.at_ns) - frame.at_ns
        slack = 0 if restored or event.data.get("stale") else self._slack_ns
        silent = restored or not event.data.get("stale")
        if silent and took > self._rules.deadline_ns + slack:
            self._broken("I1", event, f"chosen {took / 1e6:.1f} ms after it came in")

    def _honesty(self, event: Event, restored: bool) -> None:
        data = event.data
        if (data.get("mark") == "AI") != restored:
            self._broken(
                "I6", event, f"mark {data.get('mark')} on a {data.get('provenance')} frame"
            )
        if bool(data.get("engine")) != restored:
            self._broken("I6", event, f"engine {data.get('engine')!r} named")
        reason = data.get("reason")
        try:
            provenance = Provenance(str(data.get("provenance")))
            why = None if reason is None else Reason(str(reason))
            flags = flags_of(provenance, why, stale=bool(data.get("stale")), card=False)
        except ValueError:
            self._broken("I6", event, f"unknown provenance or reason {reason!r}")
            return
        if (reason is None) != restored or data.get("flags") != flags:
            self._broken(
                "I11", event, f"flags {data.get('flags')} do not say {reason or 'RESTORED'}"
            )

    def _entitled(self, event: Event, place: Place) -> None:
        """What a frame needs to leave restored."""
        engine = str(event.data.get("engine"))
        result = self._results.get(place)
        if self._pressed:
            self._broken("I2", event, "restored although a person asked for raw")
        if not self._engine_up:
            self._broken("I2", event, "restored although the engine is down")
        if result is None or result.data.get("verdict") != Provenance.RESTORED:
            self._broken("I8", event, "restored without a sound result")
        elif result.data.get("engine") != engine:
            self._broken("I8", event, "the result is another engine's")
        if not self._verified.get(engine, False):
            self._broken("I10", event, f"engine {engine} did not verify")
        if self._caution.raw_only:
            what = "latched" if self._caution.latched else f"{self._caution.run} good frames"
            self._broken("I12", event, f"restored after a trip: {what}")
        if not event.data.get("original"):
            self._broken("I7", event, "the raw frame was not kept")

    def _freshness(self, event: Event) -> None:
        limits, age = self._rules.limits, _int(event, "age_ns", 0)
        if age < 0:
            self._broken("I3", event, "left before it came in")
        if self._rules.live:
            if age > limits.stale_warn_ms * 1e6 and not event.data.get("stale"):
                self._broken("I3", event, f"{age / 1e6:.0f} ms old without saying so")
            if age > max(self._rules.max_age_ns, limits.stale_stop_ms * 1e6):
                self._broken("I3", event, f"{age / 1e6:.0f} ms old")
            silent = event.at_ns - self._shown_ns
            if self._shown_ns and silent > limits.stale_stop_ms * 1e6 + self._slack_ns:
                self._broken("I11", event, f"nothing was shown for {silent / 1e6:.0f} ms before")
        self._shown_ns = event.at_ns
        side = _int(event, "side_ns", 0)
        if side > self._slack_ns:
            self._broken("I13", event, f"waited {side / 1e6:.0f} ms to tell others")

    def _drop(self, event: Event) -> None:
        reason, count = str(event.data.get("reason")), _int(event, "count", 1)
        if reason not in DROP_REASONS:
            self._broken("I5", event, f"lost for an unknown reason {reason!r}")
        for seq in range(event.seq, event.seq + min(count, COUNT_MOST)):
            place = (event.epoch, seq)
            if self._in_flight.pop(place, None) is None:
                self.came_in += 1
                if self._last_in is None or place > self._last_in:
                    self._last_in = place
            self.lost[reason] += 1
            self._results.pop(place, None)

    def _engine(self, event: Event) -> None:
        state, name = event.data.get("state"), str(event.data.get("name"))
        if state == "ready":
            self._verified[name] = event.data.get("verified") is True
        if not event.data.get("active", True):
            return
        if state == "down" and self._engine_up:
            self._caution.trip(event.at_ns)
        if state == "refused":
            self._caution.raw_only = self._caution.latched = True
        if state in ("starting", "warming", "ready", "down", "refused"):
            self._engine_up = state == "ready"

    def _watchdog(self, event: Event) -> None:
        emitted = _int(event, "emitted", -1)
        if self._fed is not None and emitted <= self._fed:
            self._broken("I14", event, "the watchdog was fed and nothing had left")
        self._fed = emitted

    @property
    def _slack_ns(self) -> int:
        return int(self._rules.limits.slack_ms * 1e6)

    def _broken(self, rule: str, event: Event, what: str, place: Place | None = None) -> None:
        at = place or (event.epoch, event.seq)
        self._found.append(Violation(rule, event.at_ns, at, what))


def _int(event: Event, key: str, otherwise: int) -> int:
    value = event.data.get(key, otherwise)
    return value if isinstance(value, int) else otherwise


@dataclass(frozen=True, slots=True)
class Finding:
    """What a history holds. in = left + lost + in_flight."""

    events: int
    came_in: int
    left: int
    lost: dict[str, int]
    in_flight: int
    gaps: int
    violations: tuple[Violation, ...]


def check(events: Iterable[Event]) -> Finding:
    """Runs the checker over a whole history."""
    checker = Checker()
    count = gaps = 0
    found: list[Violation] = []
    for event in events:
        count += 1
        gaps += event.kind is EventKind.GAP
        found += checker.feed(event)
    return Finding(
        events=count,
        came_in=checker.came_in,
        left=checker.left,
        lost=dict(checker.lost),
        in_flight=len(checker.in_flight),
        gaps=gaps,
        violations=tuple(found),
    )


def check_file(path: Path) -> Finding:
    """Of a saved history. Raises SourceUnreadable."""
    return check(load(path))
