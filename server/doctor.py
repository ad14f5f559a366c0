"""Preflight: whether this machine can do the work, found out by doing a little of each part."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import psutil

from engines.errors import EngineError
from engines.picture import Yuv420
from engines.store import Store
from server.choose import Chosen, choose
from server.clip import facts_of, write_clip
from server.decode import Decoded, Decoder
from server.errors import SurgiclearError
from server.frame import Frame
from server.gate import OpenGate
from server.pipeline import Pipeline
from server.source import Media
from server.stages import Percentiles, Stages

BUDGET_SIZE = (1280, 720)
BUDGET_FRAMES = 25
PERIOD_MS = 40.0  # of a feed of 25 frames a second
DEADLINE_MS = 40.0  # from ingest to the choice between restored and raw
MEMORY_MIB, DISK_MIB = 1500, 1000
CLOCK_RESOLUTION_S = 1e-4
CLOCK_LOOKS = 20_000
PYTHON = (3, 11)


class Status(StrEnum):
    PASS = "PASS"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. detail: what was found; do: what helps, where something does."""

    name: str
    status: Status
    detail: str
    do: str = ""

    def line(self) -> str:
        return f"{self.status:<4}  {self.name:<9} {self.detail}" + (f": {self.do}" * bool(self.do))


def _passed(name: str, held: bool, detail: str, do: str, otherwise: Status) -> Check:
    return Check(name, Status.PASS, detail) if held else Check(name, otherwise, detail, do)


def check_python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    held = sys.version_info[:2] >= PYTHON
    return _passed("python", held, version, "install 3.11 or newer", Status.FAIL)


def check_processors() -> Check:
    count, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    detail = f"{count} CPUs, load {load:.1f}"
    if count < 2:
        return Check("cpu", Status.WARN, detail, "live video wants two")
    return _passed("cpu", load < count, detail, "other work slows the feed", Status.WARN)


def check_memory() -> Check:
    memory = psutil.virtual_memory()
    free, total = memory.available >> 20, memory.total >> 20
    detail = f"{free} of {total} MiB free"
    return _passed("memory", free >= MEMORY_MIB, detail, f"{MEMORY_MIB} MiB are used", Status.WARN)


def check_disk() -> Check:
    folder = Path(tempfile.gettempdir())
    free = shutil.disk_usage(folder).free >> 20
    return _passed(
        "disk", free >= DISK_MIB, f"{free} MiB free in {folder}", "free some space", Status.WARN
    )


def check_clock(clock: Callable[[], int] = time.monotonic_ns) -> Check:
    """Ages are measured by the monotonic clock: it must be fine and never go back."""
    info = time.get_clock_info("monotonic")
    looks = [clock() for _ in range(CLOCK_LOOKS)]
    steps = np.diff(looks)
    if steps.min() < 0 or not info.monotonic:
        return Check("clock", Status.FAIL, "the monotonic clock goes back", "mend the host's clock")
    if looks[-1] == looks[0]:
        return Check("clock", Status.FAIL, "the monotonic clock stands still", "mend the host")
    finest_ns = int(steps[steps > 0].min())
    detail = f"resolution {info.resolution:.0e} s, steps of {finest_ns} ns seen"
    held = max(info.resolution, finest_ns * 1e-9) <= CLOCK_RESOLUTION_S
    return _passed("clock", held, detail, "ages will be coarse", Status.WARN)


def check_bundles(store: Store | None = None) -> list[Check]:
    """Every bundle that is installed verifies, and there is one."""
    try:
        found = (store or Store()).all()
    except EngineError as error:
        return [Check("bundle", Status.FAIL, error.what, error.do)]
    if not found:
        return [Check("bundle", Status.FAIL, "no engine is installed", "install one")]
    checks = []
    for one in found:
        if one.bundle is None:
            refusal = one.refusal
            what = "" if refusal is None else refusal.what
            do = "" if refusal is None else refusal.do
            checks.append(Check("bundle", Status.FAIL, f"{one.folder.name}: {what}", do))
        else:
            manifest = one.bundle.manifest
            detail = f"{manifest.name} {manifest.version} verified, {one.bundle.sha256[:12]}"
            checks.append(Check("bundle", Status.PASS, detail))
    return checks


