"""Stream states made up for tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from server.spec import Levels, SinkReport, StreamSpec, StreamState

QUIET = StreamState(
    id="stream-0000-secret",
    number=1,
    spec=StreamSpec(source="phantom:secret-source", engine="veil"),
    epoch=0,
    seq=0,
    width=640,
    height=360,
    engine="veil",
    engine_version="1.0.0",
    engine_sha256="0" * 64,
    engine_state="ready",
    provenance=None,
    reason=None,
    age_ms=None,
    since_last_ms=None,
    fps_in=0.0,
    fps_out=0.0,
    levels=Levels(),
    frames_in=0,
    frames_out=0,
    restored=0,
    raw={},
    drops={},
    restarts={},
    violations={},
    alarms=(),
    bypass=False,
    latched=False,
    holding=False,
    strength=1.0,
    clean_lens=False,
    timeline=(),
    events=(),
)


def state_of(**changes: Any) -> StreamState:
    """A quiet stream with some fields changed."""
    return replace(QUIET, **changes)


def sink(state: Literal["connecting", "up", "down"]) -> SinkReport:
    """A sink of 10 pictures, 7 of them sent."""
    return SinkReport(
        url="rtsp://h/x",
        state=state,
        why=None,
        frames=10,
        sent=7,
        dropped={"DOWN": 2},
        under_way=1,
        connections=1,
        restarts=0,
    )
