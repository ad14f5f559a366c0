"""bench speed: how fast this machine restores, beside the same clip merely transcoded."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
from rich.console import Console

from engines.engine import Info
from engines.restorer import Restorer
from server.choose import Chosen
from server.clip import RATE, write_clip
from server.errors import SettingInvalid
from server.gate import OpenGate
from server.offline import Order, restore_video
from server.progress import Advance, shown, silent
from server.report import Report
from server.source import identify
from server.stages import Percentiles
from server.whole import Whole

# the live service encodes like this: every frame leaves at once
ENCODER = "libx264:preset=ultrafast,tune=zerolatency"
ROUNDS = 3
SAMPLE_S = 0.05
LIVE_CORES, LIVE_FPS = 2, 25  # the machine and feed that the budget is for
STAGES = ("decode", "detect", "restore", "guard", "encode")


class PeakMemory:
    """The largest resident size of this process while the block runs, in MiB."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="surgiclear memory", daemon=True)
        self.mib = 0.0

    def _look(self) -> None:
        self.mib = max(self.mib, self._process.memory_info().rss / 2**20)

    def _watch(self) -> None:
        while not self._ended.wait(SAMPLE_S):
            self._look()

    def __enter__(self) -> Self:
        self._look()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._look()


@dataclass(frozen=True, slots=True)
class Run:
    """One pass over the clip. cpu_ms: of all threads, per frame; load: runnable processes on the
    machine in the last minute, this one included."""

    fps: float
    cpu_ms: float
    peak_mib: float
    load: float
    frames: int
    restored: int
    stage_ms: dict[str, Percentiles]


@dataclass(frozen=True, kw_only=True, slots=True)
class Speed:
    """Alternating runs, bare and restored; ratio: of their frame rates, median over the rounds."""

    clip: str
    width: int
    height: int
    mbit_s: float
    encoder: str
    engine: Info
    cpus: int
    machine: str
    bare: tuple[Run, ...]
    restored: tuple[Run, ...]

    @property
    def ratio(self) -> float:
        pairs = zip(self.restored, self.bare, strict=True)
        return statistics.median(r.fps / b.fps for r, b in pairs)

    def fields(self) -> dict[str, Any]:
        middle = median_run(self.restored)
        return {
            **{key: getattr(self, key) for key in ("clip", "width", "height", "mbit_s", "encoder")},
            "engine": {k: v for k, v in asdict(self.engine).items() if k != "detail"},
            "machine": {"cpus": self.cpus, "name": self.machine, "load": self.loads},
            "ratio": round(self.ratio, 4),
            "fps": middle.fps,
            "bare_fps": median_run(self.bare).fps,
            "cpu_ms_per_frame": middle.cpu_ms,
            "bare_cpu_ms_per_frame": median_run(self.bare).cpu_ms,
            "share_of_two_cores_at_25_fps": round(live_share(middle.cpu_ms), 4),
            "peak_mib": max(run.peak_mib for run in self.restored),
            "stage_ms": {stage: asdict(p) for stage, p in middle.stage_ms.items()},
            "runs": {
                "bare": [asdict(run) for run in self.bare],
                "restored": [asdict(run) for run in self.restored],
            },
        }

    @property
    def loads(self) -> list[float]:
        """Lowest and highest load average during the runs."""
        loads = [run.load for run in (*self.bare, *self.restored)]
        return [min(loads), max(loads)]

    def to_json(self) -> bytes:
        return (json.dumps(self.fields(), indent=1) + "\n").encode()

    def lines(self) -> list[str]:
        """The report for people."""
        middle, bare = median_run(self.restored), median_run(self.bare)
        out = [
            f"{self.clip}: {self.width}x{self.height}, {self.mbit_s:.1f} Mbit/s,"
            f" {middle.frames} frames, {len(self.restored)} rounds",
            f"{self.machine}, {self.cpus} CPUs, load {self.loads[0]:.1f} to {self.loads[1]:.1f}",
            f"engine {self.engine.name} {self.engine.version} on {self.engine.provider},"
            f" encoder {self.encoder}",
            "",
            "             fps   CPU ms/frame   peak MiB",
        ]
        for name, run in (("restored", middle), ("transcoded", bare)):
            out.append(f"{name:<11}{run.fps:6.1f}{run.cpu_ms:12.1f}{run.peak_mib:14.0f}")
        out += [
            "",
            f"ratio {self.ratio:.2f} of the bare transcode",
            f"a live feed of {LIVE_FPS} fps takes {live_share(middle.cpu_ms):.0%} of"
            f" {LIVE_CORES} cores",
            "",
            "stage, ms      p50     p95     p99",
        ]
        for stage in STAGES:
            if stage in middle.stage_ms:
                p = middle.stage_ms[stage]
                out.append(f"{stage:<10}{p.p50:8.2f}{p.p95:8.2f}{p.p99:8.2f}")
        if refused := sum(run.frames - run.restored for run in self.restored):
            out.append(f"NOT A FAIR FIGURE: {refused} frames were not restored")
        return out


