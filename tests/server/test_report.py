"""The report has the fields that others read, as plain JSON."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

from fakes import SMOKY

from engines.engine import Info
from engines.restorer import NOTHING
from server.frame import Reason
from server.guard import Cause
from server.pipeline import Tally
from server.report import Report, Timeline, counts
from server.stages import Percentiles


def report() -> Report:
    timeline = Timeline()
    for i in range(10):
        timeline.add(i / 25, SMOKY if 3 <= i < 7 else NOTHING)
    return Report(
        input="a.mp4",
        output="b.mp4",
        engine=Info(name="veil", version="1.2.3", sha256="ab", provider="cpu", detail="x"),
        frames=10,
        restored=4,
        raw={"CLEAR": 5, "GUARD": 1},
        guard={"FLAT": 1},
        width=1280,
        height=720,
        fps_in=25.0,
        fps_processed=80.0,
        wall_s=0.125,
        stage_ms={"decode": Percentiles(1.0, 2.0, 3.0)},
        detections=tuple(timeline.entries),
        notes=("10-bit samples are reduced to 8 bits",),
    )


def test_fields_are_those_of_the_contract() -> None:
    fields = json.loads(report().to_json())
    assert fields["engine"] == {
        "name": "veil",
        "version": "1.2.3",
        "sha256": "ab",
        "provider": "cpu",
    }
    assert fields["stage_ms"] == {"decode": {"p50": 1.0, "p95": 2.0, "p99": 3.0}}
    assert set(fields) >= {
        "input", "engine", "frames", "restored", "raw", "width", "height", "fps_in",
        "fps_processed", "wall_s", "stage_ms", "detections",
    }  # fmt: skip


def test_detections_are_the_changes_of_level() -> None:
    assert json.loads(report().to_json())["detections"] == [
        {"t_s": 0.0, "smoke": 0, "fog": 0, "splash": 0},
        {"t_s": 0.12, "smoke": 2, "fog": 0, "splash": 0},
        {"t_s": 0.28, "smoke": 0, "fog": 0, "splash": 0},
    ]


def test_every_reason_is_counted_by_name() -> None:
    tally = Tally(7, 4, Counter({Reason.CLEAR: 2, Reason.GUARD: 1}), Counter({Cause.FLAT: 1}))
    raw, guard = counts(tally)
    assert raw == {
        "CLEAR": 2, "BYPASS": 0, "LATE": 0, "GUARD": 1, "ENGINE_DOWN": 0, "WARMING": 0, "SHAPE": 0,
    }  # fmt: skip
    assert guard == {"FLAT": 1}


def test_the_sentence_says_what_was_done() -> None:
    assert report().sentence() == (
        "restored 4 of 10 frames (1 refused by the guard: FLAT 1), 80.0 a second: b.mp4"
    )
    assert "guard" not in replace(report(), guard={}).sentence()
