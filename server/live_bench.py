"""`surgiclear bench live`: what a streaming client sees through the WebSocket, and what it costs.

The service runs as a process of its own, as in use; the client's frames are encoded beforehand.
Added latency is from the frame's arrival at the socket to the sending of its answer, as the
service stamps them; the round trip is the client's own clock around both.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from server import jpeg
from server.errors import Failure
from server.push import Pushed, Still, play
from surgiclear_client import Answer, AsyncClient, AsyncPush, Frame

QUALITY = 90
EPISODE_S = 8.0  # of smoke, played to and fro
START_S = 120.0  # for the service to be ready
SETTLE_S, SETTLED_S = 60.0, 3.0  # for the frames to be restored; all of these have to be
STOP_S = 10.0
SAMPLE_S = 1.0
PERCENTILES = (50.0, 95.0, 99.0, 99.9)
PROGRAM = "import sys; from surgiclear import main; sys.argv[0] = 'surgiclear'; main()"


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """One measurement: `streams` clients of width x height at fps for seconds. deadline_ms: None
    for the service's own."""

    width: int = 1280
    height: int = 720
    fps: float = 25.0
    seconds: float = 60.0
    streams: int = 1
    engine: str | None = None
    credits: int = 2
    deadline_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Spread:
    """Of a latency, in ms."""

    p50: float
    p95: float
    p99: float
    p999: float
    max: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        if not values:
            return cls(*5 * (float("nan"),))
        p50, p95, p99, p999 = (round(float(v), 2) for v in np.percentile(values, PERCENTILES))
        return cls(p50, p95, p99, p999, round(max(values), 2))


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Of all processes of the service. cpu_cores: cores kept busy on average; memory_mb: shared
    pages counted once, at the end; slope_mb_per_min: over the second half; other_cores: what else
    kept the machine busy (the client too)."""

    cpu_cores: float
    cores: int
    memory_mb: float
    slope_mb_per_min: float
    other_cores: float
    load_1min: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """One plan's figures."""

    plan: Plan
    sent: int
    answered: int
    lost: int
    skipped: int
    restored: int
    raw: dict[str, int]
    dropped: dict[str, int]
    added_ms: Spread
    round_trip_ms: Spread
    cost: Cost
    by_second: list[float] = field(default_factory=list)  # p50 of the added latency

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def row(self) -> list[str]:
        """One row of the table."""
        p, a = self.plan, self.added_ms
        return [
            f"{p.streams} x {p.width}x{p.height} @ {p.fps:g}",
            f"{self.sent}",
            f"{self.lost}",
            f"{100 * self.restored / max(1, self.answered):.0f} %",
            f"{sum(self.dropped.values()) + self.skipped}",
            *(f"{v:.1f}" for v in (a.p50, a.p95, a.p99, a.p999, a.max)),
            f"{self.round_trip_ms.p99:.1f}",
            f"{self.cost.cpu_cores:.2f}",
            f"{self.cost.slope_mb_per_min:+.1f}",
        ]


COLUMNS = (
    "streams", "sent", "lost", "restored", "dropped", "p50 ms", "p95", "p99", "p99.9", "max",
    "round trip p99", "cores", "MB/min",
)  # fmt: skip


def pictures(plan: Plan) -> list[bytes]:
    """One episode of smoke of the phantom, as JPEG: clear, rising, holding, falling, clear. The
    gate judges smoke against the clear frames before it."""
    from server.phantom.feed import Feed
    from server.phantom.spec import PhantomSpec

    feed = Feed(
        PhantomSpec(
            width=plan.width, height=plan.height, seconds=EPISODE_S, episodes=(("smoke",),), level=3
        )
    )
    return [jpeg.encode(feed.picture(n), QUALITY) for n in range(feed.spec.frames)]


def played(frames: list[bytes], plan: Plan) -> Iterator[Still]:
    """To and fro, so that no frame jumps, at the plan's rate for its seconds."""
    loop = cycle(chain(frames, frames[-2:0:-1]))
    count = round(plan.fps * plan.seconds)
    return (Still(data, n / plan.fps) for n, data in enumerate(islice(loop, count)))


