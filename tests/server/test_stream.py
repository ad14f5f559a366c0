"""A stream's processes: named, first in line, idle when there is nothing to do, ended in order."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import psutil
import pytest
from streams import live, process_of

from server.events import EventKind, load

ROLES = ("stream", "engine", "decode")


@pytest.mark.parametrize("mode", ["live", "lossless"])
def test_nothing_spins_while_nothing_comes(tmp_path: Path, mode: str) -> None:
    """Waiting is done by the kernel, also in the middle of a lossless hand-over."""

    def used_s(processes: list[psutil.Process]) -> float:
        return sum(sum(process.cpu_times()[:2]) for process in processes)

    async def scenario() -> None:
        async with live(tmp_path, mode=mode) as run:
            run.pushing = False
            await asyncio.sleep(0.3)
            if mode == "lossless":  # the engine takes its time with the last frame
                run.command("sleep 1.5")
                run.pushing = True
                await asyncio.sleep(0.2)
                run.pushing = False
            found = [process_of(role, run.number) for role in ROLES]
            processes = [process for process in found if process is not None]
            assert len(processes) == 3
            before, started = used_s(processes), time.monotonic()
            await asyncio.sleep(1.0)
            assert (used_s(processes) - before) / (time.monotonic() - started) < 0.2

    asyncio.run(scenario())


def test_the_last_hop_goes_before_the_others(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with live(tmp_path) as run:
            nice = {}
            for role in ROLES:
                process = process_of(role, run.number)
                assert process is not None
                nice[role] = process.nice()
            assert nice["stream"] < nice["engine"] == nice["decode"]

    asyncio.run(scenario())


def test_a_history_begins_with_its_rules_and_ends_in_order(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with live(tmp_path) as run:
            await run.more(10)
            run.pushing = False
            keeper = run.manager._keeper(run.id)
            await run.manager.stop(run.id)
            path = tmp_path / "history.jsonl"
            keeper.history.save(path)
            events = list(load(path))
            assert events[0].kind is EventKind.CONFIG
            assert events[0].data["good_frames"] == 8
            assert EventKind.END in {event.kind for event in events[-5:]}
            assert keeper.checker.violations == {}
            assert keeper.checker.in_flight == ()

    asyncio.run(scenario())
