"""How fast engines run one network at one size, beside the least time that the machine allows.

Wall times of `run`, frame in and frame out; on a GPU the device's own time between two events
too, and the throughput with as many frames in flight as the engine takes. The roofline is the
graph's work (engines/work.py) over the machine's peak: a GPU's from its data sheet, this CPU's
from a matrix product and a copy timed in the same run.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import psutil
from rich.table import Table

from engines.bundle import Bundle
from engines.engine import Array, Engine, Info
from engines.errors import EngineError
from engines.onnxrt import fixed_shape
from engines.work import GPUS, Peak, Work

WARM = 2
LEAST = 3  # runs, however long they take
PRODUCT = 768  # side of the matrices
COPY_BYTES = 64 << 20
TRIES = 20  # the best one finds the machine least busy


class Pipelined(Protocol):
    """An engine that takes a second frame while it works on the first."""

    def submit(self, feeds: Mapping[str, Array]) -> int: ...
    def collect(self, ticket: int) -> dict[str, Array]: ...


@dataclass(frozen=True, slots=True)
class Spread:
    """Milliseconds."""

    p50: float
    p95: float
    p99: float
    worst: float


def spread(times_ms: Sequence[float]) -> Spread:
    p50, p95, p99 = (float(np.percentile(times_ms, p)) for p in (50, 95, 99))
    return Spread(p50, p95, p99, max(times_ms))


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One engine. device_ms: None without a GPU; rss_mib: what the process gained by loading and
    running it; least_ms: the roofline; share: least over what the device (else the clock) took at
    the median; stopped: why there is nothing else, "" where there is."""

    info: Info
    runs: int = 0
    wall_ms: Spread | None = None
    device_ms: Spread | None = None
    fps: float = 0.0
    rss_mib: float = 0.0
    gpu_mib: float | None = None
    least_ms: float | None = None
    share: float | None = None
    stopped: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sheet:
    """Rows of one run of the bench, and what they are to be read against."""

    size: tuple[int, int]  # h w
    machine: str
    cpus: int
    work: Work | None
    peak: Peak | None
    bound: str
    rows: tuple[Row, ...]

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), indent=1).encode() + b"\n"

    def table(self) -> Table:
        """For people."""
        h, w = self.size
        notes = [f"{self.machine}, {self.cpus} cores. ms of one frame in and out."]
        if self.work is not None and self.peak is not None:
            notes.append(
                f"{self.work.flop / 1e9:.0f} GFLOP, {self.work.fused_bytes / 1e9:.2f} GB fused"
                f" ({self.work.unfused_bytes / 1e9:.2f} unfused): bound by {self.bound};"
                f" {self.peak.flops / 1e12:.3g} TFLOP/s, {self.peak.bytes_s / 1e9:.3g} GB/s"
                f" ({self.peak.source})."
            )
        out = Table(title=f"{w}x{h}", caption="\n".join(notes), caption_justify="left")
        for name in ("engine", "provider", "run time", "p50", "p95", "p99", "worst", "device p50",
                     "fps", "MiB", "GPU MiB", "roofline ms", "share"):  # fmt: skip
            out.add_column(name, justify="left" if name in ("engine", "run time") else "right")
        for row in self.rows:
            how = row.info.detail if not row.stopped else f"{row.info.detail} {row.stopped}".strip()
            out.add_row(row.info.name, row.info.provider, how, *_cells(row))
        return out


def _cells(row: Row) -> list[str]:
    if row.stopped or row.wall_ms is None:
        return ["-"] * 10

    def number(value: float | None, text: str = "{:.2f}") -> str:
        return "-" if value is None else text.format(value)

    wall, device = row.wall_ms, row.device_ms
    return [
        *(f"{value:.2f}" for value in (wall.p50, wall.p95, wall.p99, wall.worst)),
        number(None if device is None else device.p50), f"{row.fps:.2f}",
        f"{row.rss_mib:.0f}", number(row.gpu_mib, "{:.0f}"), number(row.least_ms),
        number(row.share, "{:.0%}"),
    ]  # fmt: skip


def frames(bundle: Bundle, count: int = 3) -> list[dict[str, Array]]:
    """Noise for every input: no run time can guess it."""
    rng = np.random.default_rng(3)
    return [
        {
            port.name: (rng.random(fixed_shape(port)) * 255).astype(port.dtype)
            for port in bundle.manifest.inputs
        }
        for _ in range(count)
    ]


