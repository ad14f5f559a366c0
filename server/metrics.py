"""Prometheus metrics: what became of every frame, how old it was, and how the service fares.

A registry of its own. Whole-service counters grow frame by frame; figures of single streams are
read from their state when scraped, under the stream's number, so that a stream that has ended
leaves no series behind. Nothing here names a stream's secret id or a source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from server.spec import Alarm, Fate, StreamState

# seconds; the frame periods of 60 and 30 a second, our own bar of 50 ms, and the 105 ms from
# which added lag measurably hurts a surgeon (Kumcu et al. 2016)
AGE_BUCKETS = (
    0.002, 0.004, 0.008, 0.012, 0.016, 0.02, 0.025, 0.033, 0.04, 0.05, 0.067, 0.08, 0.105, 0.15,
    0.25, 0.5, 1.0,
)  # fmt: skip
STAGE_BUCKETS = (
    0.0005, 0.001, 0.002, 0.004, 0.008, 0.012, 0.016, 0.025, 0.033, 0.05, 0.105, 0.25, 1.0,
)  # fmt: skip
REQUEST_BUCKETS = (0.025, 0.05, 0.105, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
NAMESPACE = "surgiclear_"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class StreamCollector(Collector):
    """The state of each stream, read at the scrape."""

    def __init__(self, states: Callable[[], Iterable[StreamState]]) -> None:
        self._states = states

    def describe(self) -> Iterator[Metric]:
        return iter(())  # names are known, but no state is there yet to read

    def collect(self) -> Iterator[Metric]:
        name = NAMESPACE + "stream_"
        frames = CounterMetricFamily(
            name + "frames", "Frames by what became of them", labels=["stream", "fate"]
        )
        drops = CounterMetricFamily(
            name + "drops", "Dropped frames by reason", labels=["stream", "reason"]
        )
        raw = CounterMetricFamily(
            name + "raw", "Raw frames shown, by reason", labels=["stream", "reason"]
        )
        restarts = CounterMetricFamily(
            name + "restarts", "Processes started again", labels=["stream", "process"]
        )
        violations = CounterMetricFamily(
            name + "violations", "Safety invariants violated", labels=["stream", "invariant"]
        )
        levels = GaugeMetricFamily(
            name + "level", "Degradation level, 0 to 4", labels=["stream", "kind"]
        )
        alarms = GaugeMetricFamily(
            name + "alarm", "1 while the alarm is raised", labels=["stream", "alarm"]
        )
        engines = GaugeMetricFamily(
            name + "engine", "1 for the engine in use", labels=["stream", "engine", "state"]
        )
        sinks_up = GaugeMetricFamily(
            name + "sink_up", "1 while an RTSP sink sends", labels=["stream", "sink"]
        )
        sinks = CounterMetricFamily(
            name + "sink_frames",
            "Frames to an RTSP sink by fate",
            labels=["stream", "sink", "fate"],
        )
        single = {
            key: GaugeMetricFamily(name + key, text, labels=["stream"])
            for key, text in (
                ("age_seconds", "Age of the last frame when it left"),
                ("since_last_seconds", "Time since a frame last left"),
                ("fps_in", "Frames coming in, per second"),
                ("fps_out", "Frames leaving, per second"),
                ("bypass", "1 while a person asked for raw"),
                ("latched", "1 while the stream has latched itself to raw"),
                ("clean_lens", "1 while fog or a splash calls for a clean lens"),
            )
        }
        for state in self._states():
            who = str(state.number)
            frames.add_metric([who, "in"], state.frames_in)
            frames.add_metric([who, "out"], state.frames_out)
            frames.add_metric([who, "restored"], state.restored)
            for family, counts in (
                (drops, state.drops),
                (raw, state.raw),
                (restarts, state.restarts),
                (violations, state.violations),
            ):
                for label, count in counts.items():
                    family.add_metric([who, label], count)
            for kind in ("smoke", "fog", "splash"):
                levels.add_metric([who, kind], getattr(state.levels, kind))
            for alarm in get_args(Alarm):
                alarms.add_metric([who, alarm], alarm in state.alarms)
            engines.add_metric([who, state.engine, state.engine_state], 1)
            for index, sink in enumerate(state.sinks):
                sinks_up.add_metric([who, str(index)], float(sink.state == "up"))
                for fate, count in {"sent": sink.sent, **sink.dropped}.items():
                    sinks.add_metric([who, str(index), fate], count)
            if state.age_ms is not None:
                single["age_seconds"].add_metric([who], state.age_ms / 1000)
            if state.since_last_ms is not None:
                single["since_last_seconds"].add_metric([who], state.since_last_ms / 1000)
            for key in ("fps_in", "fps_out", "bypass", "latched", "clean_lens"):
                single[key].add_metric([who], float(getattr(state, key)))
        yield from (frames, drops, raw, restarts, violations, levels, alarms, engines)
        yield from (sinks_up, sinks)
        yield from single.values()


class Metrics:
    """Everything that is counted. Call `frame` for the fate of each frame."""

    def __init__(self, states: Callable[[], Iterable[StreamState]] = tuple) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self.frames = self._counter(
            "frames", "Frames by provenance (or DROPPED) and reason", "provenance", "reason"
        )
        self.age = self._histogram(
            "frame_age_seconds", "From arrival to leaving", AGE_BUCKETS, "provenance"
        )
        self.stage = self._histogram(
            "stage_seconds", "Time in one stage of the chain", STAGE_BUCKETS, "stage"
        )
        self.guard_trips = self._counter("guard_trips", "Restored frames the guard refused")
        self.levels = self._counter("level_frames", "Frames by level", "kind", "level")
        self.events = self._counter("events", "Events of streams", "name")
        self.answer = self._histogram(
            "socket_answer_seconds", "From a pushed frame's arrival to its answer", AGE_BUCKETS
        )
        self.skipped = self._counter("viewer_skipped_frames", "Frames a slow viewer did not get")
        self.sockets = self._gauge("sockets", "Open WebSockets", "role")
        self.closed = self._counter("sockets_closed", "Sockets that we closed", "code")
        self.requests = self._counter("requests", "HTTP requests", "method", "route", "status")
        self.request_s = self._histogram(
            "request_seconds", "Time to answer a picture", REQUEST_BUCKETS, "route"
        )
        self.still_queue = self._gauge("stills_queue_depth", "Pictures waiting or in work")
        self.still_restarts = self._counter("stills_worker_restarts", "Workers started again")
        self.webhooks = self._counter("webhook_posts", "Webhook posts", "outcome")
        self.webhook_queue = self._gauge("webhook_queue_depth", "Events waiting to be posted")
        self.registry.register(StreamCollector(states))

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(NAMESPACE + name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(NAMESPACE + name, text, labels, registry=self.registry)

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(NAMESPACE + name, text, labels, buckets=buckets, registry=self.registry)

    def frame(self, fate: Fate) -> None:
        """Counts one frame."""
        if fate.dropped:
            self.frames.labels("DROPPED", fate.reason or "").inc(fate.count)
            return
        provenance = "RAW" if fate.provenance is None else fate.provenance.value
        self.frames.labels(provenance, fate.reason or "").inc()
        self.age.labels(provenance).observe(max(0.0, fate.age_ms) / 1000)
        for stage, ms in fate.stages_ms.items():
            self.stage.labels(stage).observe(ms / 1000)
        for kind in ("smoke", "fog", "splash"):
            self.levels.labels(kind, str(getattr(fate.levels, kind))).inc()
        if fate.reason == "GUARD":
            self.guard_trips.inc()

    def page(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)
