"""The picture workers: isolation, a bounded queue, replacement, nothing left behind."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Awaitable, Callable
from typing import Any

import psutil
import pytest
from crashing import HANG, KILL, SLOW, CrashingRestorer
from picture_files import SOUND, image, saved

from server.engine_process import RestorerFactory
from server.log import make_log
from server.metrics import Metrics
from server.still_pool import PoolBusy, StillPool, WorkerLost
from server.still_process import StillJob

FACTORIES = {"fake": RestorerFactory(name="fake", make=CrashingRestorer)}
JOB = StillJob(task="restore", engine="fake")


def picture(height: int) -> bytes:
    return saved(image(size=(40, height)), "PNG")


def run(scenario: Callable[[StillPool, Metrics], Awaitable[Any]], **settings: Any) -> Any:
    async def whole() -> Any:
        metrics = Metrics()
        pool = StillPool(FACTORIES, "fake", metrics, make_log(file=io.StringIO()), **settings)
        await pool.start()
        try:
            async with asyncio.timeout(120):
                return await scenario(pool, metrics)
        finally:
            await pool.close()

    before = mine()
    result = asyncio.run(whole())
    assert mine() <= before
    return result


def mine() -> set[int]:
    return {child.pid for child in psutil.Process().children() if child.status() != "zombie"}


def test_a_worker_that_dies_or_hangs_is_replaced_and_only_its_picture_is_lost() -> None:
    async def scenario(pool: StillPool, metrics: Metrics) -> None:
        for bad in (KILL, HANG):
            with pytest.raises(WorkerLost):
                await pool.submit(JOB, picture(bad))
            answer, back = await pool.submit(JOB, SOUND["png"])
            assert answer.provenance == "RESTORED" and back
        assert next(iter(metrics.still_restarts.collect())).samples[0].value == 2

    run(scenario, timeout_s=4.0)


def test_requests_over_the_queue_are_refused_at_once() -> None:
    async def scenario(pool: StillPool, metrics: Metrics) -> None:
        await pool.submit(JOB, SOUND["png"])  # it is up
        slow = [asyncio.create_task(pool.submit(JOB, picture(SLOW))) for _ in range(3)]
        await asyncio.sleep(0)
        assert pool.depth == 3
        with pytest.raises(PoolBusy):
            await pool.submit(JOB, SOUND["png"])
        for answer, _ in await asyncio.gather(*slow):
            assert answer.provenance == "RESTORED"
        assert pool.depth == 0

    run(scenario, queue=2)


def test_each_request_gets_its_own_picture() -> None:
    async def scenario(pool: StillPool, metrics: Metrics) -> None:
        heights = list(range(10, 30))
        answers = await asyncio.gather(*(pool.submit(JOB, picture(h)) for h in heights))
        found = [int.from_bytes(back[20:24]) for _, back in answers]  # height in the PNG's header
        assert found == heights

    run(scenario, queue=40)


def test_its_state_goes_from_warming_to_ready() -> None:
    async def scenario(pool: StillPool, metrics: Metrics) -> None:
        await asyncio.sleep(0)
        assert [s.state for s in pool.status()] == ["warming"]
        await pool.submit(JOB, SOUND["png"])
        assert [s.state for s in pool.status()] == ["ready"]

    run(scenario)


def test_no_workers_means_no_pictures() -> None:
    async def scenario(pool: StillPool, metrics: Metrics) -> None:
        with pytest.raises(PoolBusy):
            await pool.submit(JOB, SOUND["png"])
        assert pool.status() == ()

    run(scenario, size=0)


def test_a_worker_killed_while_idle_comes_back() -> None:
    async def scenario(pool: StillPool, metrics: Metrics) -> None:
        await pool.submit(JOB, SOUND["png"])
        (pid,) = mine() - before
        os.kill(pid, 9)
        with pytest.raises(WorkerLost):  # not known yet, or known and replaced
            await pool.submit(JOB, SOUND["png"])
            raise WorkerLost("it was replaced in time")
        answer, _ = await pool.submit(JOB, SOUND["png"])
        assert answer.provenance == "RESTORED"

    before = mine()
    run(scenario)
