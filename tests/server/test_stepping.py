"""A live stream whose engine has rungs: it steps down where it is slow, up again, and says so."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from streams import LIMITS, live

from server.frame import Reason
from server.ladder import LadderSettings

QUICK = LadderSettings(window=20, late=2, enough=3, calm_s=0.4, calm_most_s=0.8)
# a rung that is slow here sleeps for longer than the deadline (700 ms), and is not killed for it
PATIENT = replace(LIMITS, hang_ms=60_000.0, ladder=QUICK)


def test_every_rung_is_reached_and_seen_in_the_state(tmp_path: Path) -> None:
    async def script() -> None:
        async with live(tmp_path, engine="ladder", limits=PATIENT) as run:
            await run.until(lambda: run.state.rung == "full", "full")
            for slow, rung in (("full", "half"), ("full,half", "veil"), ("full,half,veil", "raw")):
                run.command(f"slow {slow} 1.0")
                await run.until(lambda rung=rung: run.state.rung == rung, rung)  # type: ignore[misc]
            await run.until_last(Reason.LATE)
            assert run.state.engine_state == "ready"
            run.command("nothing more")
            await run.until(lambda: run.state.rung == "full", "full again")
            await run.until_last("RESTORED")
            steps = [event for event in run.state.events if event.name == "engine.stepped"]
            assert [step.data["to"] for step in steps][:1] == ["full"]
            assert {"half", "veil", "raw"} <= {step.data["to"] for step in steps}
            late = [step for step in steps if step.data["why"] == "late"]
            assert late
            assert all(float(str(step.data["p99_ms"])) > 700 for step in late)
            assert {step.data["why"] for step in steps} == {"warm", "late", "calm"}
            run.sound()

    asyncio.run(script())


def test_an_engine_without_rungs_shows_none(tmp_path: Path) -> None:
    async def script() -> None:
        async with live(tmp_path) as run:
            assert run.state.rung == ""

    asyncio.run(script())
