"""The manager's whole surface over real processes, but for faults and routing."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
from streams import (
    LIMITS,
    PATIENCE_S,
    Live,
    code_of,
    coded_jpeg,
    engines,
    live,
    process_of,
)

from server import jpeg
from server.errors import (
    EngineUnknown,
    Failure,
    FrameTooLarge,
    SettingInvalid,
    SourceUnreadable,
    StreamsFull,
    StreamUnknown,
)
from server.events import EventKind, load
from server.invariants import check_file
from server.manager import Dropped, Fate, Outgoing, StreamEvent, StreamManager, StreamSpec
from server.spec import Flag


def names(run: Live) -> list[str]:
    return [event.name for event in run.state.events]


def refused(run: Live, times: int) -> bool:
    return names(run).count("engine.refused") > times


def test_an_engine_changes_between_two_frames(tmp_path: Path) -> None:
    """Warmed in its own process; every frame keeps leaving; roll-back where the new one fails,
    refusal where it does not load or verify."""

    async def scenario() -> None:
        async with live(tmp_path) as run:
            first = len(run.shown)
            old = run.pid("engine")
            await run.manager.set_engine(run.id, "other")
            await run.until(lambda: run.state.engine == "other", "changed")
            assert run.state.engine_sha256 == "ab" * 32
            await run.more(LIMITS.probation_frames + 5)
            await run.until(lambda: not psutil.pid_exists(old), "the old one's end")
            meanwhile = {picture.reason for picture in run.shown[first:]}
            assert meanwhile <= {None, "LATE"}  # no frame found no engine, or a cold one

            # one that fails on its first frames gives way to the proven one
            Path(str(run.path) + ".failing").write_text("raise")
            await run.manager.set_engine(run.id, "failing")
            await run.until(lambda: "engine.rolled_back" in names(run), "rolled back")
            await run.until_last("RESTORED")
            assert run.state.engine == "other"

            for engine in ("broken", "forged", "tampered"):
                before = names(run).count("engine.refused")
                await run.manager.set_engine(run.id, engine)
                await run.until(partial(refused, run, before), engine)
                assert run.state.engine == "other"
            await run.more(10)
            assert run.last == "RESTORED"
            with pytest.raises(EngineUnknown):
                await run.manager.set_engine(run.id, "none")
            run.sound()

    asyncio.run(scenario())


@pytest.mark.parametrize("engine", ["forged", "tampered"])
def test_an_engine_that_does_not_verify_never_runs(tmp_path: Path, engine: str) -> None:
    async def scenario() -> None:
        async with live(tmp_path, engine=engine, ready=False) as run:
            await run.until(lambda: run.state.engine_state == "refused", "refused")
            await run.more(20)
            assert {o.reason for o in run.shown} <= {"WARMING", "ENGINE_DOWN"}
            assert run.last == "ENGINE_DOWN"
            assert run.state.latched  # a person has to look
            assert process_of("engine", run.number) is None
            await run.manager.set_engine(run.id, "other")
            await run.until(lambda: run.state.engine == "other", "changed")
            assert run.last == "ENGINE_DOWN"
            await run.manager.bypass(run.id, False)
            await run.until_last("RESTORED")
            run.sound()

    asyncio.run(scenario())


def test_strength_acts_on_the_running_engine(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with live(tmp_path) as run:
            await run.manager.set_strength(run.id, 0.0)
            await run.until_last("BYPASS")  # nothing to restore at strength 0
            await run.manager.set_strength(run.id, 0.5)
            await run.until_last("RESTORED")
            assert run.state.strength == 0.5
            with pytest.raises(SettingInvalid):
                await run.manager.set_strength(run.id, 1.5)
            run.sound()

    asyncio.run(scenario())


def test_views_and_snapshots_show_the_same_frame(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with live(tmp_path) as run:
            raw = run.manager.subscribe(run.id, "raw")
            split = run.manager.subscribe(run.id, "split")
            halves: dict[int, Outgoing] = {}
            raws: dict[int, Outgoing] = {}
            end = time.monotonic() + PATIENCE_S
            while not (both := halves.keys() & raws.keys()):
                assert time.monotonic() < end
                for viewer, kept in ((raw, raws), (split, halves)):
                    item = await viewer.get()
                    assert isinstance(item, Outgoing)
                    if not item.card and (viewer is raw or item.reason is None):
                        kept[item.seq] = item
            seq = both.pop()
            assert raws[seq].payload == run.pushed[seq]
            assert raws[seq].flags & Flag.RESTORED == 0
            left = jpeg.decode(halves[seq].payload).pixels[36:, :28].astype(int)
            right = jpeg.decode(halves[seq].payload).pixels[36:, 36:].astype(int)
            own = jpeg.decode(run.pushed[seq]).pixels.astype(int)
            assert abs((left - own[36:, :28]).mean()) < 2  # raw
            assert 5 < (right - own[36:, 36:]).mean() < 11  # brightened by 8
            raw.close()
            split.close()

            # the original behind a picture that has just left, and of one long gone
            newest = run.shown[-1]
            original = await run.manager.original(run.id, newest.epoch, newest.place_seq)
            assert original is not None
            assert original.payload == run.pushed[newest.seq]
            assert await run.manager.original(run.id, 99, 0) is None

            for view in ("raw", "restored", "split"):
                picture = jpeg.decode(await run.manager.snapshot(run.id, view))
                assert view == "split" or code_of(picture)[0] == run.number  # a line parts it
            change = jpeg.decode(await run.manager.snapshot(run.id, "difference"))
            assert 133 < np.median(change.pixels) < 139  # 128 + 8
            run.sound()

    asyncio.run(scenario())


def test_a_new_size_is_a_new_epoch_raw_until_the_engine_is_warm_for_it(tmp_path: Path) -> None:
    sizes, now = [(64, 48), (96, 64), (65, 49)], [0]

    def pictures(number: int, seq: int) -> bytes:
        return coded_jpeg(number, seq, *sizes[now[0]])

    def restored(run: Live, epoch: int) -> bool:
        return run.shown[-1].epoch == epoch and run.last == "RESTORED"

    async def scenario() -> None:
        async with live(tmp_path, pictures=pictures) as run:
            for epoch, size in enumerate(sizes):
                now[0] = epoch
                await run.until(partial(restored, run, epoch), f"epoch {epoch}")
                first = next(o for o in run.shown if o.epoch == epoch)
                assert (first.width, first.height) == size
                assert first.reason is not None  # nothing is warm for it yet
            for picture in run.shown:
                decoded = jpeg.decode(picture.payload)
                assert (decoded.width, decoded.height) == (picture.width, picture.height)
                assert code_of(decoded) == (run.number, picture.seq)
            run.sound()

    asyncio.run(scenario())


def test_lossless_restores_every_frame_however_slow(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with live(tmp_path, mode="lossless", rate=1000.0) as run:
            run.command("sleep 0.02")
            await run.until(lambda: len(run.items) >= 60, "60 answers")
            run.pushing = False
            assert not [item for item in run.items if isinstance(item, Dropped)]
            assert {picture.reason for picture in run.shown} == {None}
            assert [picture.seq for picture in run.shown] == list(range(len(run.shown)))
            run.sound()

    asyncio.run(scenario())


def test_lossless_goes_on_when_the_engine_dies(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with live(tmp_path, mode="lossless", rate=1000.0) as run:
            run.signal("engine", signal.SIGKILL)
            await run.until(lambda: run.state.restarts.get("engine", 0) > 0, "restart")
            await run.until_last("RESTORED")
            assert [picture.seq for picture in run.shown] == list(range(len(run.shown)))
            run.sound()

    asyncio.run(scenario())


def test_what_is_no_frame_is_refused_or_answered(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with live(tmp_path) as run:
            run.pushing = False

            async def push(payload: bytes, **more: object) -> None:
                await run.manager.push(
                    run.id,
                    payload,
                    seq=10**6,
                    capture_ts_ns=0,
                    **more,  # type: ignore[arg-type]
                )

            with pytest.raises(SourceUnreadable):
                await push(b"not a picture")
            with pytest.raises(FrameTooLarge):
                await push(coded_jpeg(1, 1, 400, 240))
            with pytest.raises(SettingInvalid):
                await push(bytes(100), codec="rgb24", width=10, height=10)
            with pytest.raises(StreamUnknown):
                await run.manager.push("x", b"", seq=0, capture_ts_ns=0)

            # a header that is right and a body that is not: answered, and nothing else suffers
            whole = coded_jpeg(run.number, 7)
            run.items.clear()
            await run.manager.push(run.id, whole[:-40], seq=7, capture_ts_ns=0)
            await run.until(lambda: Dropped(7, "UNREADABLE") in run.items, "an answer")
            # what was pushed before may still be on its way
            assert [i for i in run.items if isinstance(i, Dropped)] == [Dropped(7, "UNREADABLE")]
            run.pushing = True
            await run.until_last("RESTORED")
            assert run.state.restarts == {}
            run.sound()

    asyncio.run(scenario())


def test_raw_codecs_leave_as_they_came(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with live(tmp_path) as run:
            run.pushing = False
            for codec, size in (("rgb24", 64 * 48 * 3), ("i420", 64 * 48 * 3 // 2)):
                payload = np.random.default_rng(1).integers(0, 256, size, np.uint8).tobytes()
                await run.manager.bypass(run.id, True)
                run.items.clear()
                await run.manager.push(
                    run.id, payload, codec="rgb24" if codec == "rgb24" else "i420",
                    seq=size, capture_ts_ns=5, width=64, height=48,
                )  # fmt: skip
                await run.until(lambda: bool(run.items), "an answer")
                picture = run.items[0]
                assert isinstance(picture, Outgoing)
                assert picture.seq == size
                assert (picture.codec, picture.capture_ts_ns) == (codec, 5)
                assert picture.payload == payload

    asyncio.run(scenario())


def test_people_and_metrics_hear_of_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        fates: list[Fate] = []
        heard: list[StreamEvent] = []
        async with live(tmp_path) as run:

            def broken(fate: Fate) -> None:
                raise RuntimeError("metrics are down")

            run.manager.observe(broken)  # harms nobody else
            run.manager.observe(fates.append)
            watch = run.manager.watch()

            async def listen() -> None:
                async for event in watch:
                    heard.append(event)

            run.tasks.append(asyncio.create_task(listen()))
            run.command("raise")
            await run.until_last("GUARD")
            await run.until(lambda: "bypass.on" in {e.name for e in heard}, "bypass.on")
            run.command("")
            await run.until_last("RESTORED")
            # metrics hear of a frame a moment after its viewers have it
            wanted = {"RESTORED", "RAW"}
            await run.until(lambda: wanted <= {str(f.provenance) for f in fates}, "both fates")
            restored = next(f for f in fates if f.reason is None)
            assert {"decode", "detect", "restore", "guard", "wait", "encode"} <= set(
                restored.stages_ms
            )
            assert restored.levels.smoke == 2

            # the history is saved, read back, and found sound
            path = tmp_path / "history.jsonl"
            count = run.manager.save_history(run.id, path)
            assert count == len(list(load(path)))
            finding = check_file(path)
            assert finding.violations == ()
            assert finding.left == run.state.frames_out
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            assert any(line["k"] == EventKind.EMIT for line in lines)

    asyncio.run(scenario())


def test_the_start_refuses_what_cannot_run(tmp_path: Path) -> None:
    from dataclasses import replace

    async def scenario() -> None:
        limits = replace(LIMITS, max_streams=1)
        async with StreamManager(engines(tmp_path / "command"), limits=limits) as manager:
            for bad in ("http://x", "file", "phantom:?size=0x0", ""):
                with pytest.raises(SettingInvalid):
                    await manager.start(StreamSpec(source=bad, engine="fake"))
            with pytest.raises(SourceUnreadable):
                await manager.start(StreamSpec(source="file:/nowhere.mp4", engine="fake"))
            with pytest.raises(SettingInvalid):
                await manager.start(StreamSpec(source="push", engine="fake", deadline_ms=0))
            with pytest.raises(EngineUnknown):
                await manager.start(StreamSpec(source="push", engine="nothing"))
            one = await manager.start(StreamSpec(source="push", engine="fake"))
            with pytest.raises(StreamsFull):
                await manager.start(StreamSpec(source="push", engine="fake"))
            with pytest.raises(Failure):
                await manager.snapshot(one, "raw")
            assert manager.list() == (one,)
            await manager.stop(one)
            with pytest.raises(StreamUnknown):
                manager.state(one)

    asyncio.run(scenario())


SERVICE = """
import asyncio, json, signal, sys
sys.path[:] = json.loads(sys.argv[1])
from pathlib import Path
from streams import LIMITS, commanded_feed, engines
from server.manager import StreamManager, StreamSpec

