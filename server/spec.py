"""What a live stream is asked to do, what it reports, and what leaves it: plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from server.frame import Provenance, Reason

Mode = Literal["live", "lossless"]
View = Literal["restored", "raw", "split", "both"]  # both: raw above restored, twice as high
SnapshotView = Literal["restored", "raw", "split", "difference"]
Codec = Literal["jpeg", "rgb24", "i420"]
Kind = Literal["smoke", "fog", "splash"]
EngineState = Literal["starting", "warming", "ready", "down", "refused"]
Alarm = Literal[
    "SIGNAL_LOST",  # no new picture for longer than stale_stop_ms; the card is shown
    "STALE",  # pictures leave, but older than stale_warn_ms
    "ENGINE_DOWN",  # no live engine process; raw goes on
    "LATCHED",  # too many trips: raw until a person switches the bypass off
    "INVARIANT",  # the checker found a violation
    "STREAM_DOWN",  # the stream's own process is being restarted
]

CODEC_NUMBER: dict[Codec, int] = {"jpeg": 1, "rgb24": 2, "i420": 3}


class Flag:
    """Bits of the wire header's `flags` (docs: WebSocket frames)."""

    RESTORED = 1
    BYPASS = 2
    LATE = 4
    STALE = 8
    GUARD = 16
    CLEAR = 32
    ENGINE_DOWN = 64
    WARMING = 128
    SHAPE = 256
    CARD = 512  # not a camera picture: the signal-lost card


REASON_FLAG: dict[Reason, int] = {
    Reason.CLEAR: Flag.CLEAR,
    Reason.BYPASS: Flag.BYPASS,
    Reason.LATE: Flag.LATE,
    Reason.GUARD: Flag.GUARD,
    Reason.ENGINE_DOWN: Flag.ENGINE_DOWN,
    Reason.WARMING: Flag.WARMING,
    Reason.SHAPE: Flag.SHAPE,
}


def flags_of(provenance: Provenance, reason: Reason | None, *, stale: bool, card: bool) -> int:
    """The header's flags; a card carries CARD and STALE only."""
    if card:
        return Flag.CARD | Flag.STALE
    flags = Flag.RESTORED if provenance is Provenance.RESTORED else 0
    if reason is not None:
        flags |= REASON_FLAG[reason]
    return flags | (Flag.STALE if stale else 0)


