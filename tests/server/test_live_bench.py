"""The live measurement: its frames, its arithmetic, and one short run of the real thing."""

from __future__ import annotations

import os
import time

import numpy as np
from fakes import FakeRestorer
from scripted import CATALOG, config_of, jpeg, listening

from server.catalog import Catalog
from server.engine_process import RestorerFactory
from server.live_bench import COLUMNS, Meter, Plan, Spread, measure, played
from server.manager import StreamManager


def test_percentiles() -> None:
    spread = Spread.of([float(n) for n in range(1001)])
    assert (spread.p50, spread.p95, spread.p99, spread.p999, spread.max) == (
        500.0, 950.0, 990.0, 999.0, 1000.0,
    )  # fmt: skip
    assert np.isnan(Spread.of([]).p99)


def test_frames_go_to_and_fro_at_the_plans_rate() -> None:
    frames = [bytes([n]) for n in range(4)]
    stills = list(played(frames, Plan(fps=10.0, seconds=1.0)))
    assert [s.jpeg[0] for s in stills] == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3]
    assert [s.at_s for s in stills] == [n / 10 for n in range(10)]


def test_the_meter_sees_work() -> None:
    with Meter(os.getpid()) as meter:
        end = time.process_time() + 0.3
        while time.process_time() < end:
            pass
        cost = meter.cost()
    assert 0 < cost.cpu_cores <= (os.cpu_count() or 1) * 1.5 and cost.cores >= 1


def test_a_short_run_loses_no_answer() -> None:
    streams = 2
    factories = {"veil": RestorerFactory(name="veil", make=FakeRestorer)}
    catalog = Catalog(CATALOG.offers, factories, "veil")
    config = config_of(live={"deadline_ms": 500.0, "max_age_ms": 5000.0})
    with listening(config, manager=StreamManager(factories), catalog=catalog) as service:
        plan = Plan(width=320, height=240, fps=10.0, seconds=1.5, streams=streams)
        frames = [jpeg(320, 240, shade) for shade in range(60, 80)]
        measured = measure(service.url, os.getpid(), plan, frames)
    assert measured.lost == 0 and measured.sent + measured.skipped == 15 * streams
    assert measured.answered == measured.sent
    assert measured.answered == measured.restored + sum(
        (*measured.raw.values(), *measured.dropped.values())
    )
    assert 0 < measured.added_ms.p50 <= measured.added_ms.max
    assert measured.round_trip_ms.max >= measured.added_ms.p50
    assert len(measured.row()) == len(COLUMNS)