def median_run(runs: Sequence[Run]) -> Run:
    """The run of middle frame rate."""
    return sorted(runs, key=lambda run: run.fps)[len(runs) // 2]


def live_share(cpu_ms: float) -> float:
    """Of two cores, that a live feed takes at this price per frame."""
    return cpu_ms * LIVE_FPS / (LIVE_CORES * 1000)


def _machine() -> str:
    try:
        names = [
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def _run(order: Order, restorer: Restorer | None, engine: Info) -> tuple[Run, Report]:
    started_s = time.process_time()
    with PeakMemory() as memory:
        report = restore_video(order, restorer, engine, gate=OpenGate())
    cpu_ms = (time.process_time() - started_s) * 1000 / report.frames
    run = Run(
        fps=report.fps_processed,
        cpu_ms=round(cpu_ms, 2),
        peak_mib=round(memory.mib, 1),
        load=round(os.getloadavg()[0], 2),
        frames=report.frames,
        restored=report.restored,
        stage_ms=dict(report.stage_ms),
    )
    return run, report


def parse_size(text: str) -> tuple[int, int]:
    """From `1280x720`. Raises SettingInvalid."""
    width, _, height = text.lower().partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise SettingInvalid(f"size {text!r} is not WIDTHxHEIGHT", "for example 1280x720")
    sides = int(width), int(height)
    if min(sides) < 64 or max(sides) > 4096 or any(side % 2 for side in sides):
        raise SettingInvalid(f"size {text} is out of range", "even sides from 64 to 4096")
    return sides


def measure(
    restorer: Restorer,
    engine: Info,
    *,
    video: Path | None = None,
    size: tuple[int, int] = (1280, 720),
    seconds: float = 10.0,
    encoder: str = ENCODER,
    rounds: int = ROUNDS,
    advance: Advance = silent,
) -> Speed:
    """Times the whole way from file to file, every frame restored (the gate is held open).

    video: None makes one of this size and length. Raises SurgiclearError.
    """
    if rounds < 1 or not 0.2 <= seconds <= 600:
        raise SettingInvalid("a measurement takes 0.2 to 600 seconds and at least one round")
    with tempfile.TemporaryDirectory(prefix="surgiclear-") as folder:
        clip = video
        if clip is None:
            clip = Path(folder) / "textured.mp4"
            write_clip(clip, *size, max(5, round(seconds * float(RATE))))
        order = Order(source=str(clip), output=Path(folder) / "out.mp4", encoder=encoder)
        bare, restored = [], []
        for done in range(rounds):
            first, report = _run(order, None, engine)
            bare.append(first)
            restored.append(_run(order, restorer, engine)[0])
            advance(done + 1, rounds)
        clip_s = report.frames / (report.fps_in or float(RATE))
        return Speed(
            clip=clip.name,
            width=report.width or 0,
            height=report.height or 0,
            mbit_s=round(clip.stat().st_size * 8e-6 / clip_s, 2),
            encoder=encoder,
            engine=engine,
            cpus=len(os.sched_getaffinity(0)),
            machine=_machine(),
            bare=tuple(bare),
            restored=tuple(restored),
        )


def bench(
    choose: Callable[[], Chosen],
    console: Console,
    *,
    video: Path | None,
    size: str,
    seconds: float,
    rounds: int,
    encoder: str | None,
    json_file: Path | None,
) -> Speed:
    """What `bench speed` does. choose: called once the words are known to make sense; console:
    for progress. Raises SurgiclearError."""
    sides = parse_size(size)
    if video is not None:
        identify(str(video))
    with contextlib.ExitStack() as opened:
        paper = None if json_file is None else opened.enter_context(Whole(json_file))
        chosen = choose()
        opened.callback(chosen.restorer.close)
        advance = opened.enter_context(shown("measuring", console, unit="rounds"))
        speed = measure(
            chosen.restorer,
            chosen.info,
            video=video,
            size=sides,
            seconds=seconds,
            rounds=rounds,
            encoder=encoder or ENCODER,
            advance=advance,
        )
        if paper is not None:
            paper.write_bytes(speed.to_json())
            paper.commit()
    return speed
