"""What a bench of one engine says: percentiles, device time, throughput, memory, roofline."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from bundles import SHAPE, tiny_bundle
from rich.console import Console

from engines.bench import LEAST, Row, cpu_peak, frames, measure, sheet, spread
from engines.engine import Array, Engine, Info
from engines.errors import BackendMissing, RunFailed
from engines.work import Peak, Work

INFO = Info(name="tiny", version="1.0.0", sha256="", provider="tensorrt", detail="fake 1")
FEEDS = [{"frame": np.zeros(SHAPE, np.uint8)}]
WORK, PEAK = Work(4e9, 1e6, 3e6), Peak(1e12, 1e9, "made up")


@dataclass
class OnDevice:
    """Takes 8 ms on a device, whatever the clock says; two frames may be in flight."""

    info: Info = INFO
    device_ms: float | None = 8.0
    waiting: list[int] = field(default_factory=list)
    most: int = 0
    ran: int = 0
    closed: bool = False
    breaks: bool = False

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        self.ran += 1
        if self.breaks:
            raise RunFailed("out of memory")
        return {}

    def submit(self, feeds: Mapping[str, Array]) -> int:
        self.waiting.append(len(self.waiting))
        self.most = max(self.most, len(self.waiting))
        return self.waiting[-1]

    def collect(self, ticket: int) -> dict[str, Array]:
        self.waiting.remove(ticket)
        return {}

    def close(self) -> None:
        self.closed = True


def measured(engine: Engine, used: list[int] | None = None, runs: int = 20) -> Row:
    return measure(
        lambda: engine, INFO, FEEDS, runs=runs, seconds=60, work=WORK, peak=PEAK,
        used_bytes=None if used is None else used.pop,
    )  # fmt: skip


def test_percentiles() -> None:
    found = spread([float(n) for n in range(1, 101)])
    assert (found.p50, found.worst) == (50.5, 100.0)
    assert found.p95 == pytest.approx(95.05)
    assert found.p99 == pytest.approx(99.01)


def test_a_device_is_held_to_its_own_clock() -> None:
    engine = OnDevice()
    row = measured(engine, used=[7 << 20, 2 << 20])
    assert row.device_ms is not None
    assert row.device_ms.p50 == 8.0
    assert row.least_ms == pytest.approx(4.0)
    assert row.share == pytest.approx(0.5)  # of the device's time, not of the clock's
    assert row.gpu_mib == 5.0
    assert row.runs == 20
    assert row.fps > 0
    assert engine.most == 2  # two frames in flight
    assert engine.closed


def test_few_runs_are_made_however_long_they_take() -> None:
    row = measure(OnDevice, INFO, FEEDS, runs=100, seconds=0.0, work=None, peak=None)
    assert row.runs == LEAST
    assert (row.least_ms, row.share) == (None, None)


def test_what_does_not_load_or_breaks_says_so() -> None:
    def missing() -> Engine:
        raise BackendMissing("no GPU")

    row = measure(missing, INFO, FEEDS, runs=5, seconds=1, work=None, peak=None)
    assert (row.stopped, row.wall_ms) == ("no GPU", None)
    engine = OnDevice(breaks=True)
    assert measured(engine).stopped == "out of memory"
    assert engine.closed


def test_the_sheet_is_json_and_a_table() -> None:
    rows = [measured(OnDevice()), Row(info=INFO, stopped="no GPU")]
    made = sheet((720, 1280), rows, WORK, PEAK, "Simulated GPU")
    values = json.loads(made.to_json())
    assert values["bound"] == "computing"
    assert values["rows"][0]["device_ms"]["p99"] == 8.0
    assert values["rows"][1]["stopped"] == "no GPU"
    text = io.StringIO()
    Console(file=text, width=200).print(made.table())
    for part in (
        "1280x720",
        "Simulated GPU",
        "fake 1 no GPU",
        "50%",
        "4 GFLOP",
        "bound by computing",
    ):
        assert part in text.getvalue()


def test_frames_are_noise_of_the_right_kind(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "tiny")
    one, two, _ = frames(bundle)
    assert one["frame"].shape == SHAPE
    assert one["frame"].dtype == np.uint8
    assert not np.array_equal(one["frame"], two["frame"])


def test_this_machine_has_a_peak() -> None:
    peak = cpu_peak()
    assert peak.flops > 1e8
    assert peak.bytes_s > 1e8
    assert "timed in this run" in peak.source
