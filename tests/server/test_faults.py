"""Faults in real processes: whatever dies, hangs or lies, the picture goes on, honest and in order.

No time decides here: limits are patient (tests/streams.py), counts and orders are asserted, and the
invariant checker runs beside every stream.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from streams import LIMITS, Live, code_of, coded_jpeg, live, process_of

from server import jpeg
from server.controls import Controls
from server.mark import read
from server.spec import Dropped, Outgoing


def truthful(run: Live) -> None:
    """Every picture shows the frame it claims to be, and carries the mark that its provenance
    asks for; a raw one left byte for byte."""
    for picture in run.shown:
        decoded = jpeg.decode(picture.payload)
        assert code_of(decoded) == (run.number, picture.seq)
        mark = read(decoded)
        assert (mark is not None and mark.restored) == (picture.reason is None)
        if picture.reason is not None:
            assert picture.payload == run.pushed[picture.seq]


def answered_once(run: Live) -> None:
    seqs = Counter(item.seq for item in run.items)
    assert set(seqs.values()) == {1}


def test_a_lost_engine_means_raw_and_a_new_one_brings_the_picture_back(tmp_path: Path) -> None:
    """Killed, stopped, hanging, leaving by itself."""

    async def lose(run: Live, how: str, reason: str) -> None:
        start, old = len(run.shown), run.pid("engine")
        restarts = run.state.restarts.get("engine", 0)
        if how in ("hang", "exit"):
            run.command(how)
        else:
            os.kill(old, signal.SIGKILL if how == "kill" else signal.SIGSTOP)
        await run.until_last(reason)
        run.command("")
        await run.until(lambda: run.state.restarts.get("engine", 0) > restarts, "restart")
        await run.until_last("RESTORED")
        assert run.pid("engine") != old
        reasons = [picture.reason for picture in run.shown[start:]]
        raw = reasons[reasons.index(next(r for r in reasons if r)) : -1]
        assert len([r for r in raw if r is not None]) >= LIMITS.good_frames

    async def scenario() -> None:
        async with live(tmp_path) as run:
            await lose(run, "kill", "ENGINE_DOWN")
            await lose(run, "stop", "LATE")
            await lose(run, "hang", "LATE")
            await lose(run, "exit", "ENGINE_DOWN")
            truthful(run)
            answered_once(run)
            run.sound()

    asyncio.run(scenario())


def test_a_bad_picture_never_leaves(tmp_path: Path) -> None:
    """Raising, NaN, wrong shape, flat, colours swapped: raw with GUARD on that very frame."""

    async def scenario() -> None:
        async with live(tmp_path) as run:
            engine = run.pid("engine")
            for fault in ("raise", "nan", "shape", "flat", "swap"):
                run.command(fault)
                await run.until_last("GUARD")
                run.command("")
                await run.until_last("RESTORED")
            assert run.pid("engine") == engine  # none of this is worth a new process
            truthful(run)
            answered_once(run)
            run.sound()
            trips = [e.name for e in run.state.events].count("bypass.on")
            assert trips == 5

    asyncio.run(scenario())


def test_too_many_trips_latch_until_a_person_releases(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with live(tmp_path, limits=replace(LIMITS, trips=2)) as run:
            for _ in range(2):
                await run.until_last("RESTORED")
                run.command("raise")
                await run.until_last("GUARD")
                run.command("")
            await run.until(lambda: run.state.latched, "latched")
            await run.more(4 * LIMITS.good_frames)
            assert run.last == "GUARD"
            assert "LATCHED" in run.state.alarms
            await run.manager.bypass(run.id, False)
            await run.until_last("RESTORED")
            assert not run.state.latched
            run.sound()

    asyncio.run(scenario())


def test_an_overloaded_engine_means_raw_until_it_keeps_up_again(tmp_path: Path) -> None:
    """Each frame takes four times as long as there is."""

    async def scenario() -> None:
        async with live(tmp_path, deadline_ms=400.0, rate=20.0) as run:
            run.command("sleep 0.2")
            await run.until_last("LATE")
            await run.until(lambda: run.state.holding, "holding")
            held = await run.more(3 * LIMITS.good_frames)
            assert {o.reason for o in held} == {"LATE"}
            assert run.state.restarts == {}
            run.command("")
            await run.until_last("RESTORED")
            truthful(run)
            run.sound()

    asyncio.run(scenario())


def test_a_flood_of_frames_is_answered_frame_by_frame(tmp_path: Path) -> None:
    """Four times the rate that the whole chain manages: the newest win, all are counted."""

    async def scenario() -> None:
        async with live(tmp_path) as run:
            run.pushing = False
            payload = coded_jpeg(run.number, 0)
            before = run.state
            for seq in range(10_000, 11_000):
                now = time.monotonic_ns()
                await run.manager.push(run.id, payload, seq=seq, capture_ts_ns=now)
                if seq % 8 == 0:
                    await asyncio.sleep(0)
            await run.until(lambda: run.items[-1].seq == 10_999, "the last one")
            flood = [item for item in run.items if item.seq >= 10_000]
            assert sorted(item.seq for item in flood) == list(range(10_000, 11_000))
            lost = Counter(i.reason for i in flood if isinstance(i, Dropped))
            assert set(lost) == {"SUPERSEDED"}
            assert run.state.frames_in - before.frames_in <= 1001
            run.sound()

    asyncio.run(scenario())


def test_the_button_works_with_the_engine_alive_dead_and_stopped(tmp_path: Path) -> None:
    """Bypass: every frame that comes in after the press leaves byte for byte."""

    async def pressed(run: Live) -> None:
        await run.manager.bypass(run.id, True)
        first = max(run.pushed) + 1
        frames = [o for o in await run.more(20) if o.seq >= first]
        assert {o.reason for o in frames} == {"BYPASS"}
        assert all(o.payload == run.pushed[o.seq] for o in frames)
        assert run.state.bypass

    async def scenario() -> None:
        async with live(tmp_path) as run:
            await pressed(run)
            await run.more(2 * LIMITS.good_frames)
            assert run.last == "BYPASS"  # it lasts
            await run.manager.bypass(run.id, False)
            await run.until_last("RESTORED")
            run.signal("engine", signal.SIGSTOP)
            await pressed(run)
            run.signal("engine", signal.SIGKILL)
            await pressed(run)
            truthful(run)
            run.sound()

    asyncio.run(scenario())


def test_without_its_decoder_a_pushed_stream_goes_on_raw(tmp_path: Path) -> None:
    """Killed, then stopped."""

    async def scenario() -> None:
        async with live(tmp_path) as run:
            for restarts, number in enumerate((signal.SIGKILL, signal.SIGSTOP)):
                old = run.signal("decode", number)
                await run.until(partial(restarted, run, "decode", restarts), "restart")
                await run.until(lambda: process_of("decode", run.number) is not None, "decoder")
                assert run.pid("decode") != old
                await run.until_last("RESTORED")
            assert "LATE" in {picture.reason for picture in run.shown}
            truthful(run)
            answered_once(run)
            run.sound()

    asyncio.run(scenario())


def restarted(run: Live, hop: str, times: int) -> bool:
    return run.state.restarts.get(hop, 0) > times


def newer(run: Live, epoch: int) -> bool:
    """Whether frames of a later epoch leave."""
    return bool(run.shown) and run.shown[-1].epoch > epoch


def test_a_source_that_stops_is_shown_as_lost_and_started_again(tmp_path: Path) -> None:
    """It stalls, it ends, its reader dies: each time a new epoch begins."""
    limits = replace(LIMITS, stale_stop_ms=300, stale_warn_ms=250)

    def lost(run: Live) -> bool:
        return "SIGNAL_LOST" in run.state.alarms

    async def scenario() -> None:
        async with live(tmp_path, source="feed", limits=limits) as run:
            for how in ("stall", "end", "kill"):
                epoch, restarts = run.shown[-1].epoch, run.state.restarts.get("decode", 0)
                run.items.clear()
                if how == "kill":
                    run.signal("decode", signal.SIGKILL)
                else:
                    run.command(how)
                    await run.until(partial(lost, run), "alarm")
                    assert any(isinstance(item, Outgoing) and item.card for item in run.items)
                    run.command("")
                await run.until(partial(newer, run, epoch), "a new epoch")
                await run.until_last("RESTORED")
                await run.until(lambda: not lost(run), "no alarm")
                assert restarted(run, "decode", restarts)
            run.sound()

    asyncio.run(scenario())


def test_a_viewer_that_does_not_read_delays_nobody_and_sees_the_newest(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with live(tmp_path, source="feed") as run:
            lazy = run.manager.subscribe(run.id, "restored")
            await run.more(60)
            newest = run.shown[-1]
            item = await lazy.get()
            assert isinstance(item, Outgoing)
            assert (item.epoch, item.place_seq) >= (newest.epoch, newest.place_seq)
            assert lazy.skipped >= 50
            run.sound()

    asyncio.run(scenario())


def test_the_last_hop_itself_is_replaced(tmp_path: Path) -> None:
    """Killed: seen at once, and a bypass outlives it. Stopped: the watchdog, fed by what leaves,
    sees it; meanwhile the service shows the card. Its children do not outlive it."""
    limits = replace(LIMITS, watchdog_s=3.0, stale_stop_ms=1000, stale_warn_ms=900)

    async def replaced(run: Live, number: signal.Signals, then: str) -> None:
        gone = {run.pid("engine"), run.pid("decode")}
        epoch, restarts = run.shown[-1].epoch, run.state.restarts.get("stream", 0)
        gone.add(run.signal("stream", number))
        await run.until(lambda: run.state.restarts.get("stream", 0) > restarts, "restart")
        await run.until(lambda: run.shown[-1].epoch > epoch, "a new epoch")
        await run.until_last(then)
        assert run.pid("stream") not in gone
        await run.until(lambda: not any(os.path.exists(f"/proc/{p}") for p in gone), "their end")

    async def scenario() -> None:
        async with live(tmp_path, limits=limits) as run:
            cards: list[Outgoing] = []
            viewer = run.manager.subscribe(run.id, "restored")

            async def watch() -> None:
                async for item in viewer:
                    if isinstance(item, Outgoing) and item.card:
                        cards.append(item)

            run.tasks.append(asyncio.create_task(watch()))
            await replaced(run, signal.SIGKILL, "RESTORED")
            await run.manager.bypass(run.id, True)
            await run.until_last("BYPASS")
            pressed = len(run.shown)
            await replaced(run, signal.SIGSTOP, "BYPASS")
            assert {picture.reason for picture in run.shown[pressed:]} == {"BYPASS"}
            assert cards
            answered_once(run)
            truthful(run)
            # while it stood still nothing left, and that is found
            assert set(run.state.violations) <= {"I1", "I3", "I11"}

    asyncio.run(scenario())


# Each control that needs processes, switched off


def test_without_restart_an_engine_stays_dead(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with live(tmp_path, controls=Controls(restart=False)) as run:
            run.signal("engine", signal.SIGKILL)
            await run.until_last("ENGINE_DOWN")
            await run.more(4 * LIMITS.good_frames)
            assert run.last == "ENGINE_DOWN"  # with the control it comes back, see above
            assert process_of("engine", run.number) is None
            run.sound()

    asyncio.run(scenario())


@pytest.mark.parametrize("control", [True, False])
def test_a_watchdog_fed_by_a_timer_is_found_out(tmp_path: Path, control: bool) -> None:
    limits = replace(LIMITS, watchdog_s=1.5)

    async def scenario() -> None:
        async with live(tmp_path, limits=limits, controls=Controls(watchdog=control)) as run:
            run.signal("stream", signal.SIGSTOP)
            if control:
                await run.until(lambda: run.state.restarts.get("stream", 0) > 0, "restart")
                await run.until_last("RESTORED")
                assert "I14" not in run.state.violations
            else:
                await run.until(lambda: "I14" in run.state.violations, "I14")
                assert run.state.restarts == {}

    asyncio.run(scenario())


@pytest.mark.parametrize("control", [True, False])
def test_a_service_that_stalls_does_not_stall_the_picture(tmp_path: Path, control: bool) -> None:
    """The service's event loop stands still for two seconds and reads nothing."""
    limits = replace(LIMITS, slack_ms=700, side_buffer_bytes=4096)

    async def scenario() -> None:
        async with live(
            tmp_path, source="feed", limits=limits, controls=Controls(side=control), ready=False
        ) as run:
            await run.more(20)
            before = run.state.frames_out
            time.sleep(2.0)
            await run.more(20)
            assert run.state.frames_out > before
            assert ("I13" in run.state.violations) is not control

    asyncio.run(scenario())
