"""Stream states made up for tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from server.spec import Levels, StreamSpec, StreamState

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