async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    path = Path(sys.argv[2])
    path.write_text("nothing yet")
    async with StreamManager(engines(path), limits=LIMITS, feed=commanded_feed) as manager:
        for number in range(2):
            await manager.start(StreamSpec(source=f"file:{path}", engine="fake", deadline_ms=700))
        while not all(manager.state(one).restored for one in manager.list()):
            await asyncio.sleep(0.05)
        print("up", flush=True)
        await stop.wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("how", ["terminate", "kill", "terminate with a stopped engine"])
def test_whatever_ends_the_service_nothing_is_left(tmp_path: Path, how: str) -> None:
    named = set(os.listdir("/dev/shm"))
    service = subprocess.Popen(
        [sys.executable, "-c", SERVICE, json.dumps(sys.path), str(tmp_path / "command")],
        stdout=subprocess.PIPE,
    )
    try:
        assert service.stdout is not None
        assert service.stdout.readline() == b"up\n"
        ours = psutil.Process(service.pid).children(recursive=True)
        assert len(ours) == 6
        if how == "terminate with a stopped engine":
            for process in ours:
                if "engine" in process.cmdline()[0]:
                    process.suspend()
        if how == "kill":
            service.kill()
        else:
            service.terminate()
        started = time.monotonic()
        service.wait(PATIENCE_S)
        gone, alive = psutil.wait_procs(ours, PATIENCE_S)
        took_s = time.monotonic() - started
        assert not alive
        assert set(os.listdir("/dev/shm")) <= named
        assert how == "kill" or service.returncode == 0
        assert took_s < PATIENCE_S / 2, "5 s on an idle machine"
    finally:
        service.kill()
        service.wait()
        if service.stdout is not None:
            service.stdout.close()