@dataclass(frozen=True, slots=True)
class Levels:
    """Degradation levels of one frame, 0-4 each."""

    smoke: int = 0
    fog: int = 0
    splash: int = 0

    @property
    def mask(self) -> int:
        """Bits 0-1 smoke, 2-3 fog, 4-5 splash; each min(level, 3)."""
        return min(self.smoke, 3) | min(self.fog, 3) << 2 | min(self.splash, 3) << 4


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamSpec:
    """source: "file:PATH" (looped at its own rate), "phantom:OPTIONS", "push" (frames come by
    StreamManager.push) or "rtsp://HOST/PATH"; deadline_ms: from ingest to the choice between
    restored and raw; max_age_ms: older frames are dropped in live mode; strength: 0-1; sinks:
    RTSP addresses that the picture is published to."""

    source: str
    engine: str
    mode: Mode = "live"
    deadline_ms: float = 40.0
    max_age_ms: float = 500.0
    strength: float = 1.0
    kinds: frozenset[Kind] = frozenset({"smoke", "fog", "splash"})
    jpeg_quality: int = 90
    sinks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """Something that a person or a webhook should hear of. at_ns: monotonic; wall_s: UNIX time.

    name: "smoke.persistent" (level 3 for 2 s: start the evacuator), "smoke.cleared", "lens.clean"
    (fog or a splash stays: wipe the lens), "lens.cleared", "alarm.raised", "alarm.cleared",
    "bypass.on", "bypass.off", "bypass.latched", "engine.ready", "engine.changed",
    "engine.rolled_back", "engine.down", "engine.refused", "engine.stepped" (to another rung: full,
    half resolution, veil, raw), "source.lost", "source.back",
    "sink.lost", "sink.back", "stream.restarted", "invariant.violated".
    """

    stream_id: str
    name: str
    at_ns: int
    wall_s: float
    data: dict[str, str | int | float | bool | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TimelinePoint:
    """The levels from at_ns on (a point is written when they change)."""

    at_ns: int
    levels: Levels


@dataclass(frozen=True, kw_only=True, slots=True)
class SinkReport:
    """One RTSP sink. url: without user and password; why: it does not send; frames: that left the
    stream while it was there, each of which is sent, dropped or under_way; dropped: DOWN (no
    connection), BEHIND (the network was too slow), UNREADABLE (a broken JPEG); connections: made
    so far; restarts: of its process."""

    url: str
    state: Literal["connecting", "up", "down"]
    why: str | None
    frames: int
    sent: int
    dropped: dict[str, int]
    under_way: int
    connections: int
    restarts: int


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamState:
    """One stream at one moment. Ages in ms, None before the first frame."""

    id: str
    number: int  # u32 for the wire header
    spec: StreamSpec
    epoch: int
    seq: int
    width: int
    height: int
    engine: str
    engine_version: str
    engine_sha256: str
    engine_state: EngineState
    provenance: Provenance | None
    reason: Reason | None
    age_ms: float | None  # of the last frame when it left
    since_last_ms: float | None  # since the last frame left
    fps_in: float
    fps_out: float
    levels: Levels
    frames_in: int
    frames_out: int
    restored: int
    raw: dict[str, int]  # by Reason
    drops: dict[str, int]  # by DropReason
    restarts: dict[str, int]  # "engine", "decode", "stream", "source" (connections made anew)
    violations: dict[str, int]  # by invariant, "I1".."I14"
    alarms: tuple[Alarm, ...]
    bypass: bool  # a person asked for raw
    latched: bool  # the stream latched itself to raw after too many trips
    holding: bool  # raw for now; returns by itself after enough good frames
    strength: float
    clean_lens: bool  # fog or a splash stays: call for a clean
    timeline: tuple[TimelinePoint, ...]
    events: tuple[StreamEvent, ...]
    trouble: str | None = None  # why a camera gives no picture now
    sinks: tuple[SinkReport, ...] = ()
    rung: str = ""  # of the engine's ladder: full, half, veil, raw; "" for an engine without one


@dataclass(frozen=True, kw_only=True, slots=True)
class Outgoing:
    """One encoded picture on its way to a viewer, with the fields of the wire header.

    seq, capture_ts_ns: the pusher's own, echoed (for other sources: ours and the monotonic
    capture time); server_in_ns, server_out_ns: monotonic.
    """

    stream: int
    view: View
    epoch: int
    place_seq: int  # ours, counts from 0 in the epoch
    seq: int
    capture_ts_ns: int
    server_in_ns: int
    server_out_ns: int
    provenance: Provenance
    reason: Reason | None
    stale: bool
    card: bool
    levels: Levels
    codec: Codec
    width: int
    height: int
    payload: bytes

    @property
    def flags(self) -> int:
        return flags_of(self.provenance, self.reason, stale=self.stale, card=self.card)

    @property
    def age_ns(self) -> int:
        return self.server_out_ns - self.server_in_ns


@dataclass(frozen=True, slots=True)
class Dropped:
    """The answer to a pushed frame that no picture answers. reason: a DropReason."""

    seq: int
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Fate:
    """What became of `count` frames (one, unless dropped), for metrics. reason: a Reason or, when
    dropped, a DropReason."""

    stream_id: str
    dropped: bool
    provenance: Provenance | None
    reason: str | None
    age_ms: float
    stages_ms: dict[str, float]  # "decode", "detect", "restore", "guard", "wait", "encode"
    levels: Levels
    count: int = 1