def measure(
    make: Callable[[], Engine],
    info: Info,
    feeds: Sequence[Mapping[str, Array]],
    *,
    runs: int,
    seconds: float,
    work: Work | None,
    peak: Peak | None,
    used_bytes: Callable[[], int] | None = None,
) -> Row:
    """One engine, loaded, warmed and run. info: stands for an engine that does not load; runs,
    seconds: whichever ends first, but LEAST at least."""
    process = psutil.Process()
    rss, gpu = process.memory_info().rss, used_bytes() if used_bytes else 0
    try:
        engine = make()
    except EngineError as error:
        return Row(info=info, stopped=error.what)
    try:
        for feed in feeds[:WARM]:
            engine.run(feed)
        wall, device = _times(engine, feeds, runs, seconds)
        fps = _throughput(engine, feeds, len(wall), float(np.median(wall)))
        gained = (process.memory_info().rss - rss) / 2**20
        gained_gpu = None if used_bytes is None else (used_bytes() - gpu) / 2**20
    except EngineError as error:
        return Row(info=engine.info, stopped=error.what)
    finally:
        engine.close()
    times, on_device = spread(wall), spread(device) if device else None
    least = None if work is None or peak is None else peak.least_ms(work)
    took = (on_device or times).p50
    return Row(
        info=engine.info, runs=len(wall), wall_ms=times, device_ms=on_device, fps=fps,
        rss_mib=gained, gpu_mib=gained_gpu, least_ms=least,
        share=None if least is None else least / took,
    )  # fmt: skip


def _times(
    engine: Engine, feeds: Sequence[Mapping[str, Array]], runs: int, seconds: float
) -> tuple[list[float], list[float]]:
    wall: list[float] = []
    device: list[float] = []
    ends = time.perf_counter() + seconds
    while len(wall) < LEAST or (len(wall) < runs and time.perf_counter() < ends):
        started = time.perf_counter()
        engine.run(feeds[len(wall) % len(feeds)])
        wall.append((time.perf_counter() - started) * 1e3)
        on_device: float | None = getattr(engine, "device_ms", None)
        if on_device is not None:
            device.append(on_device)
    return wall, device


def _throughput(
    engine: Engine, feeds: Sequence[Mapping[str, Array]], count: int, median_ms: float
) -> float:
    """Frames a second, two in flight where the engine takes them."""
    if not hasattr(engine, "submit"):
        return 1e3 / median_ms
    pipelined: Pipelined = engine  # type: ignore[assignment]
    started = time.perf_counter()
    before = pipelined.submit(feeds[0])
    for number in range(1, count):
        following = pipelined.submit(feeds[number % len(feeds)])
        pipelined.collect(before)
        before = following
    pipelined.collect(before)
    return count / (time.perf_counter() - started)


def cpu_peak() -> Peak:
    """This machine now: a matrix product by all its cores, and a copy (read and written)."""
    a = np.random.default_rng(0).random((PRODUCT, PRODUCT), np.float32)
    source, target = (np.zeros(COPY_BYTES, np.uint8) for _ in range(2))

    def best(work: Callable[[], Any]) -> float:
        times = []
        for _ in range(TRIES):
            started = time.perf_counter()
            work()
            times.append(time.perf_counter() - started)
        return min(times)

    flops = 2 * PRODUCT**3 / best(lambda: a @ a)
    bytes_s = 2 * COPY_BYTES / best(lambda: np.copyto(target, source))
    return Peak(flops, bytes_s, "FP32 product and copy, timed in this run")


def machine() -> str:
    return f"{platform.machine()} {platform.processor() or platform.system()}".strip()


def sheet(
    size: tuple[int, int], rows: Sequence[Row], work: Work | None, peak: Peak | None, name: str
) -> Sheet:
    bound = "" if work is None or peak is None else peak.bound(work)
    return Sheet(
        size=size, machine=name, cpus=len(os.sched_getaffinity(0)), work=work, peak=peak,
        bound=bound, rows=tuple(rows),
    )  # fmt: skip


def gpu_peak(name: str) -> Peak | None:
    """Of a GPU by its name; None for one whose figures are not in the table."""
    return GPUS.get(name)