def check_video(folder: Path) -> list[Check]:
    """A short clip is encoded, decoded, and comes back with all its frames."""
    clip, frames = folder / "clip.mp4", 8
    try:
        write_clip(clip, 320, 240, frames)
        made = Check("encode", Status.PASS, f"libx264, {clip.stat().st_size} bytes")
    except (SurgiclearError, OSError, ValueError) as error:
        return [Check("encode", Status.FAIL, str(error), "reinstall PyAV")]
    try:
        with Media(str(clip)) as media:
            count = sum(isinstance(item, Decoded) for item in Decoder(media))
        held = count == frames
        detail = f"H.264, {count} of {frames} frames"
        return [made, _passed("decode", held, detail, "reinstall PyAV", Status.FAIL)]
    except SurgiclearError as error:
        return [made, Check("decode", Status.FAIL, str(error), "reinstall PyAV")]


def check_runtime(load: Callable[[], Chosen]) -> tuple[Check, Chosen | None]:
    """The default engine loads, gives its own self-test's answers, and says where it runs."""
    try:
        chosen = load()
    except SurgiclearError as error:
        return Check("runtime", Status.FAIL, error.what, error.do), None
    info = chosen.info
    return Check("runtime", Status.PASS, f"{info.name} {info.version} on {info.provider}"), chosen


def check_budget(chosen: Chosen, size: tuple[int, int] = BUDGET_SIZE) -> Check:
    """What one 720p frame costs, detected, restored and guarded."""
    width, height = size
    stages = Stages()
    pipeline = Pipeline(chosen.restorer, gate=OpenGate(), watch=stages)
    chosen.restorer.warm(width, height)
    rng = np.random.default_rng(0)
    half = ((height + 1) // 2, (width + 1) // 2)
    picture = Yuv420(
        rng.integers(90, 190, (height, width)).astype(np.uint8),
        rng.integers(115, 125, half).astype(np.uint8),
        rng.integers(130, 140, half).astype(np.uint8),
        facts_of(width, height, 1).colour,
    )
    for index in range(BUDGET_FRAMES):
        started = time.perf_counter_ns()
        pipeline.step(Frame(0, 0, index, index * 40_000_000, picture))
        stages.add("frame", time.perf_counter_ns() - started)
    if pipeline.tally.first_error:
        return Check("budget", Status.FAIL, pipeline.tally.first_error, "check the bundle")
    found = stages.percentiles()
    whole = found["frame"]
    parts = ", ".join(f"{name} {p.p50:.1f}" for name, p in found.items() if name != "frame")
    detail = f"{width}x{height} in {_spread(whole)} ms ({parts}), {PERIOD_MS:.0f} ms at 25 fps"
    do = f"over {DEADLINE_MS:.0f} ms a live frame is shown raw"
    return _passed("budget", whole.p95 <= DEADLINE_MS, detail, do, Status.WARN)


def _spread(p: Percentiles) -> str:
    return f"p50 {p.p50:.1f}, p95 {p.p95:.1f}, p99 {p.p99:.1f}"


def examine(load: Callable[[], Chosen] = choose) -> Iterator[Check]:
    """All checks, as they are done. load: makes the default engine."""
    yield check_python()
    yield check_processors()
    yield check_memory()
    yield check_disk()
    yield check_clock()
    with tempfile.TemporaryDirectory(prefix="surgiclear-") as folder:
        yield from check_video(Path(folder))
    yield from check_bundles()
    runtime, chosen = check_runtime(load)
    yield runtime
    if chosen is not None:
        try:
            yield check_budget(chosen)
        finally:
            chosen.restorer.close()


def to_json(checks: list[Check]) -> str:
    """{"ok": no FAIL among them, "checks": [...]}."""
    return json.dumps({"ok": healthy(checks), "checks": [asdict(c) for c in checks]}, indent=1)


def healthy(checks: list[Check]) -> bool:
    return all(check.status is not Status.FAIL for check in checks)
