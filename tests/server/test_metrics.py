"""Metrics: true counts, the buckets that matter, nothing left of ended streams, no secrets."""

from __future__ import annotations

from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families
from states import sink, state_of

from server.frame import Provenance
from server.metrics import AGE_BUCKETS, Metrics
from server.spec import Fate, Levels, StreamState


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (s.name, frozenset(s.labels.items())): s.value
        for family in text_string_to_metric_families(metrics.page().decode())
        for s in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return samples(metrics)[(name, frozenset(labels.items()))]


def fate(
    provenance: Provenance | None,
    reason: str | None,
    *,
    age_ms: float = 20.0,
    dropped: bool = False,
) -> Fate:
    return Fate(
        stream_id="secret-id",
        dropped=dropped,
        provenance=provenance,
        reason=reason,
        age_ms=age_ms,
        stages_ms={"decode": 3.0, "restore": 8.0},
        levels=Levels(smoke=3, fog=0, splash=1),
    )


def test_each_frame_is_counted_once_by_what_became_of_it() -> None:
    metrics = Metrics()
    for _ in range(3):
        metrics.frame(fate(Provenance.RESTORED, None))
    metrics.frame(fate(Provenance.RAW, "GUARD"))
    metrics.frame(replace(fate(None, "SUPERSEDED", dropped=True), count=4))
    assert value(metrics, "surgiclear_frames_total", provenance="RESTORED", reason="") == 3
    assert value(metrics, "surgiclear_frames_total", provenance="RAW", reason="GUARD") == 1
    assert value(metrics, "surgiclear_frames_total", provenance="DROPPED", reason="SUPERSEDED") == 4
    assert value(metrics, "surgiclear_guard_trips_total") == 1
    assert value(metrics, "surgiclear_level_frames_total", kind="smoke", level="3") == 4
    assert value(metrics, "surgiclear_stage_seconds_count", stage="restore") == 4
    assert value(metrics, "surgiclear_frame_age_seconds_count", provenance="RESTORED") == 3


def test_the_age_buckets_stand_where_it_matters() -> None:
    assert {0.016, 0.033, 0.05, 0.105} <= set(AGE_BUCKETS)
    metrics = Metrics()
    metrics.frame(fate(Provenance.RAW, "LATE", age_ms=104.0))
    name = "surgiclear_frame_age_seconds_bucket"
    assert value(metrics, name, provenance="RAW", le="0.105") == 1
    assert value(metrics, name, provenance="RAW", le="0.08") == 0


def test_a_streams_state_is_read_at_the_scrape_and_leaves_nothing_behind() -> None:
    streams: list[StreamState] = []
    metrics = Metrics(lambda: streams)
    assert b'stream="' not in metrics.page()
    streams.append(
        state_of(
            number=7,
            frames_in=100,
            frames_out=90,
            drops={"AGE": 10},
            violations={"I4": 1},
            alarms=("STALE",),
            age_ms=31.0,
            levels=Levels(smoke=4),
        )
    )
    get = "surgiclear_stream_"
    assert value(metrics, get + "frames_total", stream="7", fate="in") == 100
    assert value(metrics, get + "drops_total", stream="7", reason="AGE") == 10
    assert value(metrics, get + "violations_total", stream="7", invariant="I4") == 1
    assert value(metrics, get + "alarm", stream="7", alarm="STALE") == 1
    assert value(metrics, get + "alarm", stream="7", alarm="LATCHED") == 0
    assert value(metrics, get + "age_seconds", stream="7") == 0.031
    assert value(metrics, get + "level", stream="7", kind="smoke") == 4
    page = metrics.page()
    assert streams[0].id.encode() not in page and streams[0].spec.source.encode() not in page
    streams.clear()
    assert b'stream="7"' not in metrics.page()


def test_two_services_do_not_share_a_registry() -> None:
    one, other = Metrics(), Metrics()
    one.guard_trips.inc()
    assert value(other, "surgiclear_guard_trips_total") == 0


def test_sinks_are_counted_by_number_and_not_by_address() -> None:
    metrics = Metrics(lambda: [state_of(sinks=(sink("up"), sink("down")))])
    name = "surgiclear_stream_sink_frames_total"
    assert value(metrics, name, stream="1", sink="0", fate="sent") == 7
    assert value(metrics, name, stream="1", sink="1", fate="DOWN") == 2
    assert value(metrics, "surgiclear_stream_sink_up", stream="1", sink="0") == 1
    assert value(metrics, "surgiclear_stream_sink_up", stream="1", sink="1") == 0
    assert "rtsp" not in metrics.page().decode()