@contextlib.contextmanager
def service(extra: tuple[str, ...] = ()) -> Iterator[tuple[str, int]]:
    """`surgiclear serve` at a free port: its address and process id. Ends it. Raises Failure."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SURGICLEAR_AUTH")}
    environment["SURGICLEAR_STILLS__WORKERS"] = "0"
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "serve", "--host", "127.0.0.1", "--port", "0", *extra],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=Path(__file__).parent.parent,
    )
    try:
        yield _address(process), process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _address(process: subprocess.Popen[str]) -> str:
    found: list[str] = []

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if "http://" in line:
                found.append(line[line.index("http://") :].split()[0])
                return

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(START_S)
    if not found:
        raise Failure("the service did not start", "run `surgiclear serve` to see why")
    return found[0]


class Meter:
    """Samples what a process and its children use."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._stop = threading.Event()
        self._memory: list[tuple[float, float]] = []
        self._cpu_s: dict[int, float] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Meter:
        self._begun = time.monotonic()
        self._begun_cpu_s = self._total()
        self._begun_machine_s = _machine_s()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def cost(self) -> Cost:
        """So far."""
        wall_s = time.monotonic() - self._begun
        cpu_cores = (self._total() - self._begun_cpu_s) / wall_s
        machine = (_machine_s() - self._begun_machine_s) / wall_s
        half = self._memory[len(self._memory) // 2 :]
        slope = 0.0
        if len(half) >= 5:
            times, sizes = np.array(half).T
            slope = float(np.polyfit(times - times[0], sizes, 1)[0]) * 60
        return Cost(
            cpu_cores=round(cpu_cores, 3),
            cores=psutil.cpu_count() or 1,
            memory_mb=round(self._memory[-1][1], 1) if self._memory else 0.0,
            slope_mb_per_min=round(slope, 2),
            other_cores=round(max(0.0, machine - cpu_cores), 3),
            load_1min=round(os.getloadavg()[0], 2),
        )

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            total = 0
            for process in self._family():
                with contextlib.suppress(psutil.Error):
                    total += process.memory_full_info().pss
            self._memory.append((time.monotonic(), total / 2**20))
            self._total()

    def _family(self) -> list[psutil.Process]:
        try:
            return [self._root, *self._root.children(recursive=True)]
        except psutil.Error:
            return []

    def _total(self) -> float:
        """CPU seconds of everything that ever belonged to it."""
        for process in self._family():
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                self._cpu_s[process.pid] = times.user + times.system
        return sum(self._cpu_s.values())


def _machine_s() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system)


async def _client(url: str, frames: list[bytes], plan: Plan, warm: asyncio.Barrier) -> Pushed:
    """One client: until its frames are restored, then together with the others the measurement."""
    async with (
        AsyncClient(url) as client,
        client.push(engine=plan.engine, credits=plan.credits, deadline_ms=plan.deadline_ms) as live,
    ):
        await _settle(live, frames, plan)
        await warm.wait()
        return await play(live, played(frames, plan))


async def _settle(live: AsyncPush, frames: list[bytes], plan: Plan) -> None:
    """Pushes until every frame of the last SETTLED_S was restored (or clear), so that the engine
    is warm and no early trip holds the stream to raw; or until the machine proves too slow."""
    until = time.monotonic() + SETTLE_S
    warm_until = time.monotonic() + START_S
    good = 0
    for data in chain(frames, cycle(chain(frames[-2:0:-1], frames))):
        began = time.monotonic()
        answer = await _exchanged(live, data)
        reason = None if isinstance(answer, Frame) and answer.restored else answer.reason
        good = good + 1 if reason in (None, "CLEAR") else 0
        if reason in ("WARMING", "ENGINE_DOWN"):
            until = time.monotonic() + SETTLE_S
            if time.monotonic() > warm_until:
                raise Failure("the engine did not become ready", "run `surgiclear doctor`")
        if good >= SETTLED_S * plan.fps or time.monotonic() > until:
            return
        await asyncio.sleep(max(0.0, began + 1 / plan.fps - time.monotonic()))


async def _exchanged(live: AsyncPush, data: bytes) -> Answer:
    """One frame and its answer, with nothing else under way."""
    await live.send(data)
    answer = await live.receive(START_S)
    if answer is None:
        raise Failure("a frame was not answered", "run `surgiclear doctor`")
    return answer


async def _clients(
    url: str, pid: int, frames: list[bytes], plan: Plan
) -> tuple[list[Pushed], Cost]:
    warm = asyncio.Barrier(plan.streams + 1)
    tasks = [asyncio.create_task(_client(url, frames, plan, warm)) for _ in range(plan.streams)]
    gate = asyncio.create_task(warm.wait())
    await asyncio.wait([gate, *tasks], return_when=asyncio.FIRST_COMPLETED)
    if not gate.done():  # a client failed before it was warm
        gate.cancel()
        await asyncio.gather(*tasks)  # raises what it raised
    with Meter(pid) as meter:
        results = await asyncio.gather(*tasks)
        return list(results), meter.cost()


def measure(url: str, pid: int, plan: Plan, frames: list[bytes]) -> Measured:
    """Runs one plan against a running service. Raises Failure or SurgiclearClientError."""
    results, cost = asyncio.run(_clients(url, pid, frames, plan))
    added = [ms for one in results for ms in one.added_ms]
    raw: dict[str, int] = {}
    dropped: dict[str, int] = {}
    for one in results:
        for total, part in ((raw, one.raw), (dropped, one.dropped)):
            for reason, count in part.items():
                total[reason] = total.get(reason, 0) + count
    per = max(1, round(plan.fps))
    first = results[0].added_ms
    return Measured(
        plan=plan,
        sent=sum(one.sent for one in results),
        answered=sum(one.answered for one in results),
        lost=sum(one.lost for one in results),
        skipped=sum(one.skipped for one in results),
        restored=sum(one.restored for one in results),
        raw=raw,
        dropped=dropped,
        added_ms=Spread.of(added),
        round_trip_ms=Spread.of([ms for one in results for ms in one.round_trip_ms]),
        cost=cost,
        by_second=[
            round(float(np.median(first[at : at + per])), 2) for at in range(0, len(first), per)
        ],
    )


def ready(url: str) -> bool:
    """Whether a service answers."""
    try:
        return httpx.get(f"{url}/livez", timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def bench(plans: list[Plan]) -> Iterator[Measured]:
    """One service, one plan after the other."""
    with service() as (url, pid):
        if not ready(url):
            raise Failure("the service does not answer")
        for plan in plans:
            yield measure(url, pid, plan, pictures(plan))
