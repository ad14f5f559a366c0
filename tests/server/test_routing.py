"""One stream, one pixel path: eight streams with coded pictures, coming and going, never cross."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from streams import DEADLINE_MS, LIMITS, code_of, coded_jpeg, engines

from server import jpeg
from server.frame import Reason
from server.manager import Dropped, StreamManager, StreamSpec
from server.mark import read

STREAMS, FRAMES = 8, 8000
PATIENT = replace(LIMITS, stale_stop_ms=60_000)  # no card in place of a picture read late


@dataclass
class Tally:
    """What all pushers together have seen."""

    pictures: int = 0
    restored: int = 0
    crossings: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    ids: set[str] = field(default_factory=set)
    numbers: list[int] = field(default_factory=list)


async def converse(manager: StreamManager, frames: int, tally: Tally) -> None:
    """Pushes coded frames into a stream of its own and reads what comes back."""
    spec = StreamSpec(source="push", engine="fake", deadline_ms=DEADLINE_MS, max_age_ms=10_000)
    stream_id = await manager.start(spec)
    number = manager.number(stream_id)
    tally.ids.add(stream_id)
    tally.numbers.append(number)
    viewer = manager.subscribe(stream_id, "restored", answers=True)
    for seq in range(frames):
        payload = coded_jpeg(number, seq)
        await manager.push(stream_id, payload, seq=seq, capture_ts_ns=time.monotonic_ns())
        item = await viewer.get()
        assert item is not None
        assert item.seq == seq
        if isinstance(item, Dropped):
            tally.lost[item.reason] += 1
            continue
        picture = jpeg.decode(item.payload)
        tally.pictures += 1
        tally.crossings += code_of(picture) != (number, item.seq) or item.stream != number
        tally.restored += item.reason is None
        mark = read(picture)
        assert (mark is not None) == (item.reason is None)
    while (state := manager.state(stream_id)).frames_out + sum(state.drops.values()) < frames:
        await asyncio.sleep(0.01)  # the picture is here before the event that tells of it
    assert state.violations == {}
    assert state.frames_in == state.frames_out + sum(state.drops.values()) == frames
    await manager.stop(stream_id)


@pytest.mark.timeout(900)  # twenty-five seconds of work, on a machine that others may hold
def test_no_frame_crosses_between_eight_streams_that_come_and_go(tmp_path: Path) -> None:
    tally = Tally()

    async def lane(manager: StreamManager, lives: int) -> None:
        """Every other lane ends its stream half-way and starts another."""
        for _ in range(lives):
            await converse(manager, FRAMES // STREAMS // lives, tally)

    async def scenario() -> None:
        async with (
            StreamManager(engines(tmp_path / "command"), limits=PATIENT) as manager,
            asyncio.TaskGroup() as group,
        ):
            for number in range(STREAMS):
                group.create_task(lane(manager, 1 + number % 2))

    asyncio.run(scenario())
    assert tally.crossings == 0
    assert tally.pictures + tally.lost.total() == FRAMES
    assert set(tally.lost) <= {"AGE"}  # pushed before the stream process was up
    assert tally.pictures > 0.99 * FRAMES
    assert tally.restored > 0
    assert len(set(tally.numbers)) == len(tally.ids) == STREAMS + STREAMS // 2


def test_ids_cannot_be_guessed_from_one_another(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with StreamManager(engines(tmp_path / "command"), limits=LIMITS) as manager:
            spec = StreamSpec(source="push", engine="fake")
            ids = [await manager.start(spec) for _ in range(3)]
            assert len({stream_id[:8] for stream_id in ids}) == 3
            assert min(map(len, ids)) >= 20
            assert all(0 < manager.number(stream_id) < 2**32 for stream_id in ids)

    asyncio.run(scenario())


@pytest.mark.parametrize("reason", [None, Reason.LATE])
def test_the_code_survives_restoring_and_jpeg(reason: Reason | None) -> None:
    from fakes import brighten

    from engines.picture import Rgb

    picture = jpeg.decode(coded_jpeg(0xDEADBEEF, 0x12345678))
    if reason is None:
        bright = brighten(picture)
        assert isinstance(bright, Rgb)
        picture = jpeg.decode(jpeg.encode(bright, 90))
    assert code_of(picture) == (0xDEADBEEF, 0x12345678)
