"""Live streams for tests: coded pictures, engines and sources that misbehave on command."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import psutil
from fakes import FakeRestorer, brighten, flat, swap_chroma, wrong_shape

from engines.picture import Colour, Picture, Rgb, Yuv420
from engines.restorer import Analysis
from engines.rungs import Rungs
from server import jpeg
from server.controls import Controls, Limits
from server.decode_process import Shown
from server.engine_process import EngineFacts, RestorerFactory
from server.errors import EngineUnavailable
from server.manager import Dropped, Outgoing, StreamManager, StreamSpec, StreamState, Subscription

WIDTH, HEIGHT = 64, 48
CELL, CODE_ROW, CODE_BITS = 4, 16, 64
DARK, LIGHT = 90, 160
PATIENCE_S = 150.0  # for what takes a second on an idle machine; nothing passes by waiting

# Patient in time, so that a busy machine decides nothing; everything else small.
LIMITS = Limits(
    stale_warn_ms=3000,
    stale_stop_ms=4000,
    good_frames=8,
    return_gap_s=0.2,
    trip_window_s=60,
    trips=100,
    hang_ms=1500,
    source_timeout_s=2.0,
    watchdog_s=8.0,
    backoff_first_s=0.05,
    backoff_most_s=0.2,
    probation_frames=10,
    max_pixels=320 * 240,
    slack_ms=5000,
)
DEADLINE_MS = 700.0


# Pictures that say whose they are


def coded(stream: int, seq: int, width: int = WIDTH, height: int = HEIGHT) -> Rgb:
    """48 64 3: `stream` and `seq` (32 bits each) as light and dark cells over a soft ground."""
    y, x = np.mgrid[0:height, 0:width]
    ground = 120 + 25 * np.sin(x / 7.0) + 25 * np.cos(y / 5.0)
    pixels = np.stack([ground, ground * 0.8, ground * 0.6], axis=2).astype(np.uint8)
    number = stream << 32 | seq
    bits = [number >> bit & 1 for bit in range(CODE_BITS)]
    cells = np.array(bits, np.uint8).reshape(4, 16)
    block = np.where(cells, LIGHT, DARK).repeat(CELL, 0).repeat(CELL, 1)
    pixels[CODE_ROW : CODE_ROW + 4 * CELL, : 16 * CELL] = block[..., None]
    return Rgb(pixels)


def code_of(picture: Rgb) -> tuple[int, int]:
    """The stream and seq that a picture shows."""
    luma = picture.pixels[CODE_ROW : CODE_ROW + 4 * CELL, : 16 * CELL, 1].astype(np.float32)
    means = luma.reshape(4, CELL, 16, CELL).mean(axis=(1, 3)).reshape(-1)
    number = sum(int(mean > (DARK + LIGHT) / 2 + 4) << bit for bit, mean in enumerate(means))
    return number >> 32, number & 0xFFFFFFFF


def coded_jpeg(stream: int, seq: int, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    return jpeg.encode(coded(stream, seq, width, height), 92)


def planes(seq: int) -> Yuv420:
    """The same code in the luma of planes."""
    luma = coded(0, seq).pixels[..., 1].copy()
    half = np.full((HEIGHT // 2, WIDTH // 2), 128, np.uint8)
    return Yuv420(luma, half, half.copy(), Colour("bt601", full_range=True))


# Sources and engines that do what a file says


def command(path: Path, what: str) -> None:
    """Tells the engine or source that watches `path` what to do from now on."""
    beside = path.with_suffix(".part")
    beside.write_text(what)
    beside.replace(path)


def commanded(path: str) -> str:
    try:
        return Path(path).read_text()
    except FileNotFoundError:
        return ""


def commanded_feed(source: str) -> Iterator[Shown]:
    """25 frames a second from `file:PATH`, where PATH holds a command: stall, or end."""
    path, seq = source.removeprefix("file:"), 0
    while True:
        match commanded(path):
            case "stall":
                time.sleep(1000)
            case "end":
                return
        yield Shown(planes(seq), seq / 25)
        seq += 1


def not_a_number(picture: Picture) -> Picture:
    """What an FP16 engine makes of an overflow, cast to nothing."""
    if isinstance(picture, Rgb):
        pixels = np.full(picture.pixels.shape, np.nan, np.float32)
        return Rgb(pixels)  # type: ignore[arg-type]
    return replace(picture, y=np.full(picture.y.shape, np.nan, np.float32))


FAULTS: dict[str, Callable[[Picture], Picture]] = {
    "nan": not_a_number,
    "shape": wrong_shape,
    "flat": flat,
    "swap": swap_chroma,
}


@dataclass
class CommandedRestorer(FakeRestorer):
    """Does what its file says: nan, shape, flat, swap, raise, hang, exit, or sleep SECONDS."""

    path: str = ""

    def apply(self, picture: Picture, analysis: Analysis, strength: float = 1.0) -> Picture:
        what, _, how = commanded(self.path).partition(" ")
        if what in FAULTS:
            return FAULTS[what](picture)
        if what == "raise":
            raise RuntimeError("the engine broke")
        if what == "hang":
            time.sleep(1000)
        if what == "exit":
            os._exit(3)
        if what == "sleep":
            time.sleep(float(how))
        return brighten(picture)


@dataclass
class SlowRung(FakeRestorer):
    """One rung of an engine: it is slow while its file says "slow LABEL,LABEL SECONDS"."""

    path: str = ""
    label: str = ""

    def apply(
        self, picture: Picture, analysis: Analysis | float | None = None, strength: float = 1.0
    ) -> Picture:
        what, *how = commanded(self.path).split()
        if what == "slow" and self.label in how[0].split(","):
            time.sleep(float(how[1]))
        return brighten(picture)


def laddered_restorer(path: str) -> Rungs:
    networks = [(label, SlowRung(path=path, label=label)) for label in ("full", "half")]
    return Rungs("ladder", networks, SlowRung(path=path, label="veil"))


def commanded_restorer(path: str) -> CommandedRestorer:
    return CommandedRestorer(path=path)


def broken_restorer(path: str) -> CommandedRestorer:
    raise RuntimeError("cannot load")


def verified(path: str) -> EngineFacts:
    return EngineFacts("other", "2.0.0", "ab" * 32, True)


def unverified(path: str) -> EngineFacts:
    return EngineFacts("forged", "2.0.0", "cd" * 32, False)


def tampered(path: str) -> EngineFacts:
    raise EngineUnavailable("a weight file has another hash", "copy the bundle again")


def engines(path: Path) -> dict[str, RestorerFactory]:
    at = (str(path),)
    return {
        "fake": RestorerFactory(name="fake", make=commanded_restorer, arguments=at),
        "ladder": RestorerFactory(name="ladder", make=laddered_restorer, arguments=at),
        "other": RestorerFactory(
            name="other", make=commanded_restorer, arguments=(f"{path}.other",), verify=verified
        ),
        "failing": RestorerFactory(
            name="failing", make=commanded_restorer, arguments=(str(path) + ".failing",)
        ),
        "broken": RestorerFactory(name="broken", make=broken_restorer, arguments=at),
        "forged": RestorerFactory(
            name="forged", make=commanded_restorer, arguments=at, verify=unverified
        ),
        "tampered": RestorerFactory(
            name="tampered", make=commanded_restorer, arguments=at, verify=tampered
        ),
    }


# One stream, a pusher and a viewer


def process_of(role: str, number: int) -> psutil.Process | None:
    """A process of ours by the name it gives itself."""
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if process.cmdline()[:1] == [f"surgiclear: {role} {number}"]:
                return process
    return None


@dataclass
class Live:
    """A running stream with everything that has come out of it."""

    manager: StreamManager
    id: str
    number: int
    path: Path
    items: list[Outgoing | Dropped] = field(default_factory=list)
    pushed: dict[int, bytes] = field(default_factory=dict)
    rate: float = 25.0
    pushing: bool = True
    pictures: Callable[[int, int], bytes] = coded_jpeg
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def state(self) -> StreamState:
        return self.manager.state(self.id)

    @property
    def shown(self) -> list[Outgoing]:
        return [i for i in self.items if isinstance(i, Outgoing) and not i.card]

    @property
    def last(self) -> str:
        """RESTORED, or the reason of the newest frame."""
        shown = self.shown
        return "" if not shown else "RESTORED" if shown[-1].reason is None else shown[-1].reason

    def command(self, what: str) -> None:
        command(self.path, what)

    def pid(self, role: str) -> int:
        process = process_of(role, self.number)
        assert process is not None, f"no {role} process"
        return int(process.pid)

    def signal(self, role: str, number: int) -> int:
        pid = self.pid(role)
        os.kill(pid, number)
        return pid

    async def until(self, reached: Callable[[], bool], what: str = "") -> None:
        """Waits for it; a failure says where the stream stands."""
        end = time.monotonic() + PATIENCE_S
        while not reached():
            assert time.monotonic() < end, f"{what}: never; {self.last}, {self.state}"
            await asyncio.sleep(0.01)

    async def until_last(self, reason: str) -> None:
        await self.until(lambda: self.last == reason, reason)

    async def more(self, count: int) -> list[Outgoing]:
        """The next `count` frames that leave from now on."""
        start = len(self.shown)
        await self.until(lambda: len(self.shown) >= start + count, f"{count} more frames")
        return self.shown[start : start + count]

    async def push(self) -> None:
        seq = 0
        while True:
            if self.pushing:
                payload = self.pictures(self.number, seq)
                self.pushed[seq] = payload
                now = time.monotonic_ns()
                await self.manager.push(self.id, payload, seq=seq, capture_ts_ns=now)
                seq += 1
            await asyncio.sleep(1 / self.rate)

    async def view(self, viewer: Subscription) -> None:
        async for item in viewer:
            self.items.append(item)

    def sound(self) -> None:
        """Nothing was violated, nothing lost uncounted, and every picture is what it says."""
        state = self.state
        assert state.violations == {}, [e for e in state.events if "invariant" in e.name]
        in_flight = state.frames_in - state.frames_out - sum(state.drops.values())
        assert 0 <= in_flight <= 2, state
        places = [(o.epoch, o.place_seq) for o in self.shown]
        assert places == sorted(set(places))


@contextlib.asynccontextmanager
async def live(
    tmp_path: Path,
    *,
    source: str = "push",
    engine: str = "fake",
    limits: Limits = LIMITS,
    controls: Controls | None = None,
    deadline_ms: float = DEADLINE_MS,
    mode: str = "live",
    ready: bool = True,
    rate: float = 25.0,
    pictures: Callable[[int, int], bytes] = coded_jpeg,
) -> AsyncIterator[Live]:
    """A stream with a pusher (where it takes pushed frames) and a viewer of what leaves. It is
    RESTORED when this returns, if `ready` is asked for."""
    path = tmp_path / "command"
    command(path, "nothing yet")
    spec = StreamSpec(
        source=f"file:{path}" if source == "feed" else source,
        engine=engine,
        mode="live" if mode == "live" else "lossless",
        deadline_ms=deadline_ms,
        max_age_ms=2 * DEADLINE_MS,
    )
    manager = StreamManager(engines(path), limits=limits, controls=controls, feed=commanded_feed)
    async with manager:
        stream_id = await manager.start(spec)
        number = manager.number(stream_id)
        run = Live(manager, stream_id, number, path, rate=rate, pictures=pictures)
        viewer = manager.subscribe(stream_id, "restored", answers=source == "push")
        run.tasks.append(asyncio.create_task(run.view(viewer)))
        if source == "push":
            run.tasks.append(asyncio.create_task(run.push()))
        try:
            if ready:
                await run.until_last("RESTORED")
            yield run
        finally:
            for task in run.tasks:
                task.cancel()
            for done in await asyncio.gather(*run.tasks, return_exceptions=True):
                if isinstance(done, Exception) and not isinstance(done, asyncio.CancelledError):
                    raise done
