"""What one stream's events add up to: its counts, its state, and what people should hear of."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import replace

from server.controls import Limits
from server.events import Event, EventKind
from server.frame import Provenance, Reason
from server.invariants import Violation
from server.spec import Alarm, EngineState, Fate, Levels, StreamEvent, StreamSpec, StreamState
from server.timeline import Call, Timeline

RATE_WINDOW_S = 2.0
VIOLATION_ALARM_S = 30.0
EVENTS_KEPT = 500
STAGES = ("decode", "detect", "restore", "guard", "wait", "encode")
ENGINE_CALLS = {
    "refused": "engine.refused",
    "rolled_back": "engine.rolled_back",
    "down": "engine.down",
}


class Rate:
    """Events a second over the last moments."""

    def __init__(self) -> None:
        self._times: deque[int] = deque()

    def add(self, at_ns: int) -> None:
        self._times.append(at_ns)
        self._forget(at_ns)

    def value(self, now: int) -> float:
        self._forget(now)
        return len(self._times) / RATE_WINDOW_S

    def _forget(self, now: int) -> None:
        while self._times and now - self._times[0] > RATE_WINDOW_S * 1e9:
            self._times.popleft()


class Tally:
    """Folds events; `calls` are the names and data of what is worth telling."""

    def __init__(self, stream_id: str, number: int, spec: StreamSpec, limits: Limits) -> None:
        self.id, self.number, self.spec, self.limits = stream_id, number, spec, limits
        self.timeline = Timeline()
        self.events: deque[StreamEvent] = deque(maxlen=EVENTS_KEPT)
        self.restarts: Counter[str] = Counter()
        self.violations: Counter[str] = Counter()
        self.drops: Counter[str] = Counter()
        self.raw: Counter[str] = Counter()
        self.frames_in = self.frames_out = self.restored = 0
        self.epoch, self.seq, self.width, self.height = 0, -1, 0, 0
        self.engine, self.version, self.sha256 = spec.engine, "", ""
        self.engine_state: EngineState = "starting"
        self.rung = ""
        self.pressed = self.latched = self.holding = False
        self.stream_down = self._engine_lost = False
        self.levels = Levels()
        self._last: Event | None = None  # EMIT
        self._card = self._source_lost = False
        self.trouble: str | None = None  # why a camera gives no picture
        self._epoch_out = -1
        self._rate_in, self._rate_out = Rate(), Rate()
        self._violated_ns: int | None = None
        self._alarms: frozenset[Alarm] = frozenset()

    def feed(self, event: Event) -> list[Call]:
        calls: list[Call] = []
        data = event.data
        match event.kind:
            case EventKind.INGEST:
                self.frames_in += 1
                self._rate_in.add(event.at_ns)
                self.epoch = max(self.epoch, event.epoch)
            case EventKind.RESULT:
                self.levels = _levels(event)
                calls += self.timeline.step(self.levels, event.at_ns)
            case EventKind.EMIT:
                calls += self._emit(event)
            case EventKind.DROP:
                count = int(str(data.get("count", 1)))
                self.drops[str(data.get("reason"))] += count
                self.frames_in += count if data.get("hop") == "raw" else 0  # never seen before
            case EventKind.CARD:
                if not self._card:
                    calls.append(("source.lost", {"why": self.trouble}))
                self._card = True
            case EventKind.ENGINE:
                calls += self._engine(event)
            case EventKind.PRESS:
                self.pressed = bool(data.get("on"))
                calls.append(("bypass.on" if self.pressed else "bypass.off", {"by": "person"}))
            case EventKind.BYPASS:
                self.latched, self.holding = data["to"] == "latched", data["to"] == "hold"
                name = {"off": "bypass.off", "hold": "bypass.on"}.get(
                    str(data["to"]), "bypass.latched"
                )
                calls.append((name, {"by": "stream", "why": data.get("why")}))
            case EventKind.RESTART:
                self.restarts[str(data.get("hop"))] += 1
                if data.get("hop") == "stream":
                    calls.append(("stream.restarted", {}))
            case EventKind.FAULT if data.get("hop") == "source":
                self.trouble = str(data.get("what"))
            case _:
                pass
        return calls

    def violated(self, violation: Violation) -> Call:
        self.violations[violation.rule] += 1
        self._violated_ns = time.monotonic_ns()
        return ("invariant.violated", {"rule": violation.rule, "what": str(violation)})

    def alarm_calls(self, now: int) -> list[Call]:
        """What has been raised or cleared since the last call."""
        alarms = frozenset(self.alarms(now))
        raised, cleared = alarms - self._alarms, self._alarms - alarms
        self._alarms = alarms
        calls: list[Call] = [("alarm.raised", {"alarm": str(alarm)}) for alarm in sorted(raised)]
        calls += [("alarm.cleared", {"alarm": str(alarm)}) for alarm in sorted(cleared)]
        return calls

    def alarms(self, now: int) -> tuple[Alarm, ...]:
        found: list[Alarm] = []
        if self._card:
            found.append("SIGNAL_LOST")
        elif self._last is not None and self._last.data.get("stale"):
            found.append("STALE")
        if self._engine_lost:
            found.append("ENGINE_DOWN")
        if self.latched:
            found.append("LATCHED")
        if self._violated_ns is not None and now - self._violated_ns < VIOLATION_ALARM_S * 1e9:
            found.append("INVARIANT")
        if self.stream_down:
            found.append("STREAM_DOWN")
        return tuple(found)

    def fate(self, event: Event) -> Fate | None:
        """Of an EMIT or DROP event."""
        data = event.data
        if event.kind is EventKind.DROP:
            if not data.get("count", 1):
                return None
            return Fate(
                stream_id=self.id,
                dropped=True,
                provenance=None,
                reason=str(data.get("reason")),
                age_ms=0.0,
                stages_ms={},
                levels=self.levels,
                count=int(str(data.get("count", 1))),
            )
        if event.kind is not EventKind.EMIT:
            return None
        stages = ((stage, data.get(f"{stage}_ms")) for stage in STAGES)
        return Fate(
            stream_id=self.id,
            dropped=False,
            provenance=Provenance(str(data["provenance"])),
            reason=None if data["reason"] is None else str(data["reason"]),
            age_ms=float(str(data["age_ns"])) / 1e6,
            stages_ms={stage: ms for stage, ms in stages if isinstance(ms, int | float)},
            levels=_levels(event),
        )

    def state(self, now: int) -> StreamState:
        last = self._last
        reason = None if last is None else last.data["reason"]
        return StreamState(
            id=self.id,
            number=self.number,
            spec=self.spec,
            epoch=self.epoch,
            seq=self.seq,
            width=self.width,
            height=self.height,
            engine=self.engine,
            engine_version=self.version,
            engine_sha256=self.sha256,
            engine_state=self.engine_state,
            rung=self.rung,
            provenance=None if last is None else Provenance(str(last.data["provenance"])),
            reason=None if reason is None else Reason(str(reason)),
            age_ms=None if last is None else float(str(last.data["age_ns"])) / 1e6,
            since_last_ms=None if last is None else (now - last.at_ns) / 1e6,
            fps_in=self._rate_in.value(now),
            fps_out=self._rate_out.value(now),
            levels=self.levels,
            frames_in=self.frames_in,
            frames_out=self.frames_out,
            restored=self.restored,
            raw=dict(self.raw),
            drops=dict(self.drops),
            restarts=dict(self.restarts),
            violations=dict(self.violations),
            alarms=self.alarms(now),
            bypass=self.pressed,
            latched=self.latched,
            holding=self.holding,
            strength=self.spec.strength,
            clean_lens=self.timeline.clean_lens,
            timeline=tuple(self.timeline.points),
            events=tuple(self.events),
            trouble=self.trouble,
        )

    def told(self, name: str, data: dict[str, str | int | float | bool | None]) -> StreamEvent:
        event = StreamEvent(self.id, name, time.monotonic_ns(), time.time(), data)
        self.events.append(event)
        return event

    def strengthened(self, strength: float) -> None:
        self.spec = replace(self.spec, strength=strength)

    def _emit(self, event: Event) -> list[Call]:
        self._last = event
        self.frames_out += 1
        self._rate_out.add(event.at_ns)
        if event.epoch > self._epoch_out:
            self.trouble = None  # the picture of a new connection
        self._epoch_out = event.epoch
        self.epoch, self.seq = event.epoch, event.seq
        self.width = int(str(event.data.get("width", 0)))
        self.height = int(str(event.data.get("height", 0)))
        if event.data["provenance"] == Provenance.RESTORED:
            self.restored += 1
        else:
            self.raw[str(event.data["reason"])] += 1
        was_lost, self._card = self._card, False
        return [("source.back", {})] if was_lost else []

    def _engine(self, event: Event) -> list[Call]:
        data = event.data
        state, name = str(data.get("state")), str(data.get("name"))
        calls: list[Call] = []
        if state in ENGINE_CALLS:
            calls.append((ENGINE_CALLS[state], {"engine": name, "why": data.get("why")}))
        if not data.get("active"):
            return calls
        if state == "rung":
            rung, self.rung = str(data.get("rung")), str(data.get("rung"))
            step = {
                "engine": name,
                "to": rung,
                "why": data.get("why"),
                "p99_ms": data.get("p99_ms"),
            }
            calls.append(("engine.stepped", step))
        if state == "ready" or (state == "warming" and data.get("why") == "changed"):
            changed = name != self.engine or data.get("why") == "changed"
            calls.append(("engine.changed" if changed else "engine.ready", {"engine": name}))
            self.engine = name
            self.version, self.sha256 = str(data.get("version")), str(data.get("sha256"))
        if state in ("starting", "warming", "ready", "down", "refused"):
            self.engine_state = state  # type: ignore[assignment]
            self._engine_lost = state in ("down", "refused") or (
                self._engine_lost and state != "ready"
            )
        return calls


def _levels(event: Event) -> Levels:
    values = (event.data.get(kind, 0) for kind in ("smoke", "fog", "splash"))
    return Levels(*(value if isinstance(value, int) else 0 for value in values))
